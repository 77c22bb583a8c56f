"""How a model reads a B that does not exist yet: A's tokens at another setting, or another text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dcp.runs.request import as_dropped
from dcp.trace import Trace
from dcp.ui.task import Report

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["Read", "recorded", "replayed", "rounded"]

Read = Callable[["OpenModel", Trace, Report], Trace]
"""Work for the worker: the model, A, and whom to report to; B comes back."""


def replayed(shift: float | None, same: bool = True) -> Read:
    """Reads A's own tokens at a gate shift; None: gates off. ``same``: refuses other weights."""

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        from dcp.runs.replay import replay
        from dcp.runs.rescore import check

        if same:
            check(model, a)
        return replay(
            model, a, gate_shift=shift or 0.0, prune=shift is not None, cancel=report.cancelled
        )

    return read


def rounded(kv_dtype: str | None) -> Read:
    """Reads A's own tokens at A's gate shift, keys and values kept as ``kv_dtype`` says."""

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        asked = replace(a, meta=replace(a.meta, kv_dtype=kv_dtype))
        return replayed(a.meta.gate_shift)(model, asked, report)

    return read


def recorded(text: str, shift: float | None = None) -> Read:
    """Reads a text as A dropped, or at this gate shift."""

    def read(model: OpenModel, a: Trace, report: Report) -> Trace:
        from dcp.runs.recorder import record

        who = as_dropped(a.meta) if shift is None else {"gate_shift": shift}
        return record(text, model=model, new_tokens=0, kv_dtype=a.meta.kv_dtype, **who)

    return read

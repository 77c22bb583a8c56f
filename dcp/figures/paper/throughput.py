"""Speed and memory against context: kind "throughput", of one trace or of `dcp bench --json`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.figures.paper.benchmark import against_context, panels
from dcp.figures.paper.caption import caption
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing

__all__ = ["throughput"]

_WINDOW = 16
_MIB = 2**20


def throughput(subject: Subject, options: Options, page: Page) -> Drawing:
    """Tokens per second (left) and bytes of the cache (right) against context.

    Raises RequestError for a trace with no timed step and for results of another command.
    """
    return against_context(subject, page) if subject.results else _run(subject, page)


def _run(subject: Subject, page: Page) -> Drawing:
    """One run by itself: what each generated step took, and what the deaths leave in memory."""
    trace = subject.trace
    seconds = trace.step_seconds[: trace.n_queries].astype(float)
    timed = np.flatnonzero(np.isfinite(seconds) & (seconds > 0))
    entry = trace.meta.memory.entry
    if len(timed) < 2:
        raise RequestError(
            "throughput needs a trace with generated tokens, or the results of a benchmark",
            remedy="results",
        )
    if entry is None:
        raise RequestError("throughput needs the bytes of an entry, which this trace does not tell")
    context = np.arange(1, trace.n_queries + 1)
    rate = 1 / seconds[timed]
    middle = _running_median(rate)
    live = trace.held().sum(0) * entry
    dense = context * trace.layers * entry
    with drawing(page):
        drawn, (left, right) = panels(page, sharex=False)
        left.plot(
            context[timed], rate, ls="", marker=".", ms=2.2, color=page.palette.held, alpha=0.5,
            mew=0, label="one step",
        )  # fmt: skip
        left.plot(
            context[timed], middle, color=page.palette.ink, lw=1.1, label=f"median of {_WINDOW}"
        )
        left.set_ylim(0, float(np.quantile(rate, 0.98)) * 1.15)
        left.legend(loc="lower left")
        right.plot(
            context,
            dense / _MIB,
            color=page.palette.soft,
            ls=(0, (5, 2)),
            lw=0.9,
            label="dense",
        )
        right.fill_between(context, live / _MIB, color=page.palette.held, alpha=0.2, lw=0)
        right.plot(context, live / _MIB, color=page.palette.held, lw=1.1, label="live")
        right.set_ylim(bottom=0)
        right.legend(loc="upper left")
    speed = np.full(trace.n_queries, np.nan)
    speed[timed] = rate
    data = pd.DataFrame(
        {
            "context": context,
            "tokens_per_second": speed,
            "kv_bytes_live": live,
            "kv_bytes_dense": dense,
        }
    )
    words = caption(
        subject,
        "Left: tokens per second of each generated step, measured, with a running median of "
        f"{_WINDOW} steps (median of all {float(np.median(rate)):.0f}). Right: live bytes of "
        "keys and values, computed from the deaths and the bytes of an entry, beside those of a "
        "dense model.",
        f"Device {trace.meta.device}, implementation {trace.meta.impl}. One run alone is no "
        "comparison of speed: for that, draw it from the results of a benchmark.",
    )
    return Drawing("throughput", page, drawn, data, words)


def _running_median(values: np.ndarray) -> np.ndarray:
    """Median of the ``_WINDOW`` values around each, at the ends of at least half of them: one slow
    first step is no trend."""
    half = _WINDOW // 2
    return np.array([np.median(values[max(0, i - half) : i + half]) for i in range(len(values))])

"""The page "Compare": what A and B are, and the model that reads what is missing.

A is a run that exists. B is one too, or A's own tokens read again with other gates or by another
model, or another text. The model reads in the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dcp.errors import RequestError
from dcp.stats.compare import Pair
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.compare.choice import Choice, first, models, other
from dcp.ui.compare.view import compared
from dcp.ui.follow import follow
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["compare"]


@dataclass(frozen=True)
class _Asked:
    """A reading on its way, or done, of these two."""

    key: tuple[str, str]
    task: Task[Pair]


def compare(session: Session, limits: Settings) -> None:
    """The whole page under its title."""
    left, right = st.columns(2)
    with left:
        found = first(session, limits)
    if found is None:
        return
    name_a, a = found
    with right:
        b = other(session, limits, a)
    if b is None:
        return
    key = (f"{name_a} {id(a)}", b.key)
    asked: _Asked | None = st.session_state.get("compare-asked")
    current = asked if asked is not None and asked.key == key else None
    label = "Read it" if b.trace is None else "Measure KL and lost attention of both"
    if st.button(label, type="primary" if b.trace is None else "secondary", key="compare-go"):
        model = b.model if b.trace is None and b.model else _model_of(session, a)
        task = services.ask(session.owner, model, _work(session, a, b), limits)
        current = _Asked(key, task)
        st.session_state["compare-asked"] = current
    pair = follow(current.task, "compare") if current is not None else None
    if pair is None and b.trace is not None:
        pair = Pair(a, b.trace)
    if pair is not None:
        compared(pair, (name_a, b.name), "|".join(key))
    elif current is None:
        st.caption("The model reads A's text again, token by token as it stands: about a second.")


def _work(session: Session, a: Trace, b: Choice) -> Callable[[OpenModel, Report], Pair]:
    name_a = _model_of(session, a)

    def read(model: OpenModel, report: Report) -> Pair:
        from dcp.model.registry import open_model
        from dcp.runs.rescore import divergence, gates_off

        report.progress(0.1, "Reading.")
        other = b.trace if b.read is None else b.read(model, a, report)
        assert other is not None
        report.check()
        report.progress(0.5, "Reading again with the gates off.")
        models = {"a": model, "b": model}
        if b.model:
            # Its name was checked where A was chosen: a bundled model or the session's own.
            models["a"] = open_model(name_a)
        filled = {}
        for name, trace in (("a", a), ("b", other)):
            try:
                filled[name] = gates_off(models[name], trace)
            except RequestError:
                # Weights that are not here: what the trace itself says is compared.
                filled[name] = trace
            report.check()
        report.progress(0.8, "Comparing predictions.")
        try:
            kl = divergence(models["a"], a, models["b"], other)
        except RequestError:
            kl = None
        return Pair(filled["a"], filled["b"], kl)

    return read


def _model_of(session: Session, trace: Trace) -> str | None:
    """The name to open A's model by; a file's word counts only where it names a bundled model."""
    if trace is session.trace:
        return services.model_of(session)
    name = str(trace.meta["model"])
    return name if name in {model.name for model in models()} else None

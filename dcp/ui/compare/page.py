"""The page "Compare". A is a trace that exists. B is another one, or A's tokens read again with
other gates or by another model, or another text; the worker reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from dcp.errors import RequestError
from dcp.stats.compare import Pair
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.asked import Asked, ask, last_asked
from dcp.ui.compare.choice import Choice, first, other
from dcp.ui.compare.view import compared
from dcp.ui.follow import follow_task
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["compare"]


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
    asked: Asked[Pair] | None = last_asked("compare", key)
    label = "Read it" if b.trace is None else "Measure KL and lost attention of both"
    if st.button(label, type="primary" if b.trace is None else "secondary", key="compare-go"):
        model = b.model if b.trace is None and b.model else services.maker_of(session, a).name
        asked = ask(session, limits, "compare", key, _work(session, a, b), model)
    pair = follow_task(asked.task, "compare") if asked is not None else None
    if pair is None and b.trace is not None:
        pair = Pair(a, b.trace)
    if pair is not None:
        compared(pair, (name_a, b.name), "|".join(key))
    elif asked is None:
        st.caption("The model reads A's text again, token by token as it stands: about a second.")


def _work(session: Session, a: Trace, b: Choice) -> Callable[[OpenModel, Report], Pair]:
    name_a = services.maker_of(session, a).name

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
                # Its weights are not here: compare what the trace itself holds.
                filled[name] = trace
            report.check()
        report.progress(0.8, "Comparing predictions.")
        try:
            kl = divergence(models["a"], a, models["b"], other)
        except RequestError:
            kl = None
        return Pair(filled["a"], filled["b"], kl)

    return read

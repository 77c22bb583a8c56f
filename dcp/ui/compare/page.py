"""The page "Compare". A is a trace that exists. B is another one, or A's tokens read again with
other gates, under other policies or by another model, or another text; the worker reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.runs import policies
from dcp.runs.policies import Beside
from dcp.speech.words import Word
from dcp.stats.compare import Pair
from dcp.trace import Trace
from dcp.ui import services
from dcp.ui.asked import Asked, ask, last_asked
from dcp.ui.compare.asked_view import asked_shown
from dcp.ui.compare.beside_view import policies_shown
from dcp.ui.compare.choice import Choice, first, other
from dcp.ui.compare.ready import ready
from dcp.ui.compare.verdict import gates_off_is
from dcp.ui.compare.view import compared
from dcp.ui.compare.writing import NEW_TOKENS, race, watched
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
    if (b.written or b.policies or b.question) and a.n_queries < 2:
        st.caption("A is a single token: nothing came after it, so nothing was dropped.")
    elif b.written:
        _written(session, limits, a, key)
    elif b.policies:
        _under_policies(session, limits, a, b, key)
    elif b.question:
        _for_a_question(session, limits, a, b.question, key)
    else:
        _two_runs(session, limits, (name_a, a), b, key)


def _two_runs(
    session: Session, limits: Settings, named: tuple[str, Trace], b: Choice, key: tuple[str, str]
) -> None:
    name_a, a = named
    asked: Asked[Pair] | None = last_asked("compare", key)
    known = ready(a) if b.key == "off" and asked is None else None
    pair = None
    if known is not None and "none" in known.runs:
        pair = Pair(known.first, known.runs["none"])
    label = "Measure KL and lost attention of both" if b.trace is not None or pair else "Read it"
    plain = b.trace is not None or pair is not None
    if st.button(label, type="secondary" if plain else "primary", key="compare-go"):
        model = b.model if b.trace is None and b.model else services.maker_of(session, a).name
        asked = ask(session, limits, "compare", key, _work(session, a, b), model)
    if asked is not None:
        pair = follow_task(asked.task, "compare")
    if pair is None and b.trace is not None:
        pair = Pair(a, b.trace)
    if pair is not None:
        base = _base(session, a) if b.key == "off" else None
        compared(
            pair, (name_a, b.name), "|".join(key), gates_off_is(base) if b.key == "off" else ""
        )
    elif asked is None:
        st.caption(f"The model reads A's text again, token by token as it stands: {_takes(a, 2)}.")


def _written(session: Session, limits: Settings, a: Trace, key: tuple[str, str]) -> None:
    asked: Asked[Pair] | None = last_asked("writing", key)
    if st.button("Write", type="primary", key="writing-go"):
        found, work = race(a)
        asked = ask(session, limits, "writing", key, work, services.maker_of(session, a).name)
        st.session_state["writing-race"] = found
    if asked is None:
        takes = _takes(a, 3 * NEW_TOKENS / max(a.tokens, 1))
        st.caption(
            f"A's given text, written on by {NEW_TOKENS} tokens twice at once: with its gates, and "
            f"with nothing dropped: {takes}."
        )
        return
    # Above the texts, which grow: Stop stays where it is.
    above = st.container()
    watched(st.session_state["writing-race"], asked.task)
    with above:
        pair = follow_task(asked.task, "writing")
    if pair is not None:
        names = st.session_state["writing-race"].names
        compared(pair, names, "|".join(key), gates_off_is(_base(session, a)))


def _under_policies(
    session: Session, limits: Settings, a: Trace, b: Choice, key: tuple[str, str]
) -> None:
    asked: Asked[Beside] | None = last_asked("policies", key)
    known = ready(a) if asked is None else None
    found = None
    if known is not None and all(name in known.runs for name in b.policies):
        runs = {n: known.runs[n] for n in ("gates", "none", *b.policies) if n in known.runs}
        found = Beside(runs, known.received)
    if found is None:
        if st.button("Read it under each", type="primary", key="policies-go"):
            model = services.maker_of(session, a).name
            asked = ask(session, limits, "policies", key, _policies_work(a, b.policies), model)
        if asked is None:
            takes = _takes(a, 3 * len(b.policies))
            st.caption(f"The model reads A's text again under each, token by token: {takes}.")
            return
        found = follow_task(asked.task, "policies")
    if found is not None:
        policies_shown(found, _words(session, a), "|".join(key))


def _words(session: Session, a: Trace) -> Sequence[Word]:
    words = session.shown.words if a is session.shown.trace else ()
    if not words:
        with suppress(DcpError):
            return services.tag(a)
    return words


def _for_a_question(
    session: Session, limits: Settings, a: Trace, question: str, key: tuple[str, str]
) -> None:
    found: Asked[policies.Asked] | None = last_asked("question", key)
    if st.button("Ask", type="primary", key="question-go"):
        model = services.maker_of(session, a).name
        found = ask(session, limits, "question", key, _question_work(a, question), model)
    if found is None:
        st.caption(f"The model reads A's text again under each form of CItruS: {_takes(a, 9)}.")
        return
    kept = follow_task(found.task, "question")
    if kept is not None:
        asked_shown(kept, _words(session, a), "|".join(key))


def _question_work(a: Trace, question: str) -> Callable[[OpenModel, Report], policies.Asked]:
    def read(model: OpenModel, report: Report) -> policies.Asked:
        from dcp.runs.questions import read_for

        say = _saying(report)
        return read_for(model, a, question, progress=say, cancel=report.cancelled)

    return read


def _saying(report: Report) -> Callable[[float, str], None]:
    def say(share: float, line: str) -> None:
        report.check()
        report.progress(share, line)

    return say


def _policies_work(a: Trace, names: tuple[str, ...]) -> Callable[[OpenModel, Report], Beside]:
    def read(model: OpenModel, report: Report) -> Beside:
        from dcp.runs.beside import read_beside

        wanted, say = ["none", *names], _saying(report)
        return read_beside(model, a, wanted, progress=say, cancel=report.cancelled)

    return read


def _takes(trace: Trace, readings: float) -> str:
    """About how long the tokens of ``trace`` take to be read ``readings`` times, one by one."""
    rate = trace.meta.tokens_per_second
    seconds = readings * trace.tokens / rate if rate else 0.0
    if seconds < 2:
        return "about a second" if rate else "its speed here is not known"
    return f"about {seconds:.0f} seconds" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


def _base(session: Session, trace: Trace) -> str | None:
    """The base that the model of ``trace`` is with its gates off; None where it is none."""
    name = services.maker_of(session, trace).name or trace.meta.model
    info = next((model for model in services.models() if model.name == name), None)
    return None if info is None or info.base is None else info.base.name


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

"""What the linked view asks of a model about the run on screen: another dial setting, next tokens.

A setting that the reader lets go of is read again in the worker, with the run's own tokens; so are
the next-token lists at a word that the model wrote. Answers are kept while their run is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dcp.errors import RequestError
from dcp.trace import Trace
from dcp.ui.asked import ask, last_asked
from dcp.ui.dial import positions
from dcp.ui.look import worded
from dcp.ui.samples import load_dial
from dcp.ui.services import maker_of, models
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.viewer.dial import Setting, dial

__all__ = ["answers", "ask_dial", "ask_written", "waiting"]

_KEPT, _PAGE = "view answers", "explore"


@dataclass
class _Kept:
    """Answers on the run whose ``key`` it is."""

    key: str
    read: dict[float | None, Trace] = field(default_factory=dict)
    written: dict[int, dict[str, Any]] = field(default_factory=dict)
    problem: str = ""


def _kept(session: Session) -> _Kept:
    kept: _Kept | None = st.session_state.get(_KEPT)
    if kept is None or kept.key != session.shown.key:
        kept = _Kept(session.shown.key)
        if session.shown.origin == "sample" and session.shown.trace is not None:
            kept.read = dict(load_dial(session.shown.trace))
        st.session_state[_KEPT] = kept
    return kept


def answers(session: Session, trace: Trace) -> dict[str, Any]:
    """What `dcp.viewer.payload.payload` takes of it: ``dial``, ``written``, and what went wrong."""
    kept = _kept(session)
    _take(kept)
    # Rows that were left out cannot be asked; a dial turns gates alone.
    asks = maker_of(session, trace).known and trace.meta.vocabulary is None
    dials = asks and trace.meta.policy is None
    question = _question()
    kind, what = (question[1], question[2]) if question and waiting(session) else ("", None)
    return {
        "dial": dial(trace, _settings(trace), kept.read, asks=dials, busy=kind == "dial"),
        "written": {
            "asks": asks,
            "busy": what if kind == "written" else None,
            "problem": kept.problem,
            "found": {str(token): found for token, found in kept.written.items()},
        },
    }


def waiting(session: Session) -> bool:
    """Whether the model is at work on a question about the run that is shown."""
    asked, question = last_asked(_PAGE), _question()
    return (
        asked is not None
        and question is not None
        and question[0] == session.shown.key
        and asked.waiting
    )


def _question() -> tuple[str, str, Any] | None:
    """What was asked last: of which run, "dial" or "written", and the shift or the token."""
    asked = last_asked(_PAGE)
    return asked.about if asked is not None and isinstance(asked.about, tuple) else None


def ask_dial(session: Session, limits: Settings, shift: float | None) -> None:
    """Read the run's tokens again at ``shift`` (None: gates off), unless that is known."""
    trace, kept = session.shown.trace, _kept(session)
    if trace is None or shift in kept.read or trace.meta.policy is not None:
        return
    if not maker_of(session, trace).known:
        return
    if shift is not None and shift not in {setting.shift for setting in _settings(trace)}:
        return

    def work(model: Any, report: Any) -> Trace:
        from dcp.runs.replay import replay

        report.progress(0.1, "Reading your text again.")
        return replay(
            model,
            trace,
            gate_shift=shift or 0.0,
            prune=shift is not None,
            cancel=report.cancelled,
        )

    _ask(session, limits, kept, "dial", shift, work)


def ask_written(session: Session, limits: Settings, token: int) -> None:
    """What the model would have said where it wrote ``token``, unless that is known."""
    trace, kept = session.shown.trace, _kept(session)
    if trace is None or token in kept.written or not maker_of(session, trace).known:
        return
    if not 1 <= token < trace.tokens:
        return

    def work(model: Any, report: Any) -> Any:
        from dcp.runs.next_tokens import next_tokens

        report.progress(0.1, "Asking what it would have said.")
        return next_tokens(model, trace, token - 1)

    _ask(session, limits, kept, "written", token, work)


def _ask(session: Session, limits: Settings, kept: _Kept, kind: str, what: Any, work: Any) -> None:
    kept.problem = ""
    trace = session.shown.trace
    assert trace is not None
    name = maker_of(session, trace).name
    asked = ask(session, limits, _PAGE, (session.shown.key, kind, what), work, name)
    session.work.task, session.work.task_page = asked.task, session.page


def _take(kept: _Kept) -> None:
    """Keep the answer to the last question, once."""
    asked, question = last_asked(_PAGE), _question()
    if asked is None or question is None or question[0] != kept.key:
        return
    status, (_, kind, what) = asked.task.status(), question
    if status.state == "failed":
        kept.problem = worded(RequestError(status.message), {})
    elif status.state == "done" and kind == "dial":
        assert status.result is not None
        kept.read[what] = status.result
    elif status.state == "done":
        kept.written[what] = _plain(status.result)


def _plain(found: Any) -> dict[str, Any]:
    """A `dcp.runs.next_tokens.NextTokens` as JSON."""
    rows = [*found.candidates]
    if found.drawn is not None and found.drawn not in rows:
        rows.append(found.drawn)
    return {
        "step": found.step,
        "kl": found.kl,
        "ranks": found.ranks,
        "drawn": None if found.drawn is None else rows.index(found.drawn),
        "rows": [[row.text, row.pruned, row.full] for row in rows],
    }


def _settings(trace: Trace) -> list[Setting]:
    """The dial of the model that made ``trace``: gates off, then from what keeps most to least."""
    info = next((model for model in models() if model.name == trace.meta.model), None)
    at = positions(info, trace.n_queries)
    found = [Setting(p.shift, p.expected, p.cost, p.length) for p in at]
    own = trace.meta.gate_shift
    if not trace.meta.gates_off and own not in {p.shift for p in at}:
        found.append(Setting(own))
        found.sort(key=lambda setting: -(setting.shift or 0.0))
    return [Setting(None), *found] if found else []

"""The lower half of the page: the linked view of the run that is on, or of what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from dcp.ui.explore.component import linked_view
from dcp.ui.explore.plain_view import plain_view
from dcp.ui.follow import every, follow_run
from dcp.ui.links import point
from dcp.ui.session import Session
from dcp.ui.worker import Status
from dcp.viewer.payload import Speed, payload

__all__ = ["progress", "watch"]

_ASKED, _KNOWN = "view asked", "view known"


def watch(session: Session) -> None:
    """Show the trace; while a run is on, look at it again and again."""
    st.fragment(_look, run_every=every(session))(session)


def _look(session: Session) -> None:
    shown = session.shown
    if session.work.job is None:
        _line(shown.note)
        if shown.trace is not None:
            at = _place(session)
            # Whoever comes with a link to a step wants to see that step, not a film.
            play = shown.origin == "sample" and session.place.step is None
            data = payload(shown.trace, shown.words, run_id=shown.key, at=at, play=play)
            if not linked_view(data, "view", partial(_went, session)):
                plain_view(shown.trace)
        return
    status = follow_run(session)
    _line(progress(status, session.work.planned))
    if status.trace is not None:
        prompt = status.trace.prompt_tokens
        data = payload(
            status.trace,
            status.words,
            run_id=shown.key,
            running=status.active,
            planned=prompt + session.work.planned,
            speed=_speed(status.counters),
        )
        linked_view(data, "view")
    elif shown.trace is not None:
        before = payload(shown.trace, shown.words, run_id="before", dimmed=True)
        linked_view(before, "view")


def _went(session: Session, place: Mapping[str, int | None]) -> None:
    """The reader moved the view: keep the place, and do not send it back."""
    session.place.token = place["token"]
    point(session, layer=place["layer"], step=place["step"])
    st.session_state[_KNOWN] = _where(session)


def _place(session: Session) -> dict[str, int | None]:
    """Where the view should look, with a new number when another widget or a link moved it."""
    state, now = st.session_state, _where(session)
    asked: dict[str, int | None] = state.get(_ASKED, {})
    if now != state.get(_KNOWN):
        asked = now | {"n": (asked.get("n") or 0) + 1}
        state[_ASKED], state[_KNOWN] = asked, now
    return asked


def _where(session: Session) -> dict[str, int | None]:
    return {"layer": session.place.layer, "step": session.place.step, "token": session.place.token}


def _line(text: str) -> None:
    with st.container(key="line"):
        st.caption(text)


def progress(status: Status, planned: int) -> str:
    """One line that says how far a run of ``planned`` new tokens is."""
    if status.state == "queued":
        runs = "1 run" if status.ahead == 1 else f"{status.ahead} runs"
        return f"Waiting in line: {runs} before yours." if status.ahead else "You are next."
    if status.trace is None:
        return "Loading the model and reading your text."
    if not status.active:
        return f"{status.message or 'Written.'} Naming the parts of speech."
    new = status.trace.tokens - status.trace.prompt_tokens
    return f"Writing: {max(0, new)} of {planned} tokens."


def _speed(counters: Any) -> Speed:
    if counters is None:
        return Speed()
    return Speed(
        now=counters.tokens_per_second_now,
        mean=counters.tokens_per_second_mean,
        first=counters.time_to_first_token_s,
        process=counters.process_bytes,
    )

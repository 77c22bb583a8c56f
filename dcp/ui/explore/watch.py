"""The lower half of the page: the linked view of the run that is on, or of what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import streamlit as st

from dcp.policies.gates import by_shift
from dcp.policies.registry import POLICIES
from dcp.stats.policies import policy_said
from dcp.trace import Trace
from dcp.ui.explore.arrivals import arrive, go_to_place, link_of, not_followed
from dcp.ui.explore.asks import answers, ask_dial, ask_written, waiting
from dcp.ui.explore.component import linked_view
from dcp.ui.explore.controls import generate
from dcp.ui.explore.plain_view import plain_view
from dcp.ui.follow import WATCHING, every, follow_run
from dcp.ui.home import KNOWN, how_to_get_known
from dcp.ui.links import point
from dcp.ui.rows import rows_of
from dcp.ui.services import models
from dcp.ui.session import Session
from dcp.ui.settings import Settings, settings
from dcp.ui.tour import may_begin, toured
from dcp.ui.worker import Status
from dcp.viewer.label import machine_of
from dcp.viewer.payload import Speed, payload

__all__ = ["progress", "watch"]

_ASKED, _KNOWN, _LAST, _GREETED = "view asked", "view known", "view shows", "view greeted"
_SMALL = 5e7


def watch(session: Session, limits: Settings) -> None:
    """Show the trace; while a run or a question about it is on, look again and again."""
    busy = _busy(session)
    st.fragment(_look, run_every=(every(session) or WATCHING) if busy else None)(
        session, limits, busy
    )


def _busy(session: Session) -> bool:
    return session.work.job is not None or waiting(session)


def _look(session: Session, limits: Settings, busy: bool) -> None:
    # Polling begins with a run or a question, and ends with the answer; so does a tour that waited.
    if _busy(session) != busy or st.session_state.pop(_GREETED, False):
        st.rerun()
    if session.work.job is None:
        _settled(session, limits)
    else:
        _running(session)


def _settled(session: Session, limits: Settings) -> None:
    shown = session.shown
    if shown.trace is None:
        st.caption(shown.note)
        return
    if shown.origin == "run":
        go_to_place(session)
    found = answers(session, shown.trace)
    data = payload(
        shown.trace,
        shown.words,
        run_id=shown.key,
        at=_place(session),
        # Whoever comes with a link to a step wants to see that step, not a film.
        play=shown.origin == "sample" and session.place.step is None,
        line=found["written"]["problem"] or _about(session, shown.trace),
        dial=found["dial"],
        written=found["written"],
        link=link_of(session, shown.trace),
        rows=_rows(shown.trace),
    )
    data["toured"] = toured()
    st.session_state[_LAST] = shown.key
    drawn = linked_view(
        data,
        "view",
        partial(_went, session),
        partial(ask_dial, session, limits),
        partial(ask_written, session, limits),
        partial(_greet, session, limits),
    )
    if not drawn:
        st.caption(shown.note)
        plain_view(shown.trace)


def _running(session: Session) -> None:
    status = follow_run(session)
    line = progress(status, session.work.planned)
    if status.trace is not None:
        prompt = status.trace.prompt_tokens
        data = payload(
            status.trace,
            status.words,
            run_id=session.shown.key,
            running=status.active,
            planned=prompt + session.work.planned,
            speed=_speed(status.counters),
            line=line,
        )
        st.session_state[_LAST] = session.shown.key
        linked_view(data, "view")
    elif session.shown.trace is not None:
        # As it was left, and pale: under its own name, so that the view does not move.
        before = payload(
            session.shown.trace,
            session.shown.words,
            run_id=st.session_state.get(_LAST, "before"),
            dimmed=True,
            line=line,
        )
        linked_view(before, "view")
    else:
        st.caption(line)


def _greet(session: Session, limits: Settings, said: Mapping[str, Any]) -> None:
    """The page has arrived in a browser: a link's run begins, or the tour may."""
    st.session_state[_GREETED] = True
    link = said.get("link")
    if isinstance(link, Mapping) and session.shown.origin == "sample":
        arrive(session, limits, link, partial(generate, session, limits))
    may_begin(bool(said.get("toured")) or bool(link))


def _about(session: Session, trace: Trace) -> str:
    """The line over a settled run: what it is, where it was timed, why a small model babbles."""
    parts = [session.shown.note, not_followed(session), _ruled(trace)]
    parts = [said for said in parts if said]
    if session.shown.origin != "run" and trace.meta.tokens_per_second:
        parts.append(f"Its speeds were recorded on {machine_of(trace)}.")
    size = next((m.parameters for m in models() if m.name == trace.meta.model), None)
    if size is not None and size < _SMALL and trace.prompt_tokens < trace.tokens:
        parts.append(
            f"It writes grammar without sense: {trace.meta.model} has {size / 1e6:.1f} million "
            "parameters, a thousandth of a chat model's."
        )
        how = how_to_get_known(models())
        # A visitor cannot install anything here.
        if how and not settings().public:
            parts.append(f"For {KNOWN}, which people know, run {how} and start the app again.")
    return " ".join(parts)


def _rows(trace: Trace) -> dict[str, Any] | None:
    rows = rows_of(trace, next((m for m in models() if m.name == trace.meta.model), None))
    if rows is None:
        return None
    bytes_ = {name: getattr(rows, name) for name in ("whole", "input_saves", "both_save")}
    return {**asdict(rows), **bytes_}


def _ruled(trace: Trace) -> str:
    """Of a run under a policy: which, and the road that it took."""
    said, policy = policy_said(trace.meta), POLICIES.get(trace.meta.policy or "")
    if not said or policy is None:
        return f"{said}." if said else ""
    if policy.name == "none" or by_shift(policy.name, trace.meta.policy_settings or {}):
        return f"{said}."
    said += ", on the slow path (PyTorch, row by row on the CPU)"
    if policy.name == "gates":
        return f"{said}: past it the smallest margins go too."
    return (
        f"{said}: {policy.rule}. What it drops once a token is read is gone from the next step on."
    )


def _went(session: Session, place: Mapping[str, int | None]) -> None:
    """The reader moved the view: keep the place, and do not send it back."""
    session.place.token = place["token"] if session.has("token", place["token"]) else None
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


def progress(status: Status, planned: int) -> str:
    """One line that says how far a run of ``planned`` new tokens is."""
    if status.state == "queued":
        runs = "1 run" if status.ahead == 1 else f"{status.ahead} runs"
        return f"Waiting in line: {runs} before yours." if status.ahead else "You are next."
    if status.trace is None:
        return "Loading the model."
    if not status.active:
        return f"{status.message or 'Written.'} Naming the parts of speech."
    trace = status.trace
    if trace.n_queries < trace.prompt_tokens:
        return f"Reading your text: {trace.n_queries} of {trace.prompt_tokens} tokens."
    return f"Writing: {trace.tokens - trace.prompt_tokens} of {planned} tokens."


def _speed(counters: Any) -> Speed:
    if counters is None:
        return Speed()
    return Speed(
        now=counters.tokens_per_second_now,
        mean=counters.tokens_per_second_mean,
        first=counters.time_to_first_token_s,
        process=counters.process_bytes,
    )

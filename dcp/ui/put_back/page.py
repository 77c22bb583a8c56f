"""The page "Put it back": choose a token, keep or drop it, read the text again, see the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.figures.screen.theme import quoted
from dcp.runs.effects import Effect, Rewritten
from dcp.runs.plans import CONTROLS, HORIZON, Plan, drop_now, put_back
from dcp.trace import ALIVE, Trace
from dcp.trace.deciders import decided_at
from dcp.ui import services
from dcp.ui.asked import Asked, ask, last_asked
from dcp.ui.follow import follow_task
from dcp.ui.links import point
from dcp.ui.look import problem
from dcp.ui.put_back.answer import answer
from dcp.ui.put_back.continuations import to_here
from dcp.ui.put_back.ready import example
from dcp.ui.put_back.token_text import selectable, token_text
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["put_back_page"]

NEW_TOKENS = 40
"""How far the text is written on."""

KEEP, DROP = "Keep it", "Drop it now"
_ALL = -1


def put_back_page(session: Session, limits: Settings) -> None:
    """The whole page under its title."""
    trace = session.shown.trace
    if trace is None:
        st.caption("Nothing has run yet: press Generate on the first page, or open a trace there.")
        return
    if trace.n_queries < 2:
        st.caption("This text is a single token: nothing came after it, so nothing was dropped.")
        return
    plan = _choose(session, trace)
    go, how, _ = st.columns([1.5, 1.7, 4])
    seed, horizon = _comparison(how)
    about = session.shown.key
    asked: Asked[tuple[Effect, int, Rewritten | None]] | None = last_asked("put", about)
    if go.button(
        "Read the text again",
        type="primary",
        key="put-go",
        disabled=plan is None or not plan.layers,
        width="stretch",
    ):
        assert plan is not None
        work = _work(trace, plan, seed, horizon)
        asked = ask(session, limits, "put", about, work, services.maker_of(session, trace).name)
    if asked is None:
        ready = example(trace)
        if ready is not None and plan == ready.effect.plan:
            st.caption(
                "Measured beforehand, an example chosen because it stands out: choose any other "
                "token."
            )
            answer(session.shown.key, trace, ready.effect, ready.seed, ready.rewritten)
            return
        st.caption(
            "The same tokens are read again with this one change, and with about 20 random drops "
            f"of the same layers and age beside it; then the text is written on twice: "
            f"{_takes(trace)}."
        )
        return
    found = follow_task(asked.task, "put")
    if found is not None:
        to_here(f"{session.shown.key}-{found[0].plan}-{found[1]}")
        answer(session.shown.key, trace, *found)


def _takes(trace: Trace) -> str:
    """About how long an answer takes, from how fast this text was read and written."""
    meta = trace.meta
    if not meta.tokens_per_second or not meta.prompt_seconds:
        return "its speed here is not known"
    reading = meta.prompt_seconds / max(trace.prompt_tokens, 1) * trace.tokens * (CONTROLS + 2)
    seconds = reading + 2 * NEW_TOKENS / meta.tokens_per_second
    if seconds < 3:
        return "a few seconds"
    return f"about {seconds:.0f} seconds" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


def _work(
    trace: Trace, plan: Plan, seed: int, horizon: int
) -> Callable[[OpenModel, Report], tuple[Effect, int, Rewritten | None]]:
    def measure(model: OpenModel, report: Report) -> tuple[Effect, int, Rewritten | None]:
        from dcp.runs.rescore import effect
        from dcp.runs.rewrite import rewrite

        def say(share: float, line: str) -> None:
            report.check()
            report.progress(0.7 * share, line)

        found = effect(model, trace, plan, seed=seed, horizon=horizon, progress=say)
        say(1.0, "Writing on, with and without it.")
        try:
            written = rewrite(model, trace, plan, new_tokens=NEW_TOKENS, cancel=report.cancelled)
        except RequestError:
            # A full context leaves no room to write on; a rule with a question takes no orders.
            report.check()
            written = None
        return found, seed, written

    return measure


def _choose(session: Session, trace: Trace) -> Plan | None:
    """The widgets of the plan; None while it is incomplete."""
    which, where, what, when = st.columns([2.2, 2.4, 1.5, 0.9], vertical_alignment="bottom")
    verb = what.segmented_control(
        "Its fate", [KEEP, DROP], default=KEEP, key="put-verb", required=True
    )
    dropped = (trace.death != ALIVE).any(axis=0)
    early = np.arange(trace.tokens) < trace.n_queries - 1
    can = dropped if verb == KEEP else early
    token = _token(session, trace, can, which)
    token_text(
        selectable(session.shown.key, trace, can, token),
        "put-text",
        lambda j: point(session, token=j),
    )
    st.caption(
        "The fainter a token, the more layers have dropped it; struck: all of them. Click one."
    )
    if token is None:
        if not dropped.any():
            st.caption("No layer dropped anything in this text: there is nothing to put back.")
        elif session.place.token is not None:
            name = quoted(trace.pieces()[session.place.token])
            st.text(f"{name} was never dropped: choose a token that is struck, or drop it now.")
        return None
    step = _step(session, trace, token, when) if verb == DROP else None
    layer = _layer(trace, token, step, where)
    try:
        plan = (
            put_back(trace, token, layer) if step is None else drop_now(trace, token, step, layer)
        )
    except DcpError as error:
        problem(str(error))
        return None
    return plan


def _comparison(where: Any) -> tuple[int, int]:
    """The popover of the comparison: seed and horizon."""
    with where.popover("How it is compared", width="stretch"):
        horizon = st.slider("Sum over how many later tokens", 4, 64, HORIZON, key="put-horizon")
        seed = st.number_input("Seed of the random drops", 0, 2**31 - 1, 0, key="put-seed")
    return int(seed), int(horizon)


def _token(session: Session, trace: Trace, can: Any, where: Any) -> int | None:
    """The box of the token; None where the current one cannot be chosen."""
    options = np.flatnonzero(can).tolist()
    pieces = trace.pieces()
    gone = (trace.death != ALIVE).sum(axis=0)
    token = session.place.token
    ready = example(trace)
    if token is None and ready is not None and ready.effect.plan.token in options:
        token = ready.effect.plan.token
    if token is None and options:
        # A default: dropped in the most layers, the longest of those.
        token = max(options, key=lambda j: (gone[j], len(pieces[j].strip()), -j))
    st.session_state["put-token"] = token if token in options else None
    where.selectbox(
        "Token",
        options,
        format_func=lambda j: f"{j} · {quoted(pieces[j])} · {gone[j]} of {trace.layers} layers",
        key="put-token",
        on_change=lambda: point(session, token=st.session_state["put-token"]),
        placeholder="choose a token",
        help="Type to search; or click a token in the text.",
    )
    return token if token in options else None


def _step(session: Session, trace: Trace, token: int, where: Any) -> int:
    first, last = token + 1, trace.n_queries - 1
    wanted = session.place.step if session.place.step is not None else first
    key = f"put-step-{session.shown.key}-{token}"
    found = where.number_input(
        "At step", first, last, min(max(wanted, first), last), key=key, help="Which query drops it."
    )
    return int(found)


def _layer(trace: Trace, token: int, step: int | None, where: Any) -> int | None:
    """The box of the layer; None: all of them."""
    death, asked = trace.death[:, token], decided_at(trace)[:, token]
    layers = np.flatnonzero(death != ALIVE if step is None else death > step).tolist()
    pieces = trace.pieces()

    def say(layer: int) -> str:
        if layer == _ALL:
            did = "dropped it" if step is None else f"hold it at step {step}"
            return f"all {len(layers)} layers that {did}" if len(layers) != 1 else "the only one"
        if step is not None:
            return f"layer {layer}"
        died, at = int(death[layer]), int(asked[layer])
        when = "at" if at == died else "once it had read"
        return f"layer {layer} · dropped after {died - token} steps, {when} {quoted(pieces[at])}"

    key = f"put-layer-{token}-{step is None}"
    found: int = where.selectbox("In", [_ALL, *layers], format_func=say, key=key)
    return None if found == _ALL else found

"""The form of a run, folded into one line: text, its token count, settings, Generate; and Stop."""

from __future__ import annotations

import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.model.registry import ModelInfo, list_models
from dcp.runs.request import TextRequest
from dcp.ui.brought import brought
from dcp.ui.explore import counting
from dcp.ui.explore.chat import as_asked, chat_choice, is_chat
from dcp.ui.explore.count_line import LABEL, count_line, named, token_count
from dcp.ui.explore.earlier import earlier
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.explore.kept import kept_field
from dcp.ui.explore.policy import policy_fields
from dcp.ui.explore.run_settings import run_settings, summary
from dcp.ui.home import home, in_order, listed
from dcp.ui.look import problem, worded
from dcp.ui.services import worker
from dcp.ui.session import Session
from dcp.ui.settings import Settings, settings

__all__ = ["FOLD", "controls", "generate"]

FOLD = "own"
"""The key of the fold that the form is in: True in the session's state while it is open."""

_HINTS = {
    "text": "type some, or choose an example",
    "truncate": "use the last tokens (the button above), or ask for fewer new ones",
}


def controls(session: Session, limits: Settings) -> None:
    """Draw the folded form; on Generate, check the request and put it in the line."""
    state = st.session_state
    if "text" not in state:
        asked = st.query_params.get("preset", "")
        if asked and asked not in EXAMPLES:
            st.toast("There is no such example: the link was followed in part.")
        # After the server was started again, what was typed before is still on the page.
        state["text"] = brought("text") or EXAMPLES.get(asked, EXAMPLES["A lighthouse"])
        state[FOLD] = asked in EXAMPLES
    state.setdefault("latest", state["text"])
    state.setdefault("new_tokens", min(64, limits.new_tokens))
    models = _models()
    with st.container(horizontal=True, key="ask", vertical_alignment="top", gap="xsmall"):
        with st.expander("**Try your own text**", key=FOLD, on_change="rerun"):
            _form(session, limits, models)
        earlier(session)
        st.button(
            "Stop",
            key="stop",
            disabled=session.work.job is None,
            on_click=_stop,
            args=(session,),
        )
    # Always there: a message that comes and goes would shift the widgets below it.
    with st.container(key="said"):
        if session.error:
            problem(session.error)


def _form(session: Session, limits: Settings, models: list[ModelInfo]) -> None:
    st.pills(
        "Begin with an example",
        list(EXAMPLES),
        key="preset",
        on_change=_take_example,
        label_visibility="collapsed",
        bind="query-params",
    )
    st.text_area(
        LABEL,
        key="text",
        height=132,
        on_change=_take_text,
        label_visibility="collapsed",
        persist_state="session",
    )
    count_line(models, limits)
    with st.container(horizontal=True, vertical_alignment="center", key="go"):
        st.button(
            "Generate",
            type="primary",
            key="generate",
            disabled=session.work.job is not None,
            width=160,
            on_click=generate,
            args=(session, limits),
        )
        with st.popover("Settings", icon=":material/tune:", key="settings"):
            run_settings(models, limits)
        chat_choice(named(models, st.session_state.get("model")))
        st.caption(summary())


def generate(session: Session, limits: Settings) -> None:
    """What the button does: check the request that the form describes, and put it in the line."""
    session.error = ""
    try:
        request = _check(limits)
    except DcpError as error:
        session.error = worded(error, _HINTS)
    else:
        session.begin(worker(limits).submit(session.owner, request), request)
        st.session_state[FOLD] = False


def _stop(session: Session) -> None:
    if session.work.job is not None:
        session.work.job.cancel()


def _models() -> list[ModelInfo]:
    asked = settings().model
    try:
        found = in_order(listed())
        if asked and asked != getattr(home(found), "name", None):
            problem(f"DCP_MODEL asks for {asked!r}, which is not bundled here or not ready.")
        return found
    except DcpError as error:
        problem(str(error))
        return []


def _take_example() -> None:
    chosen = st.session_state["preset"]
    if chosen is not None:
        st.session_state["text"] = st.session_state["latest"] = EXAMPLES[chosen]


def _take_text() -> None:
    st.session_state["latest"] = st.session_state["text"]


def _check(limits: Settings) -> TextRequest:
    """The request the form describes; raises RequestError in one line."""
    state = st.session_state
    text, model = str(state["text"]), state["model"]
    info = named(list_models(), model) if model else None
    if not text.strip():
        raise RequestError("there is no text: give at least one word", remedy="text")
    text = as_asked(text, info)
    request = TextRequest(
        text,
        model=model,
        new_tokens=state["new_tokens"],
        temperature=state["temperature"],
        seed=state["seed"],
        stop_at_eos=is_chat(info),
        vocabulary="seen" if state.get("seen") else "all",
        kv_dtype=kept_field(),
        **policy_fields(state.get("gate_shift", 0.0) if info is not None else 0.0),
    )
    if len(text) > limits.characters:
        raise RequestError(
            f"The text has {len(text):,} characters; at most {limits.characters:,} are read here."
        )
    if info is None and (limits.public or not model):
        raise RequestError("Choose one of the bundled models: there is none of that name here.")
    if len(request.instruction) > limits.characters:
        raise RequestError(
            f"The instruction has {len(request.instruction):,} characters; at most "
            f"{limits.characters:,} are read here."
        )
    if info is not None:
        tokens, heard = token_count(str(info.path), text), request.instruction
        extra = counting.count(str(info.path), heard) if heard else 0
        request.check_length(tokens, info.context, extra)
        if request.budget is not None:
            # What the rule cannot keep is said at once, not when its turn has come.
            request.eviction(tokens + request.new_tokens)
    return request

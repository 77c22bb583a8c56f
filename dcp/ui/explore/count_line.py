"""The line under the text box: its token count, updated while typing."""

from __future__ import annotations

import streamlit as st

from dcp.errors import DcpError
from dcp.model.registry import ModelInfo
from dcp.ui.explore import counting
from dcp.ui.explore.chat import as_asked, is_chat
from dcp.ui.explore.component import hear_typing
from dcp.ui.settings import Settings

__all__ = ["LABEL", "count_line", "named", "token_count"]

LABEL = "Your text"
_PRIVACY = "Text stays in this session and this browser tab, and is not stored."


def named(models: list[ModelInfo], name: str | None) -> ModelInfo | None:
    """The model called ``name`` (None: the first one), or None."""
    for model in models:
        if name is None or model.name == name:
            return model
    return None


def token_count(model: str, text: str) -> int:
    """Tokens of ``text``; the last answer stays in this session. Raises DcpError."""
    counter: counting.LastCount = st.session_state.setdefault("counter", counting.LastCount())
    return counter(model, text)


def _take_draft() -> None:
    draft = st.session_state["ear"].get("draft")
    if isinstance(draft, str):
        st.session_state["latest"] = draft


@st.fragment
def count_line(models: list[ModelInfo], limits: Settings) -> None:
    """The token count while typing, and one click that makes a long text fit."""
    _count(models, limits)
    with st.container(key="ear-box"):
        hear_typing(LABEL, "ear", _take_draft)


def _count(models: list[ModelInfo], limits: Settings) -> None:
    state = st.session_state
    left, right = st.columns([3, 1], vertical_alignment="center")
    text = str(state["latest"])
    info = named(models, state.get("model"))
    new = int(state.get("new_tokens") or 0)
    if info is None:
        left.caption(f"{len(text):,} characters · {_PRIVACY}")
        return
    try:
        asked = as_asked(text[: limits.characters], info)
        tokens = token_count(str(info.path), asked) if text.strip() else 0
    except DcpError:
        left.caption(_PRIVACY)
        return
    room = info.context - new
    fits = f"{tokens:,} tokens; {room:,} fit beside {new} new ones · {_PRIVACY}"
    many = (
        f":orange[{tokens:,} tokens are too many:] {room:,} fit beside {new} new ones · {_PRIVACY}"
    )
    left.caption(fits if tokens <= room else many)
    if tokens > room > 0:
        # The marks of a message take room too.
        marks = token_count(str(info.path), as_asked("", info)) if is_chat(info) else 0
        right.button(
            f"Use the last {room - marks:,} tokens",
            key="cut",
            width="stretch",
            on_click=_take_tail,
            args=(str(info.path), text[-limits.characters :], room - marks),
        )
        if state.pop("was_cut", False):
            st.rerun()
    elif state.pop("was_cut", False):
        st.rerun()


def _take_tail(model: str, text: str, room: int) -> None:
    state = st.session_state
    try:
        state["text"] = state["latest"] = counting.tail(model, text, room)
    except DcpError as error:
        state["session"].error = str(error)
    else:
        state["session"].error = ""
    # The text box is outside of the fragment that the button is in.
    state["was_cut"] = True

"""A text as a message to a model that was taught to chat, by the model's own template."""

from __future__ import annotations

import streamlit as st

from dcp.errors import DcpError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import ModelInfo
from dcp.text.chat import Message, render

__all__ = ["as_asked", "chat_choice", "is_chat"]

_KEY = "chat"


def chat_choice(info: ModelInfo | None) -> None:
    """The choice between plain text and a message, where the model knows messages."""
    if _template(info) is None:
        return
    st.toggle(
        "As a chat message",
        key=_KEY,
        persist_state="session",
        help="Off: the model reads the text as it stands and writes on. On: the text is put into "
        "the model's chat template, and the model answers, to the end of its answer at the latest. "
        "The template's own tokens are shown: they can be dropped too.",
    )


def is_chat(info: ModelInfo | None) -> bool:
    """Whether the text goes to ``info`` as a message."""
    return bool(st.session_state.get(_KEY)) and _template(info) is not None


def as_asked(text: str, info: ModelInfo | None) -> str:
    """The text that the model reads. Raises ModelError for a template that fails."""
    template = _template(info) if is_chat(info) else None
    return text if template is None else render(template, [Message("user", text)])


def _template(info: ModelInfo | None) -> str | None:
    if info is None:
        return None
    try:
        return Checkpoint.read(info.path).chat_template
    except DcpError:
        # A model that cannot be read says so when it is asked for.
        return None

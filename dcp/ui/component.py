"""The two custom components of the app: the linked view, and an ear for the text box.

Both send their script with the page: no package manifest, no request to another host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from dcp.viewer.static import assets

__all__ = ["hear_typing", "linked_view"]

_TYPING = Path(__file__).resolve().parent.parent.parent / "assets" / "viewer" / "typing.js"


def linked_view(data: dict[str, Any], key: str) -> None:
    """Show a payload of `dcp.viewer.payload`; the view keeps its step and layer between calls."""
    _view()(data=data, key=key)


def hear_typing(label: str, key: str, on_change: Callable[[], None]) -> None:
    """Call ``on_change`` a moment after each pause in typing into the text area called ``label``.

    The text is then at ``st.session_state[key]["draft"]``.
    """
    _ear()(data={"label": label}, key=key, on_draft_change=on_change)


@cache
def _view() -> Callable[..., Any]:
    script, style = assets()
    made: Callable[..., Any] = st.components.v2.component("dcp_linked_view", js=script, css=style)
    return made


@cache
def _ear() -> Callable[..., Any]:
    script = _TYPING.read_text(encoding="utf-8")
    made: Callable[..., Any] = st.components.v2.component("dcp_typing", js=script)
    return made

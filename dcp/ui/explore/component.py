"""The first page's components: the linked view, and a listener for typing in the text box.

Both send their script with the page: no package manifest, no request to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import streamlit as st

from dcp.resources import asset
from dcp.viewer.static import assets

__all__ = ["hear_typing", "linked_view"]

_TYPING = asset("viewer/typing.js")


def _nothing(place: Mapping[str, int | None]) -> None:
    """The default for ``on_place``."""


def linked_view(
    data: dict[str, Any], key: str, on_place: Callable[[Mapping[str, int | None]], None] = _nothing
) -> bool:
    """Show a payload of `dcp.viewer.payload`; its step, layer and zoom stay between calls.

    data["at"] = {"layer", "step", "token", "n"} sends the view to a place, once for each new ``n``.
    A moment after a click, a key or the end of a scrub, never while a run or its film plays, the
    view reports where it is: ``on_place({"layer": int, "step": int, "token": int | None})``. The
    report reruns the fragment that the view stands in; the same payload sent again draws nothing.

    False where the browser has said that it cannot draw the view.
    """

    def changed() -> None:
        place = st.session_state[key].get("at")
        if place:
            on_place(place)

    _view()(data=data, key=key, on_at_change=changed, on_broken_change=lambda: None)
    return not (st.session_state.get(key) or {}).get("broken")


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

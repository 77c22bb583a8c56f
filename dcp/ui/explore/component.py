"""The first page's components: the linked view, and a listener for typing in the text box.

Both send their script with the page: no package manifest, no request to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import streamlit as st

from dcp.resources import asset
from dcp.ui.links import whole
from dcp.viewer.static import assets

__all__ = ["hear_typing", "linked_view"]

_TYPING = asset("viewer/typing.js")


def _nothing(said: Any) -> None:
    """The default for what the view says."""


def linked_view(
    data: dict[str, Any],
    key: str,
    on_place: Callable[[Mapping[str, int | None]], None] = _nothing,
    on_dial: Callable[[float | None], None] = _nothing,
    on_word: Callable[[int], None] = _nothing,
    on_hello: Callable[[Mapping[str, Any]], None] = _nothing,
) -> bool:
    """Show a payload of `dcp.viewer.payload`; its step, layer and zoom stay between calls.

    data["at"] = {"layer", "step", "token", "n"} sends the view to a place, once for each new ``n``.
    A moment after a click, a key or the end of a scrub, never while a run or its film plays, the
    view reports where it is: ``on_place({"layer": int, "step": int, "token": int | None})``. The
    report reruns the fragment that the view stands in; the same payload sent again draws nothing.

    ``on_dial(shift)``: the dial was let go at a setting that the payload does not have.
    ``on_word(token)``: what would the model have said where it wrote this token?

    ``on_hello({"toured": bool, "link": dict or None})``, once a page: what the browser brings.

    False where the browser has said that it cannot draw the view.
    """

    def changed() -> None:
        place = st.session_state[key].get("at")
        if isinstance(place, Mapping):
            on_place({name: whole(place.get(name)) for name in ("token", "layer", "step")})

    def dialled() -> None:
        asked = st.session_state[key].get("dial")
        if not isinstance(asked, Mapping) or "shift" not in asked:
            return
        shift = asked["shift"]
        if shift is None or (type(shift) in (int, float) and abs(shift) < 1e6):
            on_dial(None if shift is None else float(shift))

    def asked_word() -> None:
        token = whole(st.session_state[key].get("word"))
        if token is not None:
            on_word(token)

    def greeted() -> None:
        said = st.session_state[key].get("hello")
        if isinstance(said, Mapping):
            on_hello(said)

    _view()(
        data=data,
        key=key,
        on_at_change=changed,
        on_broken_change=lambda: None,
        on_dial_change=dialled,
        on_word_change=asked_word,
        on_hello_change=greeted,
    )
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

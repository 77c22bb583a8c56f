"""Three steps around the app, in a card at the window's edge.

Dismissed once, it stays away in this browser, and it never lies over what a link points at;
``?tour=off`` in the address keeps it away from the start, for pictures and for people who know.
"""

from __future__ import annotations

import streamlit as st

from dcp.ui.links import PLACE
from dcp.ui.settings import Settings

__all__ = ["may_begin", "tour", "toured"]

_AT, _READY, _SEEN = "tour at", "tour may begin", "tour seen"
_STEPS = (
    (
        "Give it a text",
        "Open **Try your own text**, choose an example or type your own, then press **Generate**. "
        "The model reads it, writes on, and every layer drops what it no longer needs.",
        ".st-key-ask",
    ),
    (
        "Watch it forget",
        "Play, or drag the handle from step to step. Words fade as layers drop them. Choose a "
        "word or a cell for its story: who dropped it, when, in which layers.",
        ".st-key-view, .dcp",
    ),
    (
        "Ask further",
        "The pages above ask one question each of the same run: which words, what if it had been "
        "kept, what it costs, and figures for print. The address is a link to where you are.",
        "[data-testid=stTopNavLinkContainer], .stAppHeader",
    ),
)
_END = len(_STEPS)


def tour(limits: Settings, active: bool) -> None:
    """Show the card until it is dismissed. A run that is ``active`` completes its first step.

    It waits until the browser has said that its reader was not shown around before.
    """
    state = st.session_state
    if _AT not in state:
        off = st.query_params.get("tour") == "off" or not limits.tour or _by_link()
        state[_AT] = _END if off else 0
    if active and state[_AT] == 0:
        state[_AT] = 1
    # Always there: dismissing the card must not shift the widgets after it.
    with st.container(key="tour-place"):
        if state[_AT] < _END and state.get(_READY, False):
            _card(state[_AT])


def may_begin(known: bool) -> None:
    """The browser has spoken: ``known`` readers, and those who came by a link, are left alone."""
    st.session_state[_READY] = True
    if known:
        st.session_state[_AT] = _END


def toured() -> bool:
    """Whether this window's reader has dismissed the card, or seen its end."""
    return bool(st.session_state.get(_SEEN, False))


def _by_link() -> bool:
    """Whether the window was opened on a place of this page: nothing is to lie over that."""
    return st.session_state.get("first page") == "Explore" and any(
        name in st.query_params for name in (*PLACE, "preset", "run")
    )


@st.fragment
def _card(shown: int) -> None:
    at = st.session_state[_AT]
    if at >= _END:
        st.rerun()
    title, text, where = _STEPS[at]
    with st.container(key="tour"):
        st.html(f"<style>{where} {{ outline: 2px solid #2a8cc7; outline-offset: 3px; }}</style>")
        st.caption(f"{at + 1} of {len(_STEPS)}")
        st.markdown(f"**{title}**\n\n{text}")
        last = at + 1 == len(_STEPS)
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button("Dismiss", key="tour-off", on_click=_go, args=(_END,))
            st.button(
                "Begin" if last else "Next",
                key="tour-next",
                type="primary",
                on_click=_go,
                args=(at + 1,),
            )


def _go(to: int) -> None:
    st.session_state[_AT] = to
    if to >= _END:
        st.session_state[_SEEN] = True

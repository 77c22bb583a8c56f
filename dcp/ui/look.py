"""How the app looks beyond Streamlit's defaults, and plain-text messages: no text is markup."""

from __future__ import annotations

import streamlit as st

__all__ = ["problem", "style"]

# The view keeps its story below Streamlit's fixed header; widgets that only listen take no room.
_CSS = """
<style>
.stMainBlockContainer { max-width: 1240px; padding: 2.2rem clamp(0.9rem, 3vw, 2.2rem) 3rem; }
.stAppHeader { background: transparent; height: 2rem; min-height: 0; }
[data-testid="stLayoutWrapper"]:has(> .st-key-ear-box) { display: none; }
.stStatusWidget, [data-testid="stStatusWidget"] { display: none; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
.st-key-problem { border-left: 3px solid #d55e00; padding: 0.35rem 0 0.35rem 0.9rem; }
.st-key-problem [data-testid="stText"] { white-space: pre-wrap; overflow-wrap: anywhere; }
.st-key-line [data-testid="stCaptionContainer"] { font-variant-numeric: tabular-nums; }
.stMainBlockContainer h1 { font-size: 1.75rem; letter-spacing: -0.012em; padding: 0 0 0.35rem; }
.stMainBlockContainer > [data-testid="stVerticalBlock"] { gap: 0.7rem; }
</style>
"""


def style() -> None:
    """Send the style sheet; once per page run."""
    st.html(_CSS)


def problem(message: str) -> None:
    """One line that says what is wrong and how to mend it, shown as it is."""
    with st.container(key="problem"):
        st.text(message)

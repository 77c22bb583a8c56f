"""How the app looks beyond Streamlit's defaults, and plain-text messages: no text is markup."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dcp.errors import DcpError
from dcp.resources import root

__all__ = ["empty", "hinted", "problem", "style", "to_page", "worded"]

# Paths in full: Streamlit would look beside the script that it was started with.
_PAGES = root() / "pages"

# Room for Streamlit's fixed header; components that only listen take no room.
_CSS = """
<style>
.stMainBlockContainer { max-width: 1240px; padding: 2.6rem clamp(0.9rem, 3vw, 2.2rem) 1.2rem; }
.stAppHeader { height: 2.3rem; min-height: 0;
  border-bottom: 1px solid var(--st-border-color, rgba(120, 130, 143, 0.3)); }
[data-testid="stMain"] { scroll-padding-top: 3rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-ear-box) { display: none; }
.stStatusWidget, [data-testid="stStatusWidget"] { display: none; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
/* What is chosen: in ink, for the dark theme's own colour is under 4.5:1 as text. */
button[data-variant="segmented_control"][data-selected], [data-testid="stSliderThumbValue"] {
  color: inherit !important; font-weight: 600; }
/* Streamlit's captions are ink at 60 %: under 4.5:1 on the paper. */
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.76; }
/* So are the axes of its charts. */
.js-plotly-plot :is(.xtick, .ytick) text, .js-plotly-plot :is(.xtitle, .ytitle) {
  fill: currentColor !important; fill-opacity: 0.8; }
.st-key-problem { border-left: 3px solid #d55e00; padding: 0.35rem 0 0.35rem 0.9rem; }
.st-key-problem [data-testid="stText"] { white-space: pre-wrap; overflow-wrap: anywhere; }
.st-key-empty { border: 1px dashed #9aa4b2; border-radius: 8px; padding: 2.2rem 1rem; }
.st-key-empty p { text-align: center; }
.st-key-tour { position: fixed; right: 1.2rem; bottom: 1.2rem; z-index: 90; width: 21rem;
  max-width: calc(100vw - 2.4rem); padding: 0.9rem 1rem 1rem; border-radius: 10px;
  background: var(--st-background-color, Canvas); border: 1px solid rgba(120, 130, 143, 0.45);
  box-shadow: 0 6px 24px rgba(0, 0, 0, 0.18); gap: 0.45rem; }
/* What the card lies over can be scrolled out from under it. */
.stMainBlockContainer:has(.st-key-tour) { padding-bottom: 17rem; }
/* Equations fit; a box that scrolls would be a stop of the Tab key that nothing names. */
.katex-display { overflow: visible !important; }
.st-key-running:not(:empty) { border-left: 3px solid #2a8cc7; padding-left: 0.9rem; }
.stMainBlockContainer h1 { font-size: 1.75rem; letter-spacing: -0.012em; padding: 0 0 0.35rem; }
.stMainBlockContainer h2 { font-size: 1.3rem; padding: 0.5rem 0 0.6rem; }
.stMainBlockContainer > [data-testid="stVerticalBlock"] { gap: 0.7rem; }
.st-key-facts [data-testid="stText"] { font: 0.73rem/1.7 var(--st-code-font, monospace), monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.8rem 1rem; border-radius: 8px;
  background: rgba(120, 130, 143, 0.1); }
.st-key-facts [data-testid="stText"] * { font: inherit; white-space: inherit; }
[data-testid="stSidebar"] h2 { font-size: 1.15rem; padding: 0.4rem 0 0.1rem; }
/* Explore: one line of title, one of form, then the film, with its layers on a screen of 900. */
.stMainBlockContainer > [data-testid="stVerticalBlock"]:has(> * > .st-key-head) { gap: 0.4rem; }
.st-key-head { flex-direction: row; flex-wrap: wrap; align-items: baseline; gap: 0 1.1rem; }
.st-key-head > * { width: auto !important; flex: 0 1 auto; }
.st-key-head h1 { font-size: 1.5rem; padding: 0; }
.st-key-ask [data-testid="stExpander"] summary { padding-block: 0.42rem; min-height: 0; }
.st-key-stop:has(button:disabled) { display: none; }
.st-key-footer { border-top: 1px solid var(--st-border-color, rgba(120, 130, 143, 0.3));
  padding-top: 0.5rem; margin-top: 1rem; }
.st-key-footer p { font-size: 0.85rem; }
/* Containers that only hold a place take no gap of their own while they are empty. */
[data-testid="stLayoutWrapper"]:has(> :is(.st-key-said, .st-key-running, .st-key-tour-place):empty)
  { display: none; }
@media (max-width: 640px) {
  .st-key-head h1 { font-size: 1.25rem; }
  .katex-display { font-size: 0.82em; }
  .st-key-head [data-testid="stCaptionContainer"] { display: none; }
  .st-key-ask > :has(details[open]) { flex: 1 1 100% !important; }
}
/* Where the navigation is folded away, the pages are named at the end of each. */
@media (min-width: 769px) {
  [data-testid="stLayoutWrapper"]:has(> .st-key-pages) { display: none; }
}
</style>
"""


def style() -> None:
    """Send the style sheet; once per page run."""
    st.html(_CSS)


def worded(error: DcpError, hints: Mapping[str, str]) -> str:
    """What ``error`` says, as a sentence, and the page's own hint at what mends it, if it has one.

    hints  remedy of an error -> the widget that is for it
    """
    said = hinted(error, hints)
    return f"{said[:1].upper()}{said[1:]}."


def hinted(error: DcpError, hints: Mapping[str, str]) -> str:
    """What ``error`` says and the page's own hint, without a capital and a full stop."""
    said, hint = str(error).rstrip("."), hints.get(error.remedy)
    return f"{said} ({hint})" if hint else said


def problem(message: str) -> None:
    """One line that says what is wrong and how to mend it, shown as it is."""
    with st.container(key="problem"):
        st.text(message)


def empty(what: str, how: str) -> None:
    """A box for what is not there yet, and how to get it. ``what`` and ``how`` are markup."""
    with st.container(key="empty"):
        st.markdown(f"**{what}**\n\n{how}")
        to_page("explore", "To the first page", icon=":material/arrow_back:")


def to_page(name: str, label: str, icon: str | None = None) -> None:
    """A link to pages/``name``.py."""
    st.page_link(_PAGES / f"{name}.py", label=label, icon=icon)

"""A place for a chart wider than a phone: there it scrolls sideways instead of shrinking."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

__all__ = ["wide"]

_CSS = """
<style>
@media (max-width: 640px) {
  [class*="st-key-wide-"] { overflow-x: auto; }
  [class*="st-key-wide-"] > * { min-width: 780px; }
}
@media (min-width: 641px) {
  [data-testid="stElementContainer"]:has(.slides) { display: none; }
}
.slides { margin: 0; font-size: 0.85rem; opacity: 0.76; }
</style>
"""


def wide(key: str) -> DeltaGenerator:
    """``with wide("maps"): st.plotly_chart(…)``; ``key`` is unique on the page."""
    st.html(_CSS)
    place = st.container(key=f"wide-{key}")
    # A stop of the Tab key, so that the arrow keys slide it too.
    place.html('<p class="slides" tabindex="0">Wider than this window: slide it sideways →</p>')
    return place

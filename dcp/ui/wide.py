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
</style>
"""


def wide(key: str) -> DeltaGenerator:
    """``with wide("maps"): st.plotly_chart(…)``; ``key`` is unique on the page."""
    st.html(_CSS)
    return st.container(key=f"wide-{key}")

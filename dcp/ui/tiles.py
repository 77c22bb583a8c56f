"""A row of key numbers: four across, two by two on a phone."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

__all__ = ["Tile", "tiles"]

Tile = tuple[str, str, str]
"""Label, value, note."""

_CSS = """
<style>
[class*="st-key-tiles"] [data-testid="stMetricValue"] { font-size: 1.6rem; }
[class*="st-key-tiles"] [data-testid="stMetricLabel"] p,
[class*="st-key-tiles"] [data-testid="stMetricDelta"],
[class*="st-key-tiles"] [data-testid="stMetricDelta"] * { white-space: normal; overflow: visible; }
@media (max-width: 640px) {
  [class*="st-key-tiles"] [data-testid="stColumn"] { flex: 1 1 calc(50% - 0.5rem);
    min-width: calc(50% - 0.5rem); width: calc(50% - 0.5rem); }
  [class*="st-key-tiles"] [data-testid="stHorizontalBlock"] { gap: 0.6rem; flex-wrap: wrap; }
  [class*="st-key-tiles"] [data-testid="stMetricValue"] { font-size: 1.2rem; }
}
</style>
"""


def tiles(found: Sequence[Tile], key: str) -> None:
    """Draw them; ``key`` is unique on the page."""
    st.html(_CSS)
    with st.container(key=f"tiles-{key}"):
        for column, (label, value, note) in zip(st.columns(len(found)), found, strict=True):
            column.metric(label, value, note, delta_color="off", delta_arrow="off", border=True)

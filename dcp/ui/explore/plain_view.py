"""A step slider over a plain heatmap, for a browser that cannot draw the linked view."""

from __future__ import annotations

import streamlit as st

from dcp.figures.screen.held import held_heatmap
from dcp.trace import Trace

__all__ = ["plain_view"]


def plain_view(trace: Trace) -> None:
    """A step slider over the heatmap, and the text as it is."""
    st.caption("This browser cannot draw the linked view, so here is a simpler one.")
    last = max(0, trace.n_queries - 1)
    step = st.slider("Step", 0, last, last, key="plain step") if last else 0
    st.plotly_chart(held_heatmap(trace, step), config={"displayModeBar": False})
    st.text(trace.text)

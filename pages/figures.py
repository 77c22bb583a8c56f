"""Figures: every figure of this run, sized for print, with caption, data and command."""

from __future__ import annotations

import streamlit as st

from dcp.ui.figures.page import gallery
from dcp.ui.session import current

session = current()

st.title("Figures")
st.caption(
    "Every figure of this run, sized for print, with its caption, its data and the command that "
    "makes it."
)
gallery(session)

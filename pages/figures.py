"""Figures: Every figure of this run, sized for print, with its caption, its data and the command that makes it."""

from __future__ import annotations

import streamlit as st

st.title("Figures")
st.caption("Every figure of this run, sized for print, with its caption, its data and the command that makes it.")

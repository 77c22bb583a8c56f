"""Method: How a model learns to drop tokens from its own context, in five pictures."""

from __future__ import annotations

import streamlit as st

st.title("Method")
st.caption("How a model learns to drop tokens from its own context, in five pictures.")

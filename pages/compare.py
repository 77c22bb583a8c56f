"""Compare: What do two runs drop differently?"""

from __future__ import annotations

import streamlit as st

st.title("Compare")
st.caption("What do two runs drop differently?")

"""Cost: What do the dropped tokens save, in memory and in time?"""

from __future__ import annotations

import streamlit as st

st.title("Cost")
st.caption("What do the dropped tokens save, in memory and in time?")

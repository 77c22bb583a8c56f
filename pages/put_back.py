"""Put it back: What would the model have said, had it kept a token that it dropped?"""

from __future__ import annotations

import streamlit as st

st.title("Put it back")
st.caption("What would the model have said, had it kept a token that it dropped?")

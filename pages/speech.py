"""Parts of speech: Which words does the model drop, how soon, and what was read when it did?"""

from __future__ import annotations

import streamlit as st

st.title("Parts of speech")
st.caption("Which words does the model drop, how soon, and what was read when it did?")

"""Compare: What do two runs drop differently?"""

from __future__ import annotations

import streamlit as st

from dcp.ui.compare.page import compare
from dcp.ui.session import current
from dcp.ui.settings import settings

session = current()

st.title("Compare")
st.caption(
    "What do two runs drop differently, and what does it cost? Two texts, two sparsities, pruned "
    "against gates off, or two models."
)
compare(session, settings())

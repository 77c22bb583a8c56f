"""Cost: What do the dropped tokens save, in memory and in time?"""

from __future__ import annotations

import streamlit as st

from dcp.ui.cost.page import cost
from dcp.ui.session import current
from dcp.ui.settings import settings

session = current()

st.title("Cost")
st.caption("What do the dropped tokens save, in memory and in time?")
cost(session, settings())

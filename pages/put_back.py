"""Put it back: What would the model have said, had it kept a token that it dropped?"""

from __future__ import annotations

import streamlit as st

from dcp.ui.put_back.page import put_back_page
from dcp.ui.session import current
from dcp.ui.settings import settings

session = current()

st.title("Put it back")
st.caption(
    "What would the model have said, had it kept a token that it dropped? Choose one: the same "
    "text is read again with only that changed."
)
put_back_page(session, settings())

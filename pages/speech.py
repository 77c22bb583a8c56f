"""Parts of speech: Which words does the model drop, how soon, and what was read when it did?"""

from __future__ import annotations

import streamlit as st

from dcp.ui.session import current
from dcp.ui.settings import settings
from dcp.ui.speech.page import speech

session = current()

st.title("Parts of speech")
st.caption("Which words does the model drop, how soon, and what was read when it did?")
speech(session, settings())

"""Method: How a model learns to drop tokens from its own context, in five pictures."""

from __future__ import annotations

import streamlit as st

from dcp.ui.method.page import draw
from dcp.ui.method.words import CHAPTERS, MEANING
from dcp.ui.session import current

current()

st.title("Method")
st.caption("How a model learns to drop tokens from its own context, in five pictures.")
for chapter in CHAPTERS:
    words, shown = st.columns([2, 3], gap="large")
    with words:
        st.header(chapter.title)
        st.markdown(chapter.sentences)
        st.latex(chapter.equation)
    with shown:
        draw(chapter.picture)
    st.space("medium")
st.header("What “dropped” means, and what it does not")
st.markdown(MEANING)

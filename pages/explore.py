"""The first page: the film of a run, and a text of your own; what each layer of a model drops."""

from __future__ import annotations

import streamlit as st

from dcp.ui.explore.controls import controls
from dcp.ui.explore.panels import panels
from dcp.ui.explore.watch import watch
from dcp.ui.services import warm
from dcp.ui.session import current
from dcp.ui.settings import settings

limits = settings()
session = current()

with st.container(key="head"):
    st.title("What a language model forgets")
    st.caption(
        "It reads a text and writes on. Each layer keeps a context of its own and drops, for good, "
        "what it no longer needs."
    )
controls(session, limits)
watch(session, limits)
panels(session, limits)
warm()

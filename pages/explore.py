"""The first page: type a text, watch what each layer of a pruned model drops."""

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

st.title("What a language model forgets")
st.caption(
    "A pruned language model reads your text and goes on writing. Each layer keeps its own context "
    "and drops what it no longer needs: no later token in that layer can attend to it."
)
controls(session, limits)
watch(session)
panels(session, limits)
warm()

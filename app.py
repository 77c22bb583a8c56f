"""The app: page config, navigation, shared style. Run it with ``streamlit run app.py``."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported anywhere: on shared cores spinning threads cost two to three times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import streamlit as st

from dcp.errors import DcpError
from dcp.ui.explore.earlier import open_named
from dcp.ui.footer import footer
from dcp.ui.guard import guard
from dcp.ui.links import open_link
from dcp.ui.look import problem, style
from dcp.ui.running import running
from dcp.ui.services import set_apart, warm
from dcp.ui.session import current, enter
from dcp.ui.settings import settings
from dcp.ui.sidebar import sidebar
from dcp.ui.tour import tour

PAGES = Path(__file__).resolve().parent / "pages"

st.set_page_config(
    page_title="What a language model forgets",
    page_icon="◧",
    layout="wide",
    initial_sidebar_state="collapsed",
)
style()
PAGES_IN_ORDER = {
    "explore": "Explore",
    "speech": "Parts of speech",
    "put_back": "Put it back",
    "compare": "Compare",
    "cost": "Cost",
    "figures": "Figures",
    "method": "Method",
}
page = st.navigation(
    [
        st.Page(PAGES / f"{name}.py", title=title, default=name == "explore")
        for name, title in PAGES_IN_ORDER.items()
    ],
    position="top",
)
guard(settings())
enter()
session = current()
session.page = page.title
st.session_state.setdefault("first page", page.title)
open_named(session)
open_link(session)
sidebar(session)
if page.title == PAGES_IN_ORDER["explore"]:
    tour(settings(), active=session.work.job is not None)
running(session, PAGES_IN_ORDER["explore"])
try:
    page.run()
except DcpError as error:
    problem(str(error))
footer(session, PAGES_IN_ORDER)
warm()
# What a page imports comes with its first visit.
set_apart(f"page {page.title}")

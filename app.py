"""The app: page config, navigation, shared style. Run it with ``streamlit run app.py``."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported anywhere: on shared cores spinning threads cost two to three times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import streamlit as st

from dcp.ui.look import style

PAGES = Path(__file__).resolve().parent / "pages"

st.set_page_config(page_title="What a language model forgets", page_icon="◧", layout="wide")
style()
st.navigation([st.Page(PAGES / "explore.py", title="Explore", default=True)], position="top").run()

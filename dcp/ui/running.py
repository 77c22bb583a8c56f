"""One line on the other pages while a run is on: it lives on, and here is the way back to it."""

from __future__ import annotations

import streamlit as st

from dcp.ui.session import Session
from dcp.ui.watch import progress

__all__ = ["running"]

_EVERY = 1.0


def running(session: Session) -> None:
    """Say how far the run is, and keep asking: a run that nobody looks at any more is stopped."""
    with st.container(key="running"):
        if session.job is not None:
            st.fragment(_look, run_every=_EVERY)(session)


def _look(session: Session) -> None:
    if session.job is None:
        st.rerun()
        return
    status = session.job.status()
    if status.settled:
        session.end(status)
        st.rerun()
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.caption(
        f"A run is on. {progress(status, session.planned)} This page follows when it ends."
    )
    right.page_link("pages/explore.py", label="Watch it", icon=":material/arrow_back:")

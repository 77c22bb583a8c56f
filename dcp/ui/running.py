"""One line on the other pages while a run or a task is on, with a link back to it."""

from __future__ import annotations

import streamlit as st

from dcp.ui.explore.watch import progress
from dcp.ui.follow import follow_run
from dcp.ui.look import to_page
from dcp.ui.session import Session

__all__ = ["running"]

_EVERY = 1.0


def running(session: Session, first: str) -> None:
    """Show how far a run or a task is. Polling it also keeps it alive.

    Runs show themselves on the page titled ``first``, tasks on the page that asked for them.
    """
    with st.container(key="running"):
        if session.work.job is not None and session.page != first:
            st.fragment(_run, run_every=_EVERY)(session)
        if _busy(session) and session.page != session.work.task_page:
            st.fragment(_task, run_every=_EVERY)(session)


def _busy(session: Session) -> bool:
    return session.work.task is not None and session.work.task.status().active


def _run(session: Session) -> None:
    status = follow_run(session)
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.caption(
        f"A run is on. {progress(status, session.work.planned)} This page follows when it ends."
    )
    with right:
        to_page("explore", "Watch it", icon=":material/arrow_back:")


def _task(session: Session) -> None:
    if not _busy(session):
        st.rerun()
    page = session.work.task_page
    st.caption(f"The model is at work for the page “{page}”, which keeps the answer.")

"""Shows a run or a task of this window on the page, polling it until it settles."""

from __future__ import annotations

from typing import Any, TypeVar

import streamlit as st

from dcp.ui.look import problem
from dcp.ui.session import Session, current
from dcp.ui.task import Task, TaskStatus
from dcp.ui.worker import Status

__all__ = ["WATCHING", "every", "follow_run", "follow_task"]

T = TypeVar("T")
WATCHING, _WAITING = 0.25, 1.0
"""Seconds between two looks at what is on, and at what waits."""


def every(session: Session) -> float | None:
    """Seconds between two looks at this window's run; None where there is none.

    One that waits has nothing to show but its place, and there may be many of them.
    """
    job = session.work.job
    session.work.waiting = job is not None and job.status().state == "queued"
    if job is None:
        return None
    return _WAITING if session.work.waiting else WATCHING


def follow_run(session: Session) -> Status:
    """The status of this window's run. Reruns the page when it begins, has ended or is gone."""
    if session.work.job is None:
        st.rerun()
    status = session.work.job.status()
    if status.settled:
        session.end(status)
        st.rerun()
    if session.work.waiting and status.state != "queued":
        session.work.waiting = False
        st.rerun()
    return status


def follow_task(task: Task[T], key: str) -> T | None:
    """Show a task's progress until it settles, then rerun the page; its result, or None.

    A failure is said on the page. ``key`` names the Stop button.
    """
    work = current().work
    work.task, work.task_page = task, current().page
    status = task.status()
    if status.active:
        waits = status.state == "waiting"
        st.fragment(_look, run_every=_WAITING if waits else WATCHING)(task, key, waits)
        return None
    if status.state == "failed":
        problem(status.message)
    elif status.state == "stopped":
        st.caption(status.message)
    return status.result


def _look(task: Task[Any], key: str, waited: bool) -> None:
    status = task.status()
    if not status.active or (waited and status.state != "waiting"):
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    left.progress(status.share, text=_line(status))
    right.button("Stop", key=f"{key}-stop", on_click=task.cancel, width="stretch")


def _line(status: TaskStatus[Any]) -> str:
    if status.state == "running":
        return status.line or "Working."
    if status.position == 0:
        return "You are next."
    return f"Waiting in line: {status.position} before you."

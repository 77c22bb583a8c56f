"""The task that a page last gave to a model: one a page, kept in the session.

asked = last_asked("cost", session.shown.key)
if st.button("Measure"):
    asked = ask(session, limits, "cost", session.shown.key, measure, model)
found = follow_task(asked.task, "cost") if asked else None
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import streamlit as st

from dcp.ui import services
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["Asked", "ask", "keep", "last_asked"]

T = TypeVar("T")


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A task and what it is about; two of different ``about`` are different questions."""

    about: Hashable
    task: Task[T]

    @property
    def waiting(self) -> bool:
        """Whether it still waits or runs."""
        return self.task.status().active


def ask(
    session: Session,
    limits: Settings,
    page: str,
    about: Hashable,
    work: Callable[[OpenModel, Report], T],
    model: str | None,
) -> Asked[T]:
    """Put ``work`` with ``model`` (None: the default) in the line, in place of the last one."""
    return keep(page, Asked(about, services.submit_task(session.owner, model, work, limits)))


def keep(page: str, asked: Asked[T]) -> Asked[T]:
    """Note what ``page`` asked."""
    st.session_state[_key(page)] = asked
    return asked


def last_asked(page: str, about: Hashable | None = None) -> Asked[Any] | None:
    """What ``page`` asked last, if it was about ``about`` (None: whatever it was about).

    A task about something else is stopped if it still runs.
    """
    asked: Asked[Any] | None = st.session_state.get(_key(page))
    if asked is None or about is None or asked.about == about:
        return asked
    if asked.waiting:
        asked.task.cancel()
    return None


def _key(page: str) -> str:
    return f"{page}-asked"

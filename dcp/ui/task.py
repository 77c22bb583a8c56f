"""Work for a model that is not a run: it waits in the same line and gives one result.

    def measure(model: OpenModel, report: Report) -> Table:
        for i, part in enumerate(parts):
            report.check()                               # raises Stopped when it is time to leave
            report.progress(i / len(parts), "Reading")
        return table

    task = services.submit_task(session.owner, None, measure, limits)
    task.status()                                        # its window gone, it is stopped

Knows no streamlit and no model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from dcp.ui.turn import Leave, Turn

__all__ = ["Report", "Stopped", "Task", "TaskStatus"]

T = TypeVar("T")


class Stopped(Exception):
    """Raised by `Report.check` to leave a task from any depth."""


@dataclass(frozen=True)
class TaskStatus(Generic[T]):
    """A task at one moment.

    position  turns before this one while it waits
    share     how much is done, 0 to 1, and ``line``, what is being done
    result    what it gave; of a stopped task None, or as much as it gave nevertheless
    message   one line: why it failed or stopped
    """

    state: Literal["waiting", "running", "done", "failed", "stopped"]
    position: int = 0
    share: float = 0.0
    line: str = ""
    result: T | None = None
    message: str = ""

    @property
    def active(self) -> bool:
        """Whether it still waits or works."""
        return self.state in ("waiting", "running")


class Report:
    """How a running task reports progress and learns that it should end."""

    def __init__(self, say: Callable[[float, str], None], leave: Callable[[], bool]) -> None:
        self._say, self._leave = say, leave

    def progress(self, share: float, line: str) -> None:
        """``share`` of the work is done (0 to 1); ``line`` says what is being done."""
        self._say(min(max(float(share), 0.0), 1.0), line)

    def cancelled(self) -> bool:
        """Whether to end now: cancelled, out of time, or nobody is looking. Ask between steps."""
        return self._leave()

    def check(self) -> None:
        """Raise Stopped when it is time to end."""
        if self.cancelled():
            raise Stopped


class Task(Turn, Generic[T]):
    """One piece of work and how far it is. Made by `Worker.ask`."""

    def __init__(
        self,
        do: Callable[[Report], T],
        ahead: Callable[[Turn], int],
        present: Callable[[], bool],
    ) -> None:
        super().__init__(ahead, present)
        self._do = do
        self._status: TaskStatus[T] = TaskStatus("waiting")

    def status(self) -> TaskStatus[T]:
        """How far it is. Asking also says that somebody is still looking."""
        with self._lock:
            self._seen = time.monotonic()
            status = self._status
        return replace(status, position=self._ahead(self)) if status.state == "waiting" else status

    def work(self, leave: Leave) -> None:
        """Run to the end; the state says how it ended."""
        self._set(state="running")
        try:
            result = self._do(Report(lambda share, line: self._set(share=share, line=line), leave))
        except Stopped:
            self.drop(leave.why or "Stopped.")
            return
        self._set(state="stopped" if leave.why else "done", message=leave.why, result=result)

    def fail(self, message: str) -> None:
        self._set(state="failed", message=message)

    def drop(self, message: str) -> None:
        self._set(state="stopped", message=message)

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)

"""One thread for the figures of all windows: a job of each in turn, none for a window that left.

matplotlib draws one figure at a time anyway. A job that takes too long, or whose window leaves
while it runs, is broken off (`dcp.ui.figures.interrupt`). Knows no figure and no streamlit.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from dcp.errors import RequestError
from dcp.ui.figures.interrupt import interruptible
from dcp.ui.threads import start

__all__ = ["Left", "Rounds", "Seat", "TooLong"]

T = TypeVar("T")


class Left(Exception):
    """What a future holds whose window, or the app, had left before its job was done."""


class TooLong(RequestError):
    """Ends a job that took more than its time."""

    def __init__(self) -> None:
        super().__init__(
            "this figure takes longer to draw than the app allows: record fewer tokens, or draw it "
            "with `dcp figure`, which has no limit"
        )


@dataclass
class _Job:
    future: Future[Any]
    do: Callable[[], Any]
    left: Callable[[], bool]
    seconds: float


@dataclass(frozen=True)
class Seat:
    """The place of one window; used as an executor is.

    figures  that one job draws: its time is that many times the time of one
    """

    rounds: Rounds
    name: str
    left: Callable[[], bool]
    figures: int = 1

    def submit(self, do: Callable[..., T], /, *args: Any) -> Future[T]:
        """Do it in a later round of this window."""
        return self.rounds.put(self, lambda: do(*args))


@dataclass
class Rounds:
    """The thread, and what waits for it by seat; the seat that was served last comes last.

    seconds  that drawing one figure may take
    """

    seconds: float = 60.0
    _waiting: OrderedDict[str, deque[_Job]] = field(default_factory=OrderedDict, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        start(self._work, "figures", self.close)

    def seat(self, name: str, left: Callable[[], bool] = lambda: False) -> Seat:
        """A place; ``left`` tells, before a job and while it runs, that nobody waits for it."""
        return Seat(self, name, left)

    def put(self, seat: Seat, do: Callable[[], T]) -> Future[T]:
        """Let a job of ``seat`` wait."""
        future: Future[T] = Future()
        job = _Job(future, do, seat.left, self.seconds * seat.figures)
        with self._change:
            self._waiting.setdefault(seat.name, deque()).append(job)
            self._change.notify()
        return future

    def close(self) -> None:
        """Break off the job that runs, leave out those that wait, and end the thread."""
        with self._change:
            self._closed = True
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            self._change.notify()
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(Left())

    def _work(self) -> None:
        while (job := self._next()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                if job.left():
                    raise Left
                why = partial(self._unwanted, job, time.monotonic() + job.seconds)
                job.future.set_result(interruptible(job.do, why))
            except BaseException as error:
                job.future.set_exception(error)
            # Not to be kept alive until the next one comes.
            del job

    def _next(self) -> _Job | None:
        with self._change:
            while not self._waiting and not self._closed:
                self._change.wait()
            if self._closed:
                return None
            name, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[name] = jobs
            return job

    def _unwanted(self, job: _Job, until: float) -> type[Exception] | None:
        if self._closed or job.left():
            return Left
        return TooLong if time.monotonic() > until else None

"""One thread for the figures of all windows: a job of each in turn, none for a window that left.

matplotlib draws one figure at a time anyway. Knows no figure and no streamlit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Left", "Rounds", "Seat"]

T = TypeVar("T")


class Left(Exception):
    """What a future holds whose window had left when its turn came."""


@dataclass
class _Job:
    future: Future[Any]
    do: Callable[[], Any]
    left: Callable[[], bool]


@dataclass(frozen=True)
class Seat:
    """The place of one window; used as an executor is."""

    rounds: Rounds
    name: str
    left: Callable[[], bool]

    def submit(self, do: Callable[..., T], /, *args: Any) -> Future[T]:
        """Do it in a later round of this window."""
        return self.rounds.put(self, lambda: do(*args))


@dataclass
class Rounds:
    """The thread, and what waits for it by seat; the seat that was served last comes last."""

    _waiting: OrderedDict[str, deque[_Job]] = field(default_factory=OrderedDict, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, name="figures", daemon=True).start()

    def seat(self, name: str, left: Callable[[], bool] = lambda: False) -> Seat:
        """A place; ``left`` tells, when a job's turn comes, that nobody waits for it any more."""
        return Seat(self, name, left)

    def put(self, seat: Seat, do: Callable[[], T]) -> Future[T]:
        """Let a job of ``seat`` wait."""
        future: Future[T] = Future()
        with self._change:
            self._waiting.setdefault(seat.name, deque()).append(_Job(future, do, seat.left))
            self._change.notify()
        return future

    def _work(self) -> None:
        while True:
            job = self._next()
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                if job.left():
                    raise Left
                job.future.set_result(job.do())
            except BaseException as error:
                job.future.set_exception(error)
            # Not to be kept alive until the next one comes.
            del job

    def _next(self) -> _Job:
        with self._change:
            while not self._waiting:
                self._change.wait()
            name, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[name] = jobs
            return job

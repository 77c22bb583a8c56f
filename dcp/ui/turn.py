"""A place in the worker's line: it can be cancelled, and knows whether its reader is there.

Knows nothing of what is done when the turn comes.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

__all__ = ["Leave", "Turn"]


class Turn(ABC):
    """One entry of the line; safe to use from any thread.

    ahead    tells its place
    present  whether the window that it is for is there
    """

    def __init__(self, ahead: Callable[[Turn], int], present: Callable[[], bool]) -> None:
        self._ahead, self._present = ahead, present
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen = time.monotonic()

    def cancel(self) -> None:
        """Stop at the next step, or never start."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def unseen_for(self) -> float:
        """Seconds since its window was there, or somebody asked for its status."""
        present = self._present()
        with self._lock:
            now = time.monotonic()
            if present:
                self._seen = now
            return now - self._seen

    @abstractmethod
    def work(self, leave: Leave) -> None:
        """Do what there is to do; called once, in a thread of the worker."""

    @abstractmethod
    def fail(self, message: str) -> None:
        """Settle as failed, for the reason in ``message``."""

    @abstractmethod
    def drop(self, message: str) -> None:
        """Settle as stopped before it began."""


class Leave:
    """Whether a turn should end now: asked between steps. ``why`` keeps the reason it gave.

    seconds       longest a turn may take, None for no limit
    idle_seconds  longest it may go unseen
    """

    def __init__(self, turn: Turn, seconds: float | None, idle_seconds: float) -> None:
        self._turn, self._seconds, self._idle_seconds = turn, seconds, idle_seconds
        self._began = time.monotonic()
        self.why = ""

    def __call__(self) -> bool:
        if self._turn.cancelled:
            self.why = "Stopped."
        elif self._seconds is not None and time.monotonic() - self._began > self._seconds:
            self.why = f"Stopped after {self._seconds:.0f} seconds, the limit of this server."
        elif self._turn.unseen_for() > self._idle_seconds:
            self.why = "Stopped: nobody was looking any more."
        return bool(self.why)

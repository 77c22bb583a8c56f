"""Threads that end before the interpreter does.

A daemon thread that comes back from C++ (torch, matplotlib) while the interpreter shuts down takes
the process with it ("terminate called without an active exception", exit status 134). So each is
told to stop, and waited for. Knows no job.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import threading
import time
from collections.abc import Callable

__all__ = ["raise_in", "start"]

_log = logging.getLogger(__name__)
_ASKED_SECONDS, _MADE_SECONDS = 2.0, 8.0
_STOPS: dict[threading.Thread, Callable[[], None]] = {}


def start(work: Callable[[], None], name: str, stop: Callable[[], None]) -> threading.Thread:
    """A thread that does ``work``.

    Where it still does when the process is about to end, ``stop`` is called, and after 2 seconds
    SystemExit is raised in it. It is waited for, 10 seconds at most: a single call into C is not
    broken off.
    """

    def run() -> None:
        try:
            work()
        finally:
            _STOPS.pop(thread, None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    _STOPS[thread] = stop
    try:
        thread.start()
    except RuntimeError:
        # What never began is not waited for.
        del _STOPS[thread]
        raise
    return thread


@atexit.register
def _end() -> None:
    for thread, stop in list(_STOPS.items()):
        try:
            stop()
        except Exception:
            _log.exception("%s did not hear that it should stop", thread.name)
    for thread in _still(_ASKED_SECONDS):
        if thread.ident is not None:
            raise_in(thread.ident, SystemExit)
    _still(_MADE_SECONDS)


def _still(seconds: float) -> list[threading.Thread]:
    """The threads that are still at work after so long."""
    until = time.monotonic() + seconds
    for thread in list(_STOPS):
        thread.join(max(until - time.monotonic(), 0))
    return list(_STOPS)


def raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise ``error`` before the next Python instruction of a thread; None takes it back."""
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)

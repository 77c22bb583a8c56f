"""Threads that end before the interpreter does.

A daemon thread that comes back from C++ (torch, matplotlib) while the interpreter shuts down takes
the process with it ("terminate called without an active exception", exit status 134). So each is
told to stop, and waited for. Knows no job.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

__all__ = ["WAIT_SECONDS", "start"]

WAIT_SECONDS = 5.0


def start(work: Callable[[], None], name: str, stop: Callable[[], None]) -> threading.Thread:
    """A thread that does ``work``.

    Where it still does when the process is about to end, ``stop`` is called and the thread waited
    for, `WAIT_SECONDS` at most: a single call into C is not broken off.
    """

    def run() -> None:
        try:
            work()
        finally:
            atexit.unregister(end)

    def end() -> None:
        stop()
        thread.join(WAIT_SECONDS)

    thread = threading.Thread(target=run, name=name, daemon=True)
    atexit.register(end)
    thread.start()
    return thread

"""Break off Python code that runs in a thread, as Ctrl-C does in the main one.

The interpreter raises the exception before the next Python instruction of that thread
(`PyThreadState_SetAsyncExc`): a single call into C is not broken off, and code that catches the
exception goes on until it is raised once more. Knows no figure.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LOOK_SECONDS", "interruptible"]

T = TypeVar("T")
LOOK_SECONDS = 0.5


def interruptible(do: Callable[[], T], why: Callable[[], type[Exception] | None]) -> T:
    """What ``do`` gives; the exception that ``why`` names is raised inside of it as soon as named.

    ``why`` is asked every `LOOK_SECONDS` in another thread. Nothing is raised after this returned.
    """
    thread = threading.get_ident()
    lock, ended = threading.Lock(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            error = why()
            with lock:
                if error is not None and not ended.is_set():
                    _raise_in(thread, ctypes.py_object(error))

    threading.Thread(target=watch, name="watches a figure", daemon=True).start()

    def end() -> None:
        ended.set()
        with lock:
            # What was raised a moment ago and has not arrived yet is forgotten.
            _raise_in(thread, None)

    try:
        return do()
    finally:
        # It may arrive just here; then the next is `LOOK_SECONDS` away.
        try:
            end()
        finally:
            end()


def _raise_in(thread: int, error: ctypes.py_object[type[Exception]] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)

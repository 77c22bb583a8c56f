"""Break off Python code that runs in a thread, as Ctrl-C does in the main one.

The interpreter raises the exception before the next Python instruction of that thread
(`PyThreadState_SetAsyncExc`): a single call into C is not broken off, and code that catches the
exception goes on until it is raised once more. Knows no figure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dcp.ui.threads import raise_in

__all__ = ["LOOK_SECONDS", "interruptible"]

T = TypeVar("T")
LOOK_SECONDS = 0.5


@dataclass
class _State:
    done: bool = False


def interruptible(do: Callable[[], T], why: Callable[[], type[Exception] | None]) -> T:
    """What ``do`` gives; the exception that ``why`` names is raised inside of it as soon as named.

    ``why`` is asked every `LOOK_SECONDS` in another thread. Nothing is raised after this returned.
    """
    thread, state = threading.get_ident(), _State()
    lock, begun, ended = threading.Lock(), threading.Event(), threading.Event()

    def watch() -> None:
        begun.wait()
        while not ended.wait(LOOK_SECONDS):
            error = why()
            with lock:
                if error is not None and not state.done:
                    raise_in(thread, error)

    def forget() -> None:
        ended.set()
        with lock:
            raise_in(thread, None)

    threading.Thread(target=watch, name="watches a figure", daemon=True).start()
    try:
        begun.set()
        return do()
    finally:
        # From here on nothing more is raised. One exception may still be on its way: it arrives in
        # the first call, and the second makes up for it, or is forgotten there.
        state.done = True
        try:
            forget()
        finally:
            forget()

"""What Streamlit leaves open on a server: closed once, with the first window that comes.

Uploads are bounded for each window and in all; what a window held is given back soon after it has
left; a server for strangers tells nobody its metrics. Streamlit has no settings for these, so this
reaches into its runtime; tests hold it against the release that is pinned.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st
from starlette.exceptions import HTTPException
from streamlit.runtime import Runtime

from dcp.ui.presence import connected, window
from dcp.ui.settings import Settings

__all__ = ["Departures", "bounded", "give_back", "guard"]

_EVERY = 10.0
_log = logging.getLogger(__name__)


def guard(limits: Settings) -> None:
    """Close what is open, once a server; note the window that this script runs for."""
    if not Runtime.exists():
        return
    _departures(limits).note(window())


def _close(runtime: Runtime, window: str) -> None:
    """Close the session of ``window``, unless it is back by then. Safe from any thread."""

    def close() -> None:
        if not connected(window):
            runtime.close_session(window)

    runtime._get_async_objs().eventloop.call_soon_threadsafe(close)


@st.cache_resource(show_spinner=False)
def _departures(limits: Settings) -> Departures:
    runtime = Runtime.instance()
    files: Any = runtime.uploaded_file_mgr
    files.add_file = bounded(files, limits.upload_mib * 2**20)
    if limits.public:
        runtime.stats_mgr.registered_families = list  # type: ignore[method-assign]
        runtime.stats_mgr.get_stats = lambda *_, **__: {}  # type: ignore[method-assign]
    stay = max(float(st.get_option("server.disconnectedSessionTTL")) - 2 * _EVERY, 0.0)
    made = Departures(connected, partial(_close, runtime), stay)

    def watch() -> None:
        while Runtime.exists():
            time.sleep(_EVERY)
            if made.sweep(time.monotonic()):
                # The sessions are closed on the server's own loop.
                time.sleep(1)
                give_back()

    threading.Thread(target=watch, name="departures", daemon=True).start()
    return made


def bounded(files: Any, each: int) -> Callable[[str, Any], None]:
    """``files.add_file`` with bounds: for a window 4 times ``each`` bytes and 16 files, in all 32.

    A window's oldest files make room for its new ones. A file beyond all that is refused.
    """
    add = files.add_file
    lock = threading.Lock()

    def add_file(session_id: str, file: Any) -> None:
        size = len(file.data)
        with lock:
            mine = files.file_storage.get(session_id, {})
            while mine and (_bytes(mine) + size > 4 * each or len(mine) >= 16):
                files.remove_file(session_id, next(iter(mine)))
            held = sum(_bytes(kept) for kept in list(files.file_storage.values()))
            if size > each or held + size > 32 * each:
                raise HTTPException(413, "the server holds too many files; try again later")
            add(session_id, file)

    return add_file


def _bytes(kept: dict[str, Any]) -> int:
    return sum(len(file.data) for file in list(kept.values()))


class Departures:
    """Closes windows that have been gone for ``stay`` seconds.

    there  whether a window is connected
    close  ends the session of a window that is not
    """

    def __init__(
        self, there: Callable[[str], bool], close: Callable[[str], None], stay: float
    ) -> None:
        self._there, self._close, self._stay = there, close, stay
        self._seen: dict[str, float | None] = {}
        self._lock = threading.Lock()

    def note(self, window: str) -> None:
        """A window was served."""
        with self._lock:
            self._seen[window] = None

    def sweep(self, now: float) -> list[str]:
        """Close what has left by ``now`` (seconds); gives the windows closed."""
        with self._lock:
            for name, since in self._seen.items():
                if self._there(name):
                    self._seen[name] = None
                elif since is None:
                    self._seen[name] = now
            gone = [
                name
                for name, since in self._seen.items()
                if since is not None and now - since >= self._stay
            ]
            for name in gone:
                del self._seen[name]
        for name in gone:
            try:
                self._close(name)
            except Exception:
                _log.exception("a window that left could not be closed")
        return gone


def give_back() -> None:
    """Free what nobody refers to any more, and hand freed memory back to the system.

    What was loaded stands apart from the collector's rounds (`dcp.ui.services.set_apart`), and what
    windows held at that moment with it: all of it is looked through once here.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            # Another C library: it decides by itself.
            return

"""Draws figures in the background and keeps what it drew, so that a page never waits for one.

One thread for all sessions of a server: matplotlib draws one figure at a time anyway. Each session
has its own cache, which goes when the session goes. Knows no streamlit and no kind of figure.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from dcp.errors import DcpError
from dcp.figures.paper.figure_set import FigureSet

__all__ = ["Preview", "PreviewCache", "draw_preview"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """A figure as the page shows it; ``error``: why there is none."""

    png: bytes = b""
    caption: str = ""
    alt: str = ""
    inches: tuple[float, float] = (0.0, 0.0)
    rows: int = 0
    error: DcpError | None = None


def draw_preview(figures: FigureSet, kind: str) -> Preview:
    """Draw ``kind``. Never raises: a preview says what went wrong."""
    from dcp.figures.paper.provenance import alt
    from dcp.figures.paper.style import preview

    try:
        drawing = figures.draw(kind)
        png = preview(drawing.figure, figures.page)
    except DcpError as error:
        return Preview(error=error)
    except Exception as error:
        _log.exception("a figure failed")
        name = type(error).__name__
        return Preview(error=DcpError(f"it failed inside the app ({name}); the log says why"))
    width, height = drawing.figure.get_size_inches()
    inches = float(width), float(height)
    return Preview(png, drawing.caption, alt(drawing), inches, len(drawing.data))


@dataclass
class PreviewCache:
    """What one session has asked for.

    most  previews kept; the one not looked at for longest goes first
    """

    executor: Executor
    most: int = 96
    _done: OrderedDict[Hashable, Preview] = field(default_factory=OrderedDict, init=False)
    _waiting: dict[Hashable, Future[Preview]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def get(self, key: Hashable, make: Callable[[], Preview]) -> Preview | None:
        """The preview of ``key``; None while it is being made, which asking begins."""
        with self._lock:
            future = self._waiting.get(key)
            if future is not None and future.done():
                del self._waiting[key]
                if not future.cancelled():
                    self._done[key] = future.result()
                    while len(self._done) > self.most:
                        self._done.popitem(last=False)
            if key in self._done:
                self._done.move_to_end(key)
                return self._done[key]
            if key not in self._waiting:
                self._waiting[key] = self.executor.submit(make)
            return None

    def only(self, wanted: Collection[Hashable]) -> None:
        """Nobody looks at anything else any more: what has not begun never will."""
        with self._lock:
            for key in [key for key in self._waiting if key not in wanted]:
                if self._waiting[key].cancel():
                    del self._waiting[key]

"""Draws figures in the background and keeps them, so that a page never waits for one.

One cache a session, freed with it. Knows no streamlit and no kind of figure.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from dcp.errors import DcpError
from dcp.figures.paper.figure_set import FigureSet
from dcp.ui.figures.rounds import Left, Seat, TooLong

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
    """Draw ``kind``. `Preview.error` says what went wrong; raises Left alone."""
    from dcp.figures.paper.provenance import alt
    from dcp.figures.paper.style import preview

    try:
        drawing = figures.draw(kind)
        png = preview(drawing.figure, figures.page)
    except Left:
        raise
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
    """Previews by key, drawn on first request.

    most  previews kept; the one not looked at for longest goes first
    """

    executor: Seat
    most: int = 96
    _done: OrderedDict[Hashable, Preview] = field(default_factory=OrderedDict, init=False)
    _waiting: dict[Hashable, Future[Preview]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def get(self, key: Hashable, make: Callable[[], Preview]) -> Preview | None:
        """The preview of ``key``, or None while it is drawn, which the first call begins."""
        with self._lock:
            future = self._waiting.get(key)
            if future is not None and future.done():
                del self._waiting[key]
                error = None if future.cancelled() else future.exception()
                if isinstance(error, TooLong):
                    self._done[key] = Preview(error=error)
                # A window that came back asks again.
                elif not future.cancelled() and not isinstance(error, Left):
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
        """Cancel whatever is not ``wanted`` and has not begun."""
        with self._lock:
            for key in [key for key in self._waiting if key not in wanted]:
                if self._waiting[key].cancel():
                    del self._waiting[key]

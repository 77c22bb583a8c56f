"""What a trace asks of rooms further down the street, by name and only when a reader wants it.

A notebook shows a trace by itself, and `Trace.to_frame` tags words when it is given none. Neither
belongs to a trace, so it imports neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcp.trace.frame import WordLike
    from dcp.trace.trace import Trace

__all__ = ["page_of", "words_of"]


def words_of(trace: Trace) -> Iterable[WordLike]:
    """The words of ``trace`` with the tags of the bundled tagger."""
    tagger = import_module("dcp.speech.tagger").load_tagger()
    words: Iterable[WordLike] = import_module("dcp.speech.words").words_of(trace, tagger)
    return words


def page_of(trace: Trace) -> str:
    """The static viewer of ``trace`` as one HTML page."""
    page: str = import_module("dcp.viewer.static").html(trace)
    return page

"""The words and the viewer of a trace, imported by name when they are asked for.

A notebook shows a trace by itself, and `Trace.to_frame` tags words when it is given none. The
tagger and the viewer import `dcp.trace`, so that it cannot import them.
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

"""What the token being read is: a word's part of speech, a line break, another space, an end.

Knows traces and words; counts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcp.speech.tagger import UPOS
from dcp.speech.words import Word
from dcp.stats.groups import SPACES
from dcp.stats.lives import Sample
from dcp.text.documents import END_OF_TEXT
from dcp.trace import Trace

__all__ = ["KINDS", "kinds_of", "tokens_of"]

KINDS = (*UPOS, *SPACES)
"""The tags, then what has none: a line break, other white space, the end of a text, the rest (a
word that is cut off, one that the tagger left out)."""

Ints = npt.NDArray[np.int64]


def kinds_of(trace: Trace, words: Sequence[Word]) -> Ints:
    """[T] int64: index into `KINDS` of each token. A token of two words is the second's."""
    line, space, end, rest = range(len(UPOS), len(KINDS))
    kinds = np.full(trace.tokens, rest, np.int64)
    for at in range(trace.tokens):
        piece = trace.piece(at)
        # An end-of-text token stands for no character of the text.
        if not piece or piece == END_OF_TEXT:
            kinds[at] = end
        elif not piece.strip():
            kinds[at] = line if "\n" in piece else space
    for word in words:
        if word.complete and word.pos in UPOS:
            kinds[word.first : word.last + 1] = UPOS.index(word.pos)
    return kinds


def tokens_of(samples: Sequence[Sample]) -> tuple[list[str], list[Ints]]:
    """(names, for each sample [T] int64 indices into them): each token by its text, spaces around
    it aside, so that ``" the"`` at a line's start is the same token."""
    names: dict[str, int] = {}
    labels = []
    for trace, _ in samples:
        shown = (_shown(trace.piece(at)) for at in range(trace.tokens))
        labels.append(np.array([names.setdefault(name, len(names)) for name in shown], np.int64))
    return list(names), labels


def _shown(piece: str) -> str:
    if not piece or piece == END_OF_TEXT:
        return "end of text"
    return piece.strip() or ("⏎" if "\n" in piece else "␣")

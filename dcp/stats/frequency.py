"""How common a word is in English: occurrences per million words of the training text.

Reads one small table (``assets/pos/frequency.tsv.xz``, made by
``python -m dcp.speech.training.frequency``).
"""

from __future__ import annotations

import lzma
from bisect import bisect_right
from functools import lru_cache

from dcp.errors import RequestError
from dcp.resources import asset

__all__ = ["BANDS", "band_of", "per_million"]

BANDS = ("under 1", "1-10", "10-100", "100-1000", "1000+")
"""Occurrences per million words, rare words first."""

_EDGES = (1, 10, 100, 1000)
_TABLE = asset("pos/frequency.tsv.xz")


@lru_cache(maxsize=1)
def _rates() -> dict[str, float]:
    try:
        lines = lzma.decompress(_TABLE.read_bytes()).decode().splitlines()
    except (OSError, lzma.LZMAError) as error:
        raise RequestError(f"the word frequencies cannot be read: {error}") from error
    pairs = (line.split("\t") for line in lines)
    return {word: float(rate) for word, rate in pairs}


def per_million(word: str) -> float:
    """Occurrences of ``word`` in a million words, case aside; 0 for one below 1."""
    return _rates().get(word.lower(), 0.0)


def band_of(word: str) -> int:
    """Index into ``BANDS``; -1 for what has no letter (numbers, punctuation, emoji)."""
    if not any(character.isalpha() for character in word):
        return -1
    return bisect_right(_EDGES, per_million(word))

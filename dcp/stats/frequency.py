"""How common a word is in English: occurrences per million words of the training text.

Reads one small table (``assets/pos/frequency.tsv.xz``, made by
``python -m dcp.speech.training.frequency``).
"""

from __future__ import annotations

import lzma
import math
from bisect import bisect_right
from functools import lru_cache

from dcp.errors import RequestError
from dcp.resources import asset

__all__ = ["BANDS", "HALF_DECADES", "band_of", "half_decade_of", "per_million"]

BANDS = ("under 1", "1-10", "10-100", "100-1000", "1000+")
"""Occurrences per million words, rare words first."""

_EDGES = (1, 10, 100, 1000)

HALF_DECADES = 11
"""Classes of `half_decade_of`."""

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


def half_decade_of(word: str) -> int:
    """0 for a word below 1 per million, then 1 + the half decades that it is above that, at most
    10 (31,623 per million, "the"); -1 for what has no letter.

    Within a whole decade function words are more common than content words, so that a covariate as
    coarse as `BANDS` leaves some of frequency's effect to the part of speech.
    """
    if band_of(word) < 0:
        return -1
    rate = per_million(word)
    if rate < 1:
        return 0
    return min(1 + math.floor(2 * math.log10(rate)), HALF_DECADES - 1)

"""Whether a text looks English, the language that the tagger was trained on. No model, no tagger.

A text is taken for English where enough of its words are among the commonest English ones that
other languages do not share.
"""

from __future__ import annotations

import re

__all__ = ["looks_english"]

_COMMON = frozenset(
    re.findall(
        r"\w+",
        """the of and to that it was for with he be by his from they which this have had not are but
        her she or an were we there been their has would what if can you all when who will more my
        about up into them some could time these its our your is him than then no so out""",
    )
)
_LEAST_WORDS = 12
_LEAST_SHARE = 0.12
"""English prose has 30 % or more, headlines and lists about 15 %, German or French under 5 %."""


def looks_english(text: str) -> bool | None:
    """None for a text of fewer than twelve words, of which nothing can be said.

    >>> looks_english("The river rose for three days and then it fell, as it had a year before.")
    True
    >>> looks_english("Der Fluss stieg drei Tage lang und fiel dann wieder, wie im Jahr zuvor.")
    False
    """
    words = re.findall(r"[^\W\d_]+", text.lower())
    if len(words) < _LEAST_WORDS:
        # A script without spaces between words has few "words" and many letters.
        letters = sum(map(len, words))
        return False if letters > 8 * _LEAST_WORDS and not text.isascii() else None
    return sum(word in _COMMON for word in words) >= _LEAST_SHARE * len(words)

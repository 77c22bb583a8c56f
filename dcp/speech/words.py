"""Words of a trace: which tokens carry which word, by character offset, with a part of speech.

The tagger reads the whole text at once, so a word's tag may rest on words after it that the model
had not seen yet when it kept or dropped the word. Knows no spaCy and no statistics.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np

from dcp.errors import TraceError
from dcp.trace import Trace

__all__ = ["Source", "TextTagger", "Word", "from_json", "to_json", "words_of"]

Source = Literal["prompt", "generated"]


class TextTagger(Protocol):
    """What `words_of` needs: `dcp.speech.tagger.Tagger` is one."""

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, UPOS) of each word, from left to right, in Unicode code points."""


@dataclass(frozen=True)
class Word:
    """One word of a trace.

    start, end    its span in the text (Unicode code points)
    text          that slice
    pos           Universal POS; "" where the word is not complete
    first, last   its tokens, both inclusive; a token may belong to two words ("n" of "don't")
    source        where its last token was born: with it the word's age starts
    complete      False for a word that generation or truncation cut off
    """

    start: int
    end: int
    text: str
    pos: str
    first: int
    last: int
    source: Source
    complete: bool

    @property
    def tokens(self) -> int:
        """How many tokens carry the word."""
        return self.last - self.first + 1


def to_json(words: Iterable[Word]) -> str:
    """The words as a JSON list, a word to a line."""
    rows = [json.dumps(asdict(word), ensure_ascii=False) for word in words]
    return "[\n" + ",\n".join(rows) + "\n]\n"


def from_json(text: str) -> list[Word]:
    """The words that `to_json` wrote. Raises TraceError for anything else."""
    try:
        return [Word(**row) for row in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as error:
        raise TraceError("this is not a list of words: tag the trace again") from error


def words_of(trace: Trace, tagger: TextTagger) -> list[Word]:
    """The words of ``trace`` from left to right, each with its tokens and its tag.

    A token belongs to every word with which it shares a character; its leading space counts for
    nothing. Words that no token spans are left out.
    """
    text = trace.text
    spans = tagger.tag(text)
    starts = np.array([start for start, _, _ in spans], np.int64)
    ends = np.array([end for _, end, _ in spans], np.int64)
    # Offsets run from left to right, so the tokens of a word are the slice that reaches into it.
    first = np.searchsorted(trace.offsets[:, 1], starts, side="right")
    last = np.searchsorted(trace.offsets[:, 0], ends, side="left") - 1
    cut_left = trace.meta.truncated == "left" and not text[:1].isspace()
    cut_right = _may_go_on(trace)
    words = []
    for (start, end, pos), a, b in zip(spans, first.tolist(), last.tolist(), strict=True):
        if a > b:
            continue
        complete = not (cut_right and end == len(text)) and not (cut_left and start == 0)
        words.append(
            Word(
                start=start,
                end=end,
                text=text[start:end],
                pos=pos if complete else "",
                first=a,
                last=b,
                source="prompt" if b < trace.prompt_tokens else "generated",
                complete=complete,
            )
        )
    return words


def _may_go_on(trace: Trace) -> bool:
    """Whether a further token could have continued the last word.

    So it could where the model was stopped after a letter, a digit, or half a character; not after
    white space, closing punctuation or an end-of-text token.
    """
    generated = trace.tokens > trace.prompt_tokens
    if not (generated or trace.meta.truncated == "right"):
        return False
    start, end = trace.offsets[-1].tolist()
    if start == end or end < len(trace.text):
        return False
    last = trace.text[-1]
    # M: combining marks; Cf: zero-width joiners, which promise a further part of an emoji.
    return last.isalnum() or last in "'’-_\ufffd" or unicodedata.category(last)[0:2] in _OPEN


_OPEN = ("Mn", "Mc", "Me", "Cf")

"""Which traces are of the same text, and which words of theirs are the same word again.

Three continuations of one prompt, a file given twice, the windows of one document: each is one
text, because what it shows is not independent evidence. Knows traces and words, no rates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from dcp.speech.words import Word
from dcp.trace import Trace

__all__ = ["Identities", "document_key", "repeats_said", "stretches_of", "texts_of"]

Ints = npt.NDArray[np.int64]


def document_key(text: str) -> str:
    """The name of a document: the beginning of the SHA-256 of its text, spaces around it aside."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def texts_of(samples: Sequence[tuple[Trace, Sequence[Word]]]) -> Ints:
    """[samples] int64: the text that each belongs to, numbered from 0 in order of appearance.

    That is the document which its trace names as the one that it is a window of, or else its
    prompt: the same prompt read twice is one text, whatever the model wrote then.
    """
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(_key(trace), len(seen)) for trace, _ in samples], np.int64)


def stretches_of(samples: Sequence[tuple[Trace, Sequence[Word]]]) -> Ints:
    """[samples] int64: as `texts_of`, but windows of a document that begin elsewhere are apart.

    Step t of two samples of one stretch is the same place in the same text.
    """
    seen: dict[tuple[str, str], int] = {}
    keys = ((_key(trace), _prompt_key(trace)) for trace, _ in samples)
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _key(trace: Trace) -> str:
    named = trace.meta.document
    return _prompt_key(trace) if named is None else named


def _prompt_key(trace: Trace) -> str:
    end = int(trace.offsets[: trace.prompt_tokens, 1].max(initial=0))
    return document_key(trace.text[:end])


class Identities:
    """Numbers words so that a word read again in the same context has the number it had before."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, int], int] = {}
        self._read: set[bytes] = set()
        self._next = 0

    def number(self, trace: Trace, words: Iterable[Word]) -> Ints:
        """[words] int64: the number of each, the first of its like counted through all calls."""
        contexts = _contexts(trace)
        numbers = []
        for word in words:
            numbers.append(self._seen.setdefault((contexts[word.last], word.start), self._next))
            self._next += 1
        return np.array(numbers, np.int64)

    def fresh(self, trace: Trace) -> npt.NDArray[np.bool_]:
        """[T] bool: tokens whose context no trace before had."""
        contexts = _contexts(trace)
        found = np.array([context not in self._read for context in contexts], np.bool_)
        self._read.update(contexts)
        return found


def _contexts(trace: Trace) -> list[bytes]:
    """For each token a digest of all that was read up to it, and of the document it stands in."""
    running = hashlib.sha256(_key(trace).encode())
    found = []
    for number in trace.token_ids.tolist():
        running.update(number.to_bytes(8, "little", signed=True))
        found.append(running.copy().digest())
    return found


def repeats_said(samples: Sequence[tuple[Trace, Sequence[Word]]]) -> str:
    """A sentence where traces share a text, "" where each has its own."""
    traces, texts = len(samples), int(texts_of(samples).max(initial=-1)) + 1
    if texts == traces:
        return ""
    return (
        f"{traces} traces of {texts} distinct text{'s' if texts > 1 else ''}: repeats and windows "
        "of a text count as one in every interval, and the same words read again count once"
    )

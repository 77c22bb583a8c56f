"""Bytes and characters: where UTF-8 characters begin, end and break.

Pure functions on bytes and spans; knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from unicodedata import bidirectional, category

import numpy as np
import numpy.typing as npt

__all__ = [
    "BYTE_OF",
    "REPLACEMENT",
    "byte_spans",
    "decode_bytes",
    "fragments_of",
    "isolated",
    "normal_spans",
    "pieces_of",
    "tiled",
]

Ints = npt.NDArray[np.int32]
REPLACEMENT = "\ufffd"


def decode_bytes(data: bytes) -> tuple[str, list[int], bool]:
    """UTF-8 as characters, with the byte behind each, and whether the last one is incomplete.

    >>> decode_bytes(b"a\\xc3\\xa9\\xf0\\x9f")
    ('aé\\ufffd', [1, 3, 5], True)

    The characters are those of ``data.decode(errors="replace")``.
    """
    text, ends, position, incomplete = "", [], 0, False
    while position < len(data):
        try:
            good, bad, incomplete = data[position:].decode(), 0, False
        except UnicodeDecodeError as wrong:
            good = data[position : position + wrong.start].decode()
            bad = wrong.end - wrong.start
            incomplete = wrong.reason == "unexpected end of data"
        for char in good:
            position += len(char.encode())
            ends.append(position)
        text += good
        if bad:
            position += bad
            ends.append(position)
            text += REPLACEMENT
    return text, ends, incomplete


def byte_spans(text: str, lengths: Sequence[int]) -> Ints:
    """[T, 2] int32: the characters that each of T pieces touches.

    ``lengths`` are the byte lengths of the pieces; they add up to the text in UTF-8. An empty piece
    has an empty span.

    >>> byte_spans("aé", [1, 1, 1]).tolist()
    [[0, 1], [1, 2], [1, 2]]
    """
    raw = np.frombuffer(text.encode(), np.uint8)
    # Every byte that does not continue a character starts one.
    count = np.cumsum((raw & 0xC0) != 0x80)
    size = np.array(lengths, np.int64)
    last = np.cumsum(size)
    starts = np.append(count, len(text) + 1)[last - size] - 1
    ends = np.where(size > 0, np.insert(count, 0, 0)[last], starts)
    return np.stack([starts, ends], axis=1).astype(np.int32)


def tiled(offsets: Sequence[tuple[int, int]], text: str) -> Ints:
    """A tokenizer's own spans, made to run from left to right and to leave no character out.

    What lies between two tokens belongs to the first of them up to its first white space: marks
    that were composed into the character before them.

    >>> tiled([(0, 1), (2, 3), (4, 5)], "e\u0301x y").tolist()
    [[0, 2], [2, 3], [3, 5]]
    """
    spans = np.array(offsets, np.int32).reshape(-1, 2)
    spans = np.maximum.accumulate(np.clip(spans, 0, len(text)), axis=0)
    if not len(spans):
        return spans
    spans[0, 0] = 0
    starts = np.append(spans[1:, 0], len(text))
    grown: dict[int, int] = {}
    for end, start in zip(spans[:, 1].tolist(), starts.tolist(), strict=True):
        marks = next((i for i in range(end, start) if text[i].isspace()), max(start, end))
        grown[end] = max(grown.get(end, 0), marks)
    # Tokens that share a character share its marks.
    spans[:, 1] = [grown[end] for end in spans[:, 1].tolist()]
    spans[-1, 1] = len(text)
    for before, after in pairwise(spans):
        after[0] = min(after[0], before[1])
    return spans


def normal_spans(text: str, lengths: Sequence[int], normal: Callable[[str], str]) -> Ints | None:
    """[T, 2] int32: the characters of ``text`` that each piece of its normal form touches.

    ``lengths`` are the byte lengths of the pieces of ``normal(text)``. Characters with the marks
    that follow them are looked at one by one; where one changes, all pieces of its normal form
    touch all of it. None where the normal form of the whole is not that of its parts.

    >>> from unicodedata import normalize
    >>> normal_spans("e\u0301x", [2, 1], lambda part: normalize("NFC", part)).tolist()
    [[0, 2], [2, 3]]
    """
    found: dict[str, str] = {}
    begins, ends, parts, at = [], [], [], 0
    for cluster in _clusters(text):
        part = found.get(cluster)
        if part is None:
            part = found[cluster] = normal(cluster)
        same = part == cluster
        for i in range(len(part)):
            begins.append(at + i if same else at)
            ends.append(at + i + 1 if same else at + len(cluster))
        parts.append(part)
        at += len(cluster)
    whole = "".join(parts)
    if len(whole.encode()) != sum(lengths) or whole != normal(text) or 0 in lengths:
        return None
    inner = byte_spans(whole, lengths)
    spans = [(begins[start], ends[end - 1]) for start, end in inner.tolist()]
    return tiled(spans, text)


def _clusters(text: str) -> Iterator[str]:
    """``text`` cut before each character that no normal form joins to the one before it."""
    begin = 0
    for at in range(1, len(text)):
        char = text[at]
        if char > "\u02ff" and (category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"):
            continue
        yield text[begin:at]
        begin = at
    if text:
        yield text[begin:]


def _gpt2_bytes() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte (openai/gpt-2, encoder.py: bytes_to_unicode)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in plain}
    rest = [byte for byte in range(256) if byte not in plain]
    return table | {chr(256 + n): byte for n, byte in enumerate(rest)}


BYTE_OF = _gpt2_bytes()


def pieces_of(text: str, offsets: Ints, ids: Ints) -> list[str]:
    """One display string for each of T tokens; see `dcp.trace.Trace.pieces`.

    offsets [T, 2] int32 — spans in ``text`` (code points), ids [T] int32

    >>> pieces_of("a🙂", np.array([[0, 0], [0, 1], [1, 2], [1, 2]]), np.array([5, 6, 7, 8]))
    ['⟨5⟩', 'a', '🙂⟨1/2⟩', '🙂⟨2/2⟩']
    """
    spans = [(int(start), int(end)) for start, end in offsets]
    pieces: list[str] = []
    j = 0
    while j < len(spans):
        start, end = spans[j]
        if start == end:
            pieces.append(f"⟨{ids[j]}⟩")
            j += 1
            continue
        k = j
        while k < len(spans) and spans[k] == spans[j]:
            k += 1
        whole, parts = text[start:end], k - j
        pieces += [whole if parts == 1 else f"{whole}⟨{i + 1}/{parts}⟩" for i in range(parts)]
        j = k
    return pieces


def fragments_of(text: str, offsets: Ints) -> list[str]:
    """``text`` cut at the tokens; see `dcp.trace.Trace.fragments`."""
    ends = np.maximum.accumulate(offsets[:, 1]).tolist()
    ends[-1] = len(text)
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NAMED = {ord(mark): f"⟨U+{ord(mark):04X}⟩" for mark in _DIRECTIONS}


def isolated(text: str) -> str:
    """``text`` so that, inside a sentence, it cannot turn the words around it.

    Marks of writing direction are named; the rest is a Unicode isolate where it could matter.

    >>> isolated("a\u202eb"), isolated("\u05d0").encode("unicode_escape").decode()
    ('a⟨U+202E⟩b', '\\\\u2068\\\\u05d0\\\\u2069')
    """
    named = text.translate(_NAMED)
    right_to_left = any(bidirectional(char) in ("R", "AL", "AN") for char in named)
    return f"\u2068{named}\u2069" if right_to_left else named

"""What the canvas needs of a Trace, as one JSON object; arrays as base64.

Pure: no page, no clock, no file. `web/viewer/run.js` (`unpack`) reads what is written here.
Offsets are handed over in UTF-16 code units, because that is how JavaScript indexes a string.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dcp.speech.tagger import GROUPS, UPOS, group_of
from dcp.stats.groups import group_label
from dcp.stats.policies import title_of
from dcp.trace import Trace
from dcp.viewer.label import is_ruled, label_of, machine_of

__all__ = ["NEAR_TIE", "VERSION", "Speed", "WordSpan", "pack", "payload"]

VERSION = 1
"""The form of the payload. A view that reads another one says so instead of drawing it."""

NEAR_TIE = 1e-4
"""Gate logits nearer to zero than this are near ties: implementations may disagree on them."""


class WordSpan(Protocol):
    """What is read of a word; `dcp.speech.words.Word` is one."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def pos(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True)
class Speed:
    """Counters of the run; None where not measured.

    now, mean   generated tokens per second
    first       seconds from the request to the first new token
    process     resident memory of the process (bytes)
    """

    now: float | None = None
    mean: float | None = None
    first: float | None = None
    process: int | None = None


def payload(
    trace: Trace,
    words: Sequence[WordSpan] = (),
    *,
    run_id: str = "trace",
    running: bool = False,
    planned: int | None = None,
    speed: Speed | None = None,
    at: Mapping[str, int | None] | None = None,
    play: bool = False,
    dimmed: bool = False,
    line: str = "",
    dial: Mapping[str, Any] | None = None,
    written: Mapping[str, Any] | None = None,
    link: Mapping[str, str] | None = None,
    rows: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON object of one trace. ``words`` may cover the text in part, or not at all.

    run_id   names the run: the view keeps its step and layer while the id stays the same
    running  more will come; ``planned`` tokens in all, so that the axis does not rescale
    speed    counters; by default those the trace itself recorded
    at       where to look: ``layer``, ``step``, ``token`` (None or absent leaves it), and ``n``:
             the view goes there once for each new ``n``
    play     the film starts by itself, once for each run_id, unless ``at`` has a step or the reader
             asked for less motion
    dimmed   what is shown is about to be replaced
    line     one line of plain text on the run; the view counts there while it reads and writes
    dial     the same tokens read at other gate shifts: `dcp.viewer.dial.dial`
    written  next-token lists: ``found`` by token, and whether the page ``asks`` for more
    link     what an address says to make the run again, {} where none can; None: no links here

    rows     of embedding and head: ``of``, ``seen``, bytes ``whole``, ``input_saves`` and
             ``both_save``, whether ``tied`` and ``left_out``; None where the model is not known

    >>> payload(trace)["tokens"] == trace.tokens
    True
    """
    text = trace.text
    units = _utf16(text)
    tagged = [word for word in words if word.pos in _INDEX]
    spans = np.array([[w.start, w.end, w.first, w.last] for w in tagged], np.int32).reshape(-1, 4)
    spans[:, :2] = units[spans[:, :2]]
    meta = trace.meta
    if speed is None:
        first = meta.time_to_first_token_s
        speed = Speed(mean=_positive(meta.tokens_per_second), first=_positive(first))
    plain = trace.fragments()
    names = {str(j): n for j, n in enumerate(trace.pieces()) if n != plain[j]}
    return {
        "version": VERSION,
        "id": run_id,
        "running": running,
        "play": play,
        "dimmed": dimmed,
        "planned": max(planned or 0, trace.tokens),
        "tokens": trace.tokens,
        "layers": trace.layers,
        "queries": trace.n_queries,
        "prompt": trace.prompt_tokens,
        "text": text,
        "names": names,
        "spans": pack(units[trace.offsets]),
        "death": pack(trace.death),
        "margin": pack(trace.margin),
        "logprob": pack(trace.logprob),
        "words": pack(spans),
        "word_pos": pack(np.array([_INDEX[w.pos] for w in tagged], np.uint8)),
        "pos_names": list(UPOS),
        "pos_labels": [_LABELS[pos] for pos in UPOS],
        "pos_group": [list(GROUPS).index(group_of(pos)) for pos in UPOS],
        "group_names": [group_label(name) for name in GROUPS],
        "near_tie": NEAR_TIE,
        "memory": {
            "row_bytes": meta.memory.row,
            "kv_bytes_per_entry": meta.memory.entry,
            "kv_bytes_held": meta.memory.held,
        },
        "speed": {
            "now": speed.now,
            "mean": speed.mean,
            "first": speed.first,
            "read": _reading(trace),
            "process": speed.process,
        },
        "label": label_of(trace),
        "machine": machine_of(trace),
        "line": line,
        "dial": dict(dial or {}),
        "written": dict(written or {}),
        "link": None if link is None else dict(link),
        "rows": None if rows is None else dict(rows),
        "model": meta.model,
        "rule": "" if meta.policy in (None, "gates") else title_of(str(meta.policy)),
        "ruled": is_ruled(meta),
        "at": {key: value for key, value in (at or {}).items() if value is not None},
    }


_LABELS = {
    "NOUN": "noun",
    "PROPN": "proper noun",
    "ADJ": "adjective",
    "VERB": "verb",
    "AUX": "auxiliary verb",
    "ADV": "adverb",
    "ADP": "adposition",
    "DET": "determiner",
    "PRON": "pronoun",
    "CCONJ": "coordinating conjunction",
    "SCONJ": "subordinating conjunction",
    "PART": "particle",
    "PUNCT": "punctuation",
    "NUM": "number",
    "SYM": "symbol",
    "INTJ": "interjection",
    "X": "other",
}
_INDEX = {pos: i for i, pos in enumerate(UPOS)}


def _utf16(text: str) -> npt.NDArray[np.int32]:
    """[len(text) + 1] int32: where each code point starts in UTF-16 code units."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.concatenate([[0], np.cumsum(1 + (points > 0xFFFF))]).astype(np.int32)


def pack(array: npt.NDArray[Any]) -> str:
    """An array as base64 of its little-endian bytes, row by row."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode("ascii")


def _reading(trace: Trace) -> float | None:
    """Tokens of the text read a second, as far as it was read."""
    seconds = trace.meta.prompt_seconds
    return min(trace.n_queries, trace.prompt_tokens) / seconds if seconds else None


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None

"""What is observed of each word in each layer: since when, how long, and whether it was dropped.

A word is dropped in a layer when its last living token is, and its age counts from its last token.
A word alive at the end is censored there, not dead. Knows words and traces; computes no rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from dcp.arguments import one_of
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.speech.tagger import UPOS
from dcp.speech.words import Word
from dcp.stats.frequency import BANDS, band_of
from dcp.stats.groups import BY, TAGGED, By, group_names, groups_of_tags
from dcp.stats.repeats import Identities, stretches_of, texts_of
from dcp.trace import Trace

__all__ = [
    "Lives",
    "Phase",
    "Pieces",
    "Rule",
    "Sample",
    "observe",
    "usual_pieces",
    "words_in",
]

Sample = tuple[Trace, Sequence[Word]]
"""One text: its trace and the words of that trace."""

Phase = Literal["prompt", "generated", "both"]
Pieces = Literal["single", "multi", "all"]
Rule = Literal["last", "any"]

Ints = npt.NDArray[np.int64]

_POSITIONS = (32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, eq=False)
class Lives:
    """One entry per word and layer that was at risk for at least one step; N entries.

    sample    [N] int64  which sample
    stretch   [N] int64  which stretch of text: `dcp.stats.repeats.stretches_of`
    text      [N] int64  which text: `dcp.stats.repeats.texts_of`
    word      [N] int64  which word, numbered through all samples; the same word read again in the
                         same context has the number that it had first
    layer     [N] int64
    group     [N] int64  index into ``names``
    born      [N] int64  step of the word's last token
    entry     [N] int64  age (steps) from behind which it is observed; -1: from its birth on
    duration  [N] int64  age at which it was dropped, or at which observation ended
    event     [N] bool   whether it was dropped then
    tokens    [N] int64  how many tokens carry the word
    names                the groups' names, in the order charts show them
    texts                how many texts there are
    """

    sample: Ints
    stretch: Ints
    text: Ints
    word: Ints
    layer: Ints
    group: Ints
    born: Ints
    entry: Ints
    duration: Ints
    event: npt.NDArray[np.bool_]
    tokens: Ints
    names: tuple[str | int, ...]
    texts: int

    def only(self, chosen: npt.NDArray[np.bool_]) -> Lives:
        """The lives where ``chosen`` [N] is true, of the same texts."""
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        return replace(self, **columns)

    def grouped(self, names: tuple[str | int, ...], group: Ints) -> Lives:
        """The same lives in other groups: ``group`` [N] holds indices into ``names``."""
        return replace(self, names=names, group=group)


_COLUMNS = (
    *("sample", "stretch", "text", "word", "layer", "group"),
    *("born", "entry", "duration", "event", "tokens"),
)


def observe(
    samples: Sequence[Sample],
    *,
    by: By = "pos",
    source: Phase = "prompt",
    dropped_in: Phase = "both",
    layer: int | None = None,
    pieces: Pieces | None = None,
    rule: Rule = "last",
) -> Lives:
    """The lives of all complete words of ``samples``, grouped.

    by          "pos" | "group" (five groups of tags) | "class" (content or function words) |
                "pieces" (one token or several) | "layer" | "position" (context length at birth) |
                "frequency" (per million words of English; words with a letter only)
    source      where the word's last token was born
    dropped_in  the phase under observation: with "prompt", a word still alive at the end of the
                prompt is censored there; with "generated", words are observed from then on
    layer       one layer, or None for all
    pieces      words of one token, of several, or all; None: "single" by tags, else "all"
    rule        "last": a word is dropped with its last living token; "any": with its first token

    Raises RequestError for an unknown choice or layer.
    """
    one_of("grouping", by, BY)
    one_of("source", source, get_args(Phase))
    one_of("phase", dropped_in, get_args(Phase))
    one_of("rule", rule, get_args(Rule))
    pieces = pieces or usual_pieces(by)
    one_of("pieces", pieces, get_args(Pieces))
    if not samples:
        raise RequestError("no trace given: statistics need at least one")
    for trace, _ in samples:
        if layer is not None and not 0 <= layer < trace.layers:
            raise RequestError(f"no layer {layer}: this trace has layers 0 to {trace.layers - 1}")
    names = _names(by, samples)
    texts, stretches = texts_of(samples), stretches_of(samples)
    columns, identities = [], Identities()
    for number, (trace, words) in enumerate(samples):
        chosen = words_in(words, source, pieces)
        block = _one_text(trace, chosen, layer, rule, dropped_in)
        block["group"] = _groups(by, chosen, block)
        block["sample"] = np.full(len(block["word"]), number, np.int64)
        block["stretch"] = np.full(len(block["word"]), stretches[number], np.int64)
        block["text"] = np.full(len(block["word"]), texts[number], np.int64)
        # Observed for no step: never at risk.
        observed = (block["duration"] > block["entry"]) & (block["group"] >= 0)
        observed &= block["event"] | (block["duration"] >= 1)
        block["word"] = identities.number(trace, chosen)[block["word"]]
        columns.append({key: value[observed] for key, value in block.items()})
    joined: dict[str, Any] = {
        key: np.concatenate([column[key] for column in columns]) for key in columns[0]
    }
    return Lives(names=names, texts=int(texts.max()) + 1, **joined)


def words_in(words: Sequence[Word], source: Phase, pieces: Pieces) -> list[Word]:
    """The complete words of this source and length; `observe` numbers them in this order."""
    return [
        word
        for word in words
        if word.complete
        and (pieces == "all" or (word.tokens == 1) == (pieces == "single"))
        and source in (word.source, "both")
    ]


def usual_pieces(by: By) -> Pieces:
    """The words that `observe` takes when it is not told: of one token by tags, else all."""
    return "single" if by in TAGGED else "all"


def _one_text(
    trace: Trace, words: Sequence[Word], layer: int | None, rule: Rule, dropped_in: Phase
) -> dict[str, Any]:
    """[L' * W] each: the layer-major observations of ``words`` in one trace."""
    death = trace.death if layer is None else trace.death[layer : layer + 1]
    first = np.array([word.first for word in words], np.int64)
    last = np.array([word.last for word in words], np.int64)
    layers, n = len(death), len(words)
    if n:
        # reduceat reads [first, last + 1) from every other slice, so the last index needs a cell.
        cuts = np.stack([first, last + 1], axis=1).ravel()
        padded = np.pad(death, ((0, 0), (0, 1)), constant_values=ALIVE)
        reduce = np.maximum if rule == "last" else np.minimum
        dies = reduce.reduceat(padded, cuts, axis=1)[:, ::2].astype(np.int64)
    else:
        dies = np.zeros((layers, 0), np.int64)
    # The last step under observation, and the step from behind which it runs.
    end = trace.n_queries - 1
    begin = -1
    if dropped_in == "prompt":
        end = min(end, trace.prompt_tokens - 1)
    elif dropped_in == "generated":
        begin = trace.prompt_tokens - 1
    event = dies <= end
    # With "any", a piece may be dropped before the word is complete: age 0.
    duration = np.where(event, np.maximum(dies - last, 0), end - last)
    return {
        "layer": np.repeat(np.arange(layers) if layer is None else np.array([layer]), n),
        "word": np.tile(np.arange(n), layers),
        "born": np.tile(last, layers),
        "tokens": np.tile(last - first + 1, layers),
        "entry": np.tile(np.maximum(begin - last, -1), layers),
        "duration": duration.ravel(),
        "event": event.ravel(),
    }


def _names(by: By, samples: Sequence[Sample]) -> tuple[str | int, ...]:
    if by == "layer":
        return tuple(range(max(trace.layers for trace, _ in samples)))
    if by == "position":
        lows = (0, *_POSITIONS)
        return (*(f"{a}-{b - 1}" for a, b in pairwise(lows)), f"{lows[-1]}+")
    return tuple(BANDS) if by == "frequency" else group_names(by)


def _groups(by: By, words: Sequence[Word], block: dict[str, Any]) -> Ints:
    """[N] int64: index into `_names`, -1 for a word that belongs to no group."""
    if by == "layer":
        return np.asarray(block["layer"], np.int64)
    if by == "position":
        return np.asarray(np.searchsorted(_POSITIONS, block["born"], side="right"), np.int64)
    if by == "pieces":
        return np.asarray(block["tokens"] > 1, np.int64)
    if by == "frequency":
        each = np.array([band_of(word.text) for word in words], np.int64)
    else:
        group = dict(zip(UPOS, groups_of_tags(by).tolist(), strict=True))
        each = np.array([group.get(word.pos, -1) for word in words], np.int64)
    return np.asarray(each[block["word"]], np.int64)

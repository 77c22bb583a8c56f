"""Discrete-time survival data, counted: steps at risk and drops in every cell of the covariates.

A token that is watched for d steps stands for d rows of a person-period table. Nobody needs those
rows: a binomial model only asks, in each combination of covariates, for how many steps tokens were
at risk and how many were dropped. `count` makes these counts without ever making the rows. Knows no
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.speech.tagger import UPOS
from dcp.speech.words import Word
from dcp.stats.estimate import BLOCK
from dcp.stats.frequency import HALF_DECADES, half_decade_of
from dcp.stats.lives import Phase, Sample
from dcp.stats.repeats import Identities, stretches_of, texts_of
from dcp.trace import Trace

__all__ = ["AGES", "COVARIATES", "PLACES", "STEPS", "Cells", "count"]

AGES = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513)
"""First age (steps) of each age class."""

STEPS = (1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""First step of each class of context length."""

PLACES = ("single", "first", "inner", "last")
"""Where a token stands in its word."""

COVARIATES = ("layer", "pos", "place", "frequency", "age", "step")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Counts by cluster and cell; R rows, one for each pair that occurs.

    cluster   [R] int64     text, or with one text the block of steps
    cell      [R] int64     index into ``levels``
    at_risk   [R] int64     steps at which a token was at risk
    drops     [R] int64     tokens dropped
    levels    [K, 6] int64  the covariates of each cell: ``COVARIATES`` as numbers; pos is an index
                            into UPOS, frequency a half decade (-1: no letter), age, step a class
    tokens    [17] int64    tokens of each tag that were ever at risk, repeats once
    lettered  [17] int64    those of them whose word has a letter
    clusters, texts         how many there are
    """

    cluster: Ints
    cell: Ints
    at_risk: Ints
    drops: Ints
    levels: Ints
    tokens: Ints
    lettered: Ints
    clusters: int
    texts: int

    def of_layer(self, layer: int) -> Cells:
        """The cells of one layer."""
        kept = self.levels[:, 0] == layer
        rows = kept[self.cell]
        return replace(
            self,
            cluster=self.cluster[rows],
            cell=(np.cumsum(kept) - 1)[self.cell[rows]],
            at_risk=self.at_risk[rows],
            drops=self.drops[rows],
            levels=self.levels[kept],
        )


def count(
    samples: Sequence[Sample], *, source: Phase = "prompt", layer: int | None = None
) -> Cells:
    """The cells of all tokens of complete words, each from its birth to its drop or the end.

    A token carries the tag of its word; one that carries two words has the first's. ``source`` is
    where the token was born.
    """
    texts, stretches, identities = texts_of(samples), stretches_of(samples), Identities()
    one = int(texts.max()) == 0
    blocks = max(trace.tokens for trace, _ in samples) // BLOCK + 1
    tokens, lettered = np.zeros((2, len(UPOS)), np.int64)
    parts = []
    for i, (trace, words) in enumerate(samples):
        part = _one_text(trace, words, source, layer, one, identities.fresh(trace))
        tokens += part.pop("tokens")
        lettered += part.pop("lettered")
        block = part.pop("block")
        part["cluster"] = stretches[i] * blocks + block if one else np.full(len(block), texts[i])
        parts.append(_summed(part))
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    keys, cell = np.unique(joined["key"], return_inverse=True)
    return Cells(
        cluster=joined["cluster"],
        cell=cell,
        at_risk=joined["at_risk"],
        drops=joined["drops"],
        levels=_unpacked(keys),
        tokens=tokens,
        lettered=lettered,
        clusters=blocks * (int(stretches.max()) + 1) if one else int(texts.max()) + 1,
        texts=int(texts.max()) + 1,
    )


def _one_text(
    trace: Trace,
    words: Sequence[Word],
    source: Phase,
    layer: int | None,
    blocks: bool,
    fresh: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    tag = np.full(trace.tokens, -1, np.int64)
    place, band = np.zeros_like(tag), np.zeros_like(tag)
    for word in reversed(words):
        if word.complete and word.pos in UPOS:
            tag[word.first : word.last + 1] = UPOS.index(word.pos)
            band[word.first : word.last + 1] = half_decade_of(word.text)
            place[word.first : word.last + 1] = 2
            place[word.first], place[word.last] = 1, 3
            if word.tokens == 1:
                place[word.first] = 0
    born = np.arange(trace.tokens)
    end = trace.n_queries - 1
    chosen = (tag >= 0) & (born < end)
    if source != "both":
        chosen &= (born < trace.prompt_tokens) == (source == "prompt")
    born = born[chosen]
    low, high, age, step = _spans(born, end, blocks)
    layers = range(trace.layers) if layer is None else (layer,)
    columns: dict[str, list[Ints]] = {"key": [], "at_risk": [], "drops": [], "block": []}
    for number in layers:
        death = trace.death[number, chosen].astype(np.int64)
        event = death != ALIVE
        lived = np.where(event, death, end) - born
        at_risk = np.minimum(high, lived[:, None]) - low + 1
        drops = event[:, None] & (low <= lived[:, None]) & (lived[:, None] <= high)
        row, column = np.nonzero(at_risk > 0)
        levels = (np.full(len(row), number), tag[chosen][row], place[chosen][row])
        more = (band[chosen][row] + 1, age[row, column], step[row, column])
        columns["key"].append(np.ravel_multi_index((*levels, *more), _SIZES))
        columns["at_risk"].append(at_risk[row, column])
        columns["drops"].append(drops[row, column].astype(np.int64))
        columns["block"].append((born[row] + low[row, column]) // BLOCK)
    found: dict[str, Any] = {key: np.concatenate(value) for key, value in columns.items()}
    once = chosen & fresh
    found["tokens"] = np.bincount(tag[once], minlength=len(UPOS))
    found["lettered"] = np.bincount(tag[once & (band >= 0)], minlength=len(UPOS))
    return found


def _spans(born: Ints, end: int, blocks: bool) -> tuple[Ints, Ints, Ints, Ints]:
    """(low, high, age class, step class), each [J, K]: the ages low..high of one cell.

    Ages are cut where the age's class, the step's class or the block changes; empty spans have
    high < low.
    """
    cuts = np.unique([*STEPS, *(range(BLOCK, end + 1, BLOCK) if blocks else ())])
    at_step = np.maximum(cuts[None] - born[:, None], 1)
    at_age = np.broadcast_to(np.array(AGES), (len(born), len(AGES)))
    low = np.sort(np.concatenate([at_age, at_step], axis=1), axis=1)
    high = np.concatenate([low[:, 1:] - 1, np.broadcast_to(end, (len(born), 1))], axis=1)
    high = np.minimum(high, (end - born)[:, None])
    age = np.searchsorted(AGES, low, side="right") - 1
    step = np.searchsorted(STEPS, low + born[:, None], side="right") - 1
    return low, high, age, step


def _summed(part: dict[str, Any]) -> dict[str, Any]:
    """Sums rows of equal key and cluster."""
    pair = np.stack([part["key"], part["cluster"]])
    order = np.lexsort(pair)
    pair = pair[:, order]
    if not len(order):
        return {key: part[key] for key in ("key", "cluster", "at_risk", "drops")}
    first = np.flatnonzero(np.r_[True, (pair[:, 1:] != pair[:, :-1]).any(0)])
    return {
        "key": pair[0, first],
        "cluster": pair[1, first],
        "at_risk": np.add.reduceat(part["at_risk"][order], first),
        "drops": np.add.reduceat(part["drops"][order], first),
    }


_SIZES = (1024, len(UPOS), len(PLACES), HALF_DECADES + 1, len(AGES), len(STEPS))


def _unpacked(keys: Ints) -> Ints:
    levels = np.stack(np.unravel_index(keys, _SIZES), axis=1).astype(np.int64)
    levels[:, 3] -= 1
    return levels

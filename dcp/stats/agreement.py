"""Which entries do several policies hold alike? Jaccard of held sets, by layer and step.

    J = |held by both| / |held by either|, of the tokens before the step's own

Sets of a given size agree by chance too, the more the larger they are: beside each figure stands
what sets as large as those held would agree in, each drawn evenly from the tokens read so far.
That all keep recent tokens is agreement above it. Traces of one text, read up to
where their tokens part. Numpy and pandas; knows no model, no words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.errors import RequestError
from dcp.trace import Trace

__all__ = ["ALL", "Agreement", "agreement", "named", "overlap"]

ALL = "all"
"""In place of a pair's names: held by all, over held by any."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """names [P] of the policies; jaccard, chance: pair of names, or (ALL, ALL) -> [L, S] float64,
    nan at steps at which nothing had been dropped by any of them: there all hold all.

    steps S: as many as all traces share; pieces [S]: the text of the step's token.
    held_by_all, dropped_by_all [S] float64: of the steps after a token, in the mean over layers,
    the share at which all hold it, at which all have dropped it.
    """

    names: tuple[str, ...]
    jaccard: Mapping[tuple[str, str], Floats]
    chance: Mapping[tuple[str, str], Floats]
    held_by_all: Floats
    dropped_by_all: Floats
    pieces: tuple[str, ...]

    @property
    def steps(self) -> int:
        return len(self.pieces)

    def table(self, width: int = 0) -> pd.DataFrame:
        """a, b, layer, first, last (steps), jaccard, chance: means over ``width`` steps at a time,
        over all of them with 0; rows without a drop by anyone are left out."""
        rows = []
        width = width or self.steps
        for (a, b), found in self.jaccard.items():
            chance = self.chance[a, b]
            for start in range(0, self.steps, width):
                part = slice(start, min(start + width, self.steps))
                for layer in range(len(found)):
                    told = np.isfinite(found[layer, part])
                    if told.any():
                        rows.append(
                            {
                                "a": a,
                                "b": b,
                                "layer": layer,
                                "first": start,
                                "last": part.stop - 1,
                                "jaccard": float(found[layer, part][told].mean()),
                                "chance": float(chance[layer, part][told].mean()),
                            }
                        )
        columns = ["a", "b", "layer", "first", "last", "jaccard", "chance"]
        return pd.DataFrame(rows, columns=columns)

    def tokens(self) -> pd.DataFrame:
        """token, piece, held_by_all, dropped_by_all, split: one row a token that a later step
        read; split is the share of steps and layers at which they differ about it."""
        table = pd.DataFrame(
            {
                "token": np.arange(self.steps),
                "piece": self.pieces,
                "held_by_all": self.held_by_all,
                "dropped_by_all": self.dropped_by_all,
                "split": 1 - self.held_by_all - self.dropped_by_all,
            }
        )
        return table.iloc[:-1]


def named(traces: list[Trace]) -> dict[str, Trace]:
    """The traces by their policies' names, told apart by budget, else by number."""
    names = [trace.meta.policy or "gates" for trace in traces]
    full = [
        name
        if names.count(name) == 1 or trace.meta.budget is None
        else f"{name} {trace.meta.budget}"
        for name, trace in zip(names, traces, strict=True)
    ]
    return {
        name if full.count(name) == 1 else f"{name} #{i + 1}": trace
        for i, (name, trace) in enumerate(zip(full, traces, strict=True))
    }


def agreement(traces: Mapping[str, Trace]) -> Agreement:
    """Compare two traces or more by name. Raises RequestError for traces of other texts, of models
    with another number of layers, or where none drops anything in the steps they share."""
    if len(traces) < 2:
        raise RequestError("agreement is between two policies or more: give as many traces")
    first, *others = traces.values()
    if any(trace.layers != first.layers for trace in others):
        raise RequestError("these traces have different numbers of layers: nothing to compare")
    steps = min(_shared(first, other) for other in others)
    if steps < 2:
        raise RequestError("these traces are of different texts: record one text under each policy")
    names = tuple(traces)
    pairs = [*combinations(names, 2), (ALL, ALL)]
    jaccard = {pair: np.full((first.layers, steps), np.nan) for pair in pairs}
    chance = {pair: np.full((first.layers, steps), np.nan) for pair in pairs}
    held_by_all, dropped_by_all = np.zeros(steps), np.zeros(steps)
    earlier = np.tri(steps, k=-1, dtype=np.bool_)
    later = np.maximum(earlier.sum(axis=0), 1)
    for layer in range(first.layers):
        held = {
            name: earlier & (trace.death[layer, :steps] > np.arange(steps)[:, None])
            for name, trace in traces.items()
        }
        every = np.logical_and.reduce(list(held.values()))
        some = np.logical_or.reduce(list(held.values()))
        dropped = (every != earlier).any(axis=1)
        for a, b in pairs:
            sets = list(held.values()) if a == ALL else [held[a], held[b]]
            both, either = (every, some) if a == ALL else (sets[0] & sets[1], sets[0] | sets[1])
            told = dropped & either.any(axis=1)
            jaccard[a, b][layer, told] = (both.sum(axis=1) / np.maximum(either.sum(axis=1), 1))[
                told
            ]
            chance[a, b][layer, told] = _by_chance(sets)[told]
        held_by_all += every.sum(axis=0) / later / first.layers
        dropped_by_all += (earlier & ~some).sum(axis=0) / later / first.layers
    if not any(np.isfinite(found).any() for found in jaccard.values()):
        raise RequestError("none of these traces drops anything in the steps that they share")
    pieces = tuple(first.pieces()[:steps])
    return Agreement(names, jaccard, chance, held_by_all, dropped_by_all, pieces)


def overlap(one: Trace, two: Trace, step: int | None = None) -> float:
    """Jaccard index of two runs of the same tokens, mean over layers of the mean over steps (at
    ``step`` alone where one is given) at which either had dropped anything; 1 where none had.
    Raises RequestError as `agreement`."""
    if not any((trace.death < trace.n_queries).any() for trace in (one, two)):
        return 1.0
    found = agreement({"one": one, "two": two})
    if step is None:
        return float(found.table()["jaccard"].mean())
    told = found.jaccard["one", "two"][:, step]
    return float(np.nanmean(told)) if np.isfinite(told).any() else 1.0


def _shared(one: Trace, other: Trace) -> int:
    """Steps that both read, up to the first token in which they differ."""
    steps = min(one.n_queries, other.n_queries)
    differ = one.token_ids[:steps] != other.token_ids[:steps]
    return int(differ.argmax()) if differ.any() else steps


def _by_chance(sets: list[npt.NDArray[np.bool_]]) -> Floats:
    """[S]: expected |all| over expected |any| of random sets of these sizes among t tokens."""
    steps = len(sets[0])
    past = np.maximum(np.arange(steps), 1)
    shares = np.stack([each.sum(axis=1) for each in sets]) / past
    some = 1 - (1 - shares).prod(axis=0)
    out: Floats = np.divide(shares.prod(axis=0), some, out=np.zeros(steps), where=some > 0)
    return out

"""From deaths to counts: how many tokens a layer holds, and which share of them is gone.

Arithmetic on death [L, T] int32 and the number of queries Q alone; `dcp.trace.trace.Trace` gives
it names. A token dropped by the query at step t is gone from step t on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE

__all__ = ["dropped_pairs", "dropped_share", "held"]

Ints = npt.NDArray[np.int32]


def held(death: Ints, queries: int) -> npt.NDArray[np.int64]:
    """[L, Q] int64: entries each layer holds at each step, the step's own included."""
    return np.arange(1, queries + 1) - _gone(death, queries)


def dropped_share(death: Ints, queries: int) -> npt.NDArray[np.float64]:
    """[L] float64: of the t tokens before a step, the share that is gone, mean over steps t >= 1;
    0 where there was one query only."""
    if queries < 2:
        return np.zeros(len(death))
    share = _gone(death, queries)[:, 1:] / np.arange(1, queries)
    return np.asarray(share.mean(axis=1), np.float64)


def dropped_pairs(death: Ints, queries: int) -> float:
    """Share of all pairs (t, j < t) that are gone, over all layers; 0 where there are none."""
    pairs = queries * (queries - 1) // 2
    return float(_gone(death, queries).sum() / (pairs * len(death))) if pairs else 0.0


def _gone(death: Ints, queries: int) -> npt.NDArray[np.int64]:
    """[L, Q] int64: how many tokens are gone at each step."""
    drops = np.zeros((len(death), queries), np.int64)
    layer, token = np.nonzero(death != ALIVE)
    np.add.at(drops, (layer, death[layer, token]), 1)
    return np.cumsum(drops, axis=1)

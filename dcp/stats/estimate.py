"""Kaplan-Meier on lives, and its bootstrap intervals. Arrays in, arrays out.

Dimensions: C clusters, G groups, ages 0..A. Intervals are those of `dcp.stats.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcp.stats.intervals import MIN_CLUSTERS, cluster_interval
from dcp.stats.lives import Lives

__all__ = [
    "BLOCK",
    "MIN_AT_RISK",
    "by_cluster",
    "cluster_kind",
    "intervals",
    "median_life",
    "survival",
]

BLOCK = 64
"""Steps in a block, where one text is its own population."""

MIN_AT_RISK = 10
"""A median with fewer words at risk is not given."""

Floats = npt.NDArray[np.float64]


def cluster_kind(lives: Lives, clusters: int) -> str:
    """What intervals over these lives resample: "texts", "within this text", or "" (nothing)."""
    if clusters < MIN_CLUSTERS:
        return ""
    return "texts" if lives.texts > 1 else "within this text"


def by_cluster(lives: Lives, ages: int) -> tuple[Floats, Floats]:
    """(drops, at risk), each [C, G, ages + 1]: counts per cluster, group and age.

    With one text a cluster is a block of steps and gets what happened in it: all that one query
    drops falls into one block, whatever the age of what it drops.
    """
    return _by_text(lives, ages) if lives.texts > 1 else _by_block(lives, ages)


def _by_text(lives: Lives, ages: int) -> tuple[Floats, Floats]:
    shape = (lives.texts, len(lives.names), ages + 2)
    cell = (lives.text * shape[1] + lives.group) * shape[2]

    def count(age: npt.NDArray[np.int64], which: npt.NDArray[np.bool_] | None = None) -> Floats:
        # Later drops are counted in one more column, then cut off.
        at = cell + np.minimum(age, ages + 1)
        found = np.bincount(at if which is None else at[which], minlength=math.prod(shape))
        return found.reshape(shape)[:, :, : ages + 1].astype(float)

    drops = count(lives.duration, lives.event)
    joined, left = count(lives.entry + 1), count(lives.duration + 1)
    return drops, np.cumsum(joined - left, axis=2)


def _by_block(lives: Lives, ages: int) -> tuple[Floats, Floats]:
    groups = len(lives.names)
    blocks = int((lives.born + lives.duration).max(initial=0)) // BLOCK + 1
    clusters = blocks * (int(lives.stretch.max(initial=0)) + 1)
    drops = np.zeros((clusters, groups, ages + 1))
    risks = np.zeros_like(drops)
    for age in range(ages + 1):
        exposed = (lives.entry < age) & (age <= lives.duration)
        dropped = exposed & lives.event & (lives.duration == age)
        cluster = lives.stretch * blocks + (lives.born + age) // BLOCK
        cell = cluster * groups + lives.group
        for counts, which in ((risks, exposed), (drops, dropped)):
            found = np.bincount(cell[which], minlength=clusters * groups)
            counts[:, :, age] = found.reshape(clusters, groups)
    return drops, risks


def survival(drops: Floats, risks: Floats) -> Floats:
    """[..., A]: Kaplan-Meier along the last axis, the running product of 1 - drops / at risk."""
    hazard = np.divide(drops, risks, out=np.zeros_like(drops), where=risks > 0)
    return np.cumprod(1 - hazard, axis=-1)


def intervals(
    drops: Floats, risks: Floats, seed: int, n_boot: int, at: Sequence[int] | None = None
) -> tuple[Floats, Floats]:
    """(low, high), each [G, ages]: 95 % of 1 - S over resampled clusters.

    ``at`` names the ages that are asked for; the others stay nan, and so does what
    `dcp.stats.intervals.cluster_interval` has no interval for. A cluster's size is its steps at
    risk.
    """
    _, groups, ages = drops.shape
    low, high = np.full((groups, ages), np.nan), np.full((groups, ages), np.nan)
    asked = np.arange(ages) if at is None else np.unique(np.asarray(at, np.int64))
    for g in range(groups):
        there = risks[:, g].sum(axis=0) > 0

        def dropped(weights: Floats, g: int = g, there: npt.NDArray[np.bool_] = there) -> Floats:
            at_risk = weights @ risks[:, g]
            kept = survival(weights @ drops[:, g], at_risk)
            # Undefined from the age at which a resample has nothing at risk.
            gap = np.logical_or.accumulate((at_risk == 0) & there, axis=1)
            kept[gap & (kept > 0)] = np.nan
            return 1 - kept[:, asked]

        found = cluster_interval(dropped, risks[:, g].sum(axis=1), seed=seed, n_boot=n_boot)
        low[g, asked], high[g, asked] = found
    return low, high


def median_life(lives: Lives, mine: npt.NDArray[np.bool_]) -> float:
    """The first age at which half of the group is gone; nan if never, or with few at risk."""
    longest = int(lives.duration[mine].max())
    ended = np.bincount(lives.duration[mine], minlength=longest + 1)
    joined = np.bincount(lives.entry[mine] + 1, minlength=longest + 1)[: longest + 1]
    drops = np.bincount(lives.duration[mine & lives.event], minlength=longest + 1)
    risks = np.cumsum(joined) - np.concatenate([[0], np.cumsum(ended)[:-1]])
    kept = survival(drops.astype(float), risks.astype(float))
    # A product such as 3/4 * 2/3 is half, whatever the last bit of the floats says.
    reached = np.flatnonzero(kept <= 0.5 + 1e-9)
    if not len(reached) or risks[reached[0]] < MIN_AT_RISK:
        return float("nan")
    return float(reached[0])

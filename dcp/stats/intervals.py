"""Confidence intervals: from whole clusters, of few clusters, of independent cases. No others.

Tokens of one text are not independent, so a text (or a document, or a block of steps) counts once:
clusters are drawn with replacement and the statistic is computed again. With few clusters the plain
percentiles of that are too narrow (at 10 clusters "95 %" covers 83 to 92 %, at 4 some 76 %), so
they are taken further out, as far as Student's t with the *effective* number of clusters asks
(Hesterberg 2015, "What Teachers Should Know About the Bootstrap", its expanded percentiles; Kish
1965 for the effective number), and below `MIN_CLUSTERS` there is no interval but, of a share, the
one that holds even where all of a cluster has one fate (`few_clusters`).
`tests/stats/test_intervals.py` measures the coverage. Knows arrays, nothing of texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from dcp.resources import needs

__all__ = [
    *("MIN_CLUSTERS", "MIN_EFFECTIVE"),
    *("cluster_interval", "effective", "enough", "few_clusters", "student_t", "wilson"),
]

MIN_CLUSTERS = 10
"""Fewer clusters give no interval."""

MIN_EFFECTIVE = 4.0
"""Nor do effectively fewer: where one text outweighs all others, the extremes of all resamples are
not far enough out."""

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_LEVEL = 0.975


def cluster_interval(
    statistic: Callable[[Floats], Floats],
    sizes: npt.ArrayLike,
    *,
    seed: int = 0,
    n_boot: int = 1000,
) -> tuple[Floats, Floats]:
    """(low, high), each [A]: a 95 % interval of each entry of ``statistic``.

    statistic  weights [K, C] (how often each cluster counts) -> values [K, A]; nan: undefined
    sizes      [C]: how much each cluster has to say (words, steps at risk, tokens); 0: nothing

    nan where fewer than `MIN_CLUSTERS` clusters have anything to say, or effectively fewer than
    `MIN_EFFECTIVE` (the square of the sum of the sizes over the sum of their squares), where half
    of the resamples are undefined, and where all give the same: no difference between clusters
    says nothing about how far the next one may lie.
    """
    size = np.asarray(sizes, np.float64)
    weights = _weights(len(size), seed, n_boot)
    if not enough(size):
        nothing = np.full(statistic(weights[:1]).shape[1], np.nan)
        return nothing, nothing.copy()
    values = statistic(weights)
    low, high = np.full((2, values.shape[1]), np.nan)
    told = np.isfinite(values).mean(axis=0) > 0.5
    if told.any():
        below = _tail(effective(size))
        low[told], high[told] = np.nanquantile(values[:, told], [below, 1 - below], axis=0)
    # Rounding in the sums of resamples that are all alike.
    alike = ~(high - low > 1e-12 * np.maximum(np.abs(low), np.abs(high)))
    low[alike], high[alike] = np.nan, np.nan
    return low, high


def few_clusters(share: float, clusters: float) -> tuple[float, float]:
    """A 95 % interval of a share seen in ``clusters`` clusters, effectively: never too narrow.

    As if all of a cluster had one fate, so that it counts as one case and no more: the exact
    binomial interval (Clopper & Pearson, 1934) of ``share`` times ``clusters`` cases. Very wide,
    which is what so little text can tell. (0, 1) of nothing. Needs SciPy.

    >>> [round(end, 3) for end in few_clusters(0.0, 1)]
    [0.0, 0.975]
    """
    needs("scipy")
    from scipy.special import betaincinv

    cases, others = share * clusters, (1 - share) * clusters
    low = betaincinv(cases, others + 1, 1 - _LEVEL) if cases > 0 else 0.0
    high = betaincinv(cases + 1, others, _LEVEL) if others > 0 else 1.0
    return float(low), float(high)


def wilson(cases: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share, ``cases`` of ``n`` independent ones (Wilson, 1927).

    For questions of a test, which do not depend on one another; words of a text do. (0, 1) of
    nothing.

    >>> [round(end, 2) for end in wilson(2, 4)]
    [0.15, 0.85]
    """
    if n == 0:
        return 0.0, 1.0
    z, p = _NORMAL.inv_cdf(_LEVEL), cases / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def effective(sizes: npt.ArrayLike) -> float:
    """How many clusters of one size say as much as these (Kish, 1965); 0 of nothing.

    >>> effective([5, 5, 5]), effective([10, 1, 0])
    (3.0, 1.198019801980198)
    """
    size = np.asarray(sizes, np.float64)
    return float(size.sum() ** 2 / (size**2).sum()) if size.any() else 0.0


def enough(sizes: npt.ArrayLike) -> bool:
    """Whether clusters of these sizes can be resampled, or their number taken for large."""
    return bool(np.count_nonzero(sizes) >= MIN_CLUSTERS and effective(sizes) >= MIN_EFFECTIVE)


@lru_cache(maxsize=8)
def _weights(clusters: int, seed: int, n_boot: int) -> Floats:
    """[n_boot, clusters]: how often each resample draws each cluster; seeded, not to be written."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=n_boot)
    weights = drawn.astype(np.float64)
    weights.setflags(write=False)
    return weights


def _tail(n: float) -> float:
    """The share of resamples to be left out at each end, of ``n`` clusters."""
    return _NORMAL.cdf(-student_t(n - 1) * math.sqrt(n / (n - 1)))


def student_t(freedom: float) -> float:
    """The 97.5 % quantile of Student's t: Cornish-Fisher (Abramowitz & Stegun 26.7.5), from five
    degrees of freedom on within 0.002 of it, below that a little narrower.

    >>> round(student_t(9), 3), round(student_t(1e9), 3)
    (2.262, 1.96)
    """
    z = _NORMAL.inv_cdf(_LEVEL)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))

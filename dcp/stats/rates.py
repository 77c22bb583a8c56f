"""Drop rates of groups of lives at given horizons: the numbers under every table and chart.

A rate at horizon h is 1 - S(h), Kaplan-Meier; `dcp.stats.survival` and `dcp.stats.pooled` ask for
it in their own ways. Knows lives, no traces and no words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.stats.estimate import by_cluster, cluster_kind, intervals, median_life, survival
from dcp.stats.intervals import effective, few_clusters
from dcp.stats.lives import Lives, Phase

__all__ = [
    *("FEW", "MIN_WORDS"),
    *("check_boot", "check_horizon", "rates", "rates_by_layer"),
]

MIN_WORDS = 20
"""Groups with fewer words stay blank."""

FEW = "few texts or blocks"
"""An interval that holds whatever words of a cluster have in common: `few_clusters`."""

COLUMNS = {
    "group": object,
    "source": object,
    "words": "int64",
    "tokens": "int64",
    "texts": "int64",
    "at_risk": "int64",
    "events": "int64",
    "horizon": "int64",
    "drop_rate": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "interval": object,
    "dropped_share": "float64",
    "median_life": "float64",
}


def rates(
    lives: Lives,
    horizons: Sequence[int],
    *,
    source: Phase = "prompt",
    seed: int = 0,
    n_boot: int = 1000,
    least: int = MIN_WORDS,
) -> pd.DataFrame:
    """One row per group that occurs and horizon; the columns are those of `drop_table`.

    ``source`` is what the lives were observed with; it is named in the table. Groups of fewer than
    ``least`` words are blank. With ``least`` below 20, groups of fewer than 20 words, of which
    resamples would be too narrow, and those that cannot be resampled have the interval of as many
    texts or blocks with one fate each (`dcp.stats.intervals.few_clusters`): "few texts or blocks".
    Raises RequestError for a horizon below 1 or without resamples.
    """
    check_boot(n_boot)
    for horizon in horizons:
        check_horizon(horizon)
    drops, risks = by_cluster(lives, max(horizons))
    low, high = intervals(drops, risks, seed, n_boot, horizons)
    curve = survival(drops.sum(0), risks.sum(0))
    label = cluster_kind(lives, len(drops))
    rows = []
    for g, name in enumerate(lives.names):
        mine = lives.group == g
        if not mine.any():
            continue
        words, where = np.unique(lives.word[mine], return_index=True)
        blank, few = len(words) < least, len(words) < MIN_WORDS
        whole = {
            "group": name,
            "source": source,
            "words": len(words),
            "tokens": int(lives.tokens[mine][where].sum()),
            "texts": len(np.unique(lives.text[mine])),
            "dropped_share": np.nan if blank else float(lives.event[mine].mean()),
            "median_life": np.nan if blank else median_life(lives, mine),
        }
        for horizon in horizons:
            at_risk = int(risks[:, g, horizon].sum())
            seen = at_risk > 0 or curve[g, horizon] == 0
            interval = label if seen and not blank and np.isfinite(low[g, horizon]) else ""
            bounds = float(low[g, horizon]), float(high[g, horizon])
            if least < MIN_WORDS and seen and not blank and (few or not interval):
                clusters = min(effective(risks[:, g].sum(axis=1)), len(words))
                interval, bounds = FEW, few_clusters(float(1 - curve[g, horizon]), clusters)
            rows.append(
                {
                    **whole,
                    "at_risk": at_risk,
                    "events": int(drops[:, g, : horizon + 1].sum()),
                    "horizon": horizon,
                    "drop_rate": 1 - curve[g, horizon] if seen and not blank else np.nan,
                    "ci_low": bounds[0] if interval else np.nan,
                    "ci_high": bounds[1] if interval else np.nan,
                    "interval": interval,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def rates_by_layer(
    lives: Lives,
    horizons: Sequence[int],
    *,
    source: Phase = "prompt",
    seed: int = 0,
    n_boot: int = 1000,
    least: int = MIN_WORDS,
) -> pd.DataFrame:
    """`rates` of each layer that occurs, one under the other; column ``layer`` tells which."""
    tables = [
        rates(
            lives.only(lives.layer == layer),
            horizons,
            source=source,
            seed=seed,
            n_boot=n_boot,
            least=least,
        ).assign(layer=int(layer))
        for layer in np.unique(lives.layer)
    ]
    empty = pd.DataFrame(columns=[*COLUMNS, "layer"]).astype({**COLUMNS, "layer": "int64"})
    return pd.concat(tables, ignore_index=True) if tables else empty


def check_horizon(horizon: int) -> None:
    """Raise RequestError for a horizon that is no number of steps."""
    if horizon < 1:
        raise RequestError(f"horizon {horizon} is too short: it is a number of steps, 1 or more")


def check_boot(n_boot: int) -> None:
    """Raise RequestError where there is nothing to resample."""
    if n_boot < 1:
        raise RequestError(f"{n_boot} resamples are too few: an interval needs 1000 or so")

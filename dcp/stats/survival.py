"""Survival of words held: Kaplan-Meier tables and curves with cluster-bootstrap intervals.

S(a) is the share of words still held ``a`` steps after their last token was read, for a layer
taken at random; ``drop_rate`` at horizon h is 1 - S(h). Drops are not independent (one full stop
drops nine tokens; the layers of one token move together), so intervals resample whole clusters,
all layers together: texts, or, with one text, blocks of 64 steps, and then they speak of this text
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from dcp.stats.controls import Policy, control_trace
from dcp.stats.estimate import by_cluster, cluster_kind, intervals, survival
from dcp.stats.groups import By
from dcp.stats.lives import Phase, Pieces, Rule, Sample, observe
from dcp.stats.rates import MIN_WORDS, check_boot, check_horizon, rates, rates_by_layer

__all__ = [
    "MIN_WORDS",
    "drop_curve",
    "drop_table",
    "drop_table_by_layer",
    "drop_table_with_controls",
    "to_records",
]


def drop_table(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    horizon: int = 32,
    source: Phase = "prompt",
    dropped_in: Phase = "both",
    layer: int | None = None,
    pieces: Pieces | None = None,
    rule: Rule = "last",
    seed: int = 0,
    n_boot: int = 1000,
    least: int = MIN_WORDS,
) -> pd.DataFrame:
    """One row per group that occurs: how many of its words are dropped within ``horizon`` steps.

    group, source, words, tokens, texts     what was observed; a word counts once, whatever the
                                            number of layers, and of traces that repeat its text
    at_risk       word-layers alive and under observation just before the horizon
    events        word-layers dropped up to the horizon
    horizon       steps
    drop_rate     1 - S(horizon), Kaplan-Meier; nan where nothing was observed for so long
    ci_low, ci_high   95 % by `dcp.stats.intervals` over ``n_boot`` cluster resamples; each by
                  itself, not all of a table together
    interval      "texts" | "within this text" | "" (fewer than ten clusters: no interval)
    dropped_share raw share dropped by the end; it follows position, never compare groups by it
    median_life   age (steps) at which half is gone; nan where not reached or < 10 at risk

    Estimates are nan for groups of fewer than ``least`` words; `to_records` makes them null. The
    other parameters are those of `dcp.stats.observe`. Raises RequestError for a bad one.
    """
    lives = observe(
        samples,
        by=by,
        source=source,
        dropped_in=dropped_in,
        layer=layer,
        pieces=pieces,
        rule=rule,
    )
    return rates(lives, [horizon], source=source, seed=seed, n_boot=n_boot, least=least)


def drop_table_by_layer(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    horizon: int = 32,
    source: Phase = "prompt",
    pieces: Pieces | None = None,
    seed: int = 0,
    n_boot: int = 1000,
    least: int = MIN_WORDS,
) -> pd.DataFrame:
    """`drop_table` of every layer, one under the other; column ``layer`` tells which."""
    lives = observe(samples, by=by, source=source, pieces=pieces)
    return rates_by_layer(lives, [horizon], source=source, seed=seed, n_boot=n_boot, least=least)


def drop_table_with_controls(
    samples: Sequence[Sample], by: By = "pos", *, seed: int = 0, **options: Any
) -> pd.DataFrame:
    """`drop_table` of the gates and of chance, one under the other; column ``arm`` tells which.

    "random" and "oldest" drop as many entries per layer and step as the gates did (so the memory
    held is the same), chosen at random or oldest first. Further options are those of `drop_table`.
    """
    tables = [drop_table(samples, by, seed=seed, **options).assign(arm="gates")]
    for policy in get_args(Policy):
        control = [(control_trace(trace, policy, seed=seed), words) for trace, words in samples]
        tables.append(drop_table(control, by, seed=seed, **options).assign(arm=policy))
    return pd.concat(tables, ignore_index=True)


def drop_curve(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    ages: int = 128,
    source: Phase = "prompt",
    dropped_in: Phase = "both",
    layer: int | None = None,
    pieces: Pieces | None = None,
    rule: Rule = "last",
    seed: int = 0,
    n_boot: int = 1000,
    least: int = MIN_WORDS,
) -> pd.DataFrame:
    """The survival curves behind `drop_table`, for charts: one row per group and age 0..``ages``.

    group, source, words, age (steps), survival, ci_low, ci_high, interval, at_risk, events (at this
    age). A curve ends where nothing is at risk any more; groups under ``least`` words are left out.
    """
    check_horizon(ages)
    check_boot(n_boot)
    lives = observe(
        samples,
        by=by,
        source=source,
        dropped_in=dropped_in,
        layer=layer,
        pieces=pieces,
        rule=rule,
    )
    drops, risks = by_cluster(lives, ages)
    low, high = intervals(drops, risks, seed, n_boot)
    curve, events, at_risk = survival(drops.sum(0), risks.sum(0)), drops.sum(0), risks.sum(0)
    label = cluster_kind(lives, len(drops))
    parts = []
    for g, name in enumerate(lives.names):
        words = len(np.unique(lives.word[lives.group == g]))
        if words < least:
            continue
        end = int(np.flatnonzero(at_risk[g])[-1]) + 1
        parts.append(
            pd.DataFrame(
                {
                    "group": name,
                    "source": source,
                    "words": words,
                    "age": np.arange(end),
                    "survival": curve[g, :end],
                    "ci_low": 1 - high[g, :end],
                    "ci_high": 1 - low[g, :end],
                    "interval": label if np.isfinite(low[g, :end]).any() else "",
                    "at_risk": at_risk[g, :end].astype(np.int64),
                    "events": events[g, :end].astype(np.int64),
                }
            )
        )
    columns = ["group", "source", "words", "age", "survival", "ci_low", "ci_high", "interval"]
    empty = pd.DataFrame(columns=[*columns, "at_risk", "events"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain Python objects for JSON: nan becomes None."""
    return [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]

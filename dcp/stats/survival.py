"""Survival of words in reach: Kaplan-Meier tables and curves with cluster-bootstrap intervals.

S(a) is the share of words still in reach ``a`` steps after their last token was read, for a layer
taken at random; ``drop_rate`` at horizon h is 1 - S(h). Drops are not independent (one full stop
drops nine tokens; the layers of one token move together), so intervals resample whole clusters,
all layers together: texts, or, with one text, blocks of 64 steps, and then they speak of this text
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.errors import RequestError
from dcp.stats.controls import Policy, control_trace
from dcp.stats.lives import By, Lives, Phase, Pieces, Rule, Sample, observe

__all__ = [
    "BLOCK",
    "MIN_AT_RISK",
    "MIN_WORDS",
    "drop_curve",
    "drop_table",
    "drop_table_with_controls",
    "to_records",
]

BLOCK = 64
"""Steps in a block, where one text is its own population."""

MIN_WORDS = 20
"""Groups with fewer words stay blank."""

MIN_AT_RISK = 10
"""A median with fewer words at risk is not given."""

Floats = npt.NDArray[np.float64]


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
) -> pd.DataFrame:
    """One row per group that occurs: how many of its words are dropped within ``horizon`` steps.

    group, source, words, tokens, texts     what was observed (words and tokens counted once,
                                            whatever the number of layers)
    at_risk       word-layers alive and under observation just before the horizon
    events        word-layers dropped up to the horizon
    horizon       steps
    drop_rate     1 - S(horizon), Kaplan-Meier; nan where nothing was observed for so long
    ci_low, ci_high   95 % percentile interval over ``n_boot`` cluster resamples
    interval      "texts" | "within this text" | "" (fewer than two clusters: no interval)
    dropped_share raw share dropped by the end; it follows position, never compare groups by it
    median_life   age (steps) at which half is gone; nan where not reached or < 10 at risk

    Estimates are nan for groups of fewer than 20 words; `to_records` makes them null. The other
    parameters are those of `dcp.stats.observe`. Raises RequestError for a bad one.
    """
    _check(horizon, n_boot)
    lives = observe(
        samples,
        by=by,
        source=source,
        dropped_in=dropped_in,
        layer=layer,
        pieces=pieces,
        rule=rule,
    )
    drops, risks = _by_cluster(lives, horizon)
    low, high = _intervals(drops, risks, seed, n_boot)
    curve = _survival(drops.sum(0), risks.sum(0))
    label = _label(lives, len(drops))
    rows = []
    for g, name in enumerate(lives.names):
        mine = lives.group == g
        if not mine.any():
            continue
        words, where = np.unique(lives.word[mine], return_index=True)
        blank = len(words) < MIN_WORDS
        at_risk = int(risks[:, g, horizon].sum())
        seen = at_risk > 0 or curve[g, horizon] == 0
        interval = label if seen and not blank and np.isfinite(low[g, horizon]) else ""
        rows.append(
            {
                "group": name,
                "source": source,
                "words": len(words),
                "tokens": int(lives.tokens[mine][where].sum()),
                "texts": len(np.unique(lives.text[mine])),
                "at_risk": at_risk,
                "events": int(drops[:, g].sum()),
                "horizon": horizon,
                "drop_rate": 1 - curve[g, horizon] if seen and not blank else np.nan,
                "ci_low": low[g, horizon] if interval else np.nan,
                "ci_high": high[g, horizon] if interval else np.nan,
                "interval": interval,
                "dropped_share": np.nan if blank else float(lives.event[mine].mean()),
                "median_life": np.nan if blank else _median_life(lives, mine),
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


_COLUMNS = {
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
) -> pd.DataFrame:
    """The survival curves behind `drop_table`, for charts: one row per group and age 0..``ages``.

    group, source, words, age (steps), survival, ci_low, ci_high, interval, at_risk, events (at this
    age). A curve ends where nothing is at risk any more; groups under 20 words are left out.
    """
    _check(ages, n_boot)
    lives = observe(
        samples,
        by=by,
        source=source,
        dropped_in=dropped_in,
        layer=layer,
        pieces=pieces,
        rule=rule,
    )
    drops, risks = _by_cluster(lives, ages)
    low, high = _intervals(drops, risks, seed, n_boot)
    curve, events, at_risk = _survival(drops.sum(0), risks.sum(0)), drops.sum(0), risks.sum(0)
    label = _label(lives, len(drops))
    parts = []
    for g, name in enumerate(lives.names):
        words = len(np.unique(lives.word[lives.group == g]))
        if words < MIN_WORDS:
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


def _check(horizon: int, n_boot: int) -> None:
    if horizon < 1:
        raise RequestError(f"horizon {horizon} is too short: it is a number of steps, 1 or more")
    if n_boot < 1:
        raise RequestError(f"{n_boot} resamples are too few: an interval needs 1000 or so")


def _label(lives: Lives, clusters: int) -> str:
    if clusters < 2:
        return ""
    return "texts" if lives.texts > 1 else "within this text"


def _by_cluster(lives: Lives, ages: int) -> tuple[Floats, Floats]:
    """(drops, at risk), each [C, G, ages + 1]: counts per cluster, group and age.

    With one text a cluster is a block of steps and gets what happened in it: all that one query
    drops falls into one block, whatever the age of what it drops.
    """
    groups = len(lives.names)
    blocks = int((lives.born + lives.duration).max(initial=0)) // BLOCK + 1
    clusters = lives.texts if lives.texts > 1 else blocks
    drops = np.zeros((clusters, groups, ages + 1))
    risks = np.zeros_like(drops)
    for age in range(ages + 1):
        exposed = (lives.entry < age) & (age <= lives.duration)
        dropped = exposed & lives.event & (lives.duration == age)
        cluster = lives.text if lives.texts > 1 else (lives.born + age) // BLOCK
        cell = cluster * groups + lives.group
        for counts, which in ((risks, exposed), (drops, dropped)):
            found = np.bincount(cell[which], minlength=clusters * groups)
            counts[:, :, age] = found.reshape(clusters, groups)
    return drops, risks


def _survival(drops: Floats, risks: Floats) -> Floats:
    """Kaplan-Meier along the last axis: the running product of 1 - drops / at risk."""
    hazard = np.divide(drops, risks, out=np.zeros_like(drops), where=risks > 0)
    return np.cumprod(1 - hazard, axis=-1)


def _intervals(drops: Floats, risks: Floats, seed: int, n_boot: int) -> tuple[Floats, Floats]:
    """(low, high), each [G, ages]: 95 % of 1 - S over resampled clusters.

    nan for a group found in fewer than two clusters, and at ages that half of the resamples miss.
    """
    clusters, groups, ages = drops.shape
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=n_boot).astype(float)
    low, high = np.full((groups, ages), np.nan), np.full((groups, ages), np.nan)
    spread = (risks.sum(axis=2) > 0).sum(axis=0) >= 2
    for g in np.flatnonzero(spread):
        at_risk = weights @ risks[:, g]
        survival = _survival(weights @ drops[:, g], at_risk)
        # A resample in which nothing was at risk at some age says nothing from there on.
        gap = np.logical_or.accumulate((at_risk == 0) & (risks[:, g].sum(0) > 0), axis=1)
        survival[gap & (survival > 0)] = np.nan
        told = np.isfinite(survival).mean(axis=0) > 0.5
        low[g, told], high[g, told] = np.nanpercentile(1 - survival[:, told], [2.5, 97.5], axis=0)
    return low, high


def _median_life(lives: Lives, mine: npt.NDArray[np.bool_]) -> float:
    """The first age at which half of the group is gone; nan if never, or with few at risk."""
    longest = int(lives.duration[mine].max())
    ended = np.bincount(lives.duration[mine], minlength=longest + 1)
    joined = np.bincount(lives.entry[mine] + 1, minlength=longest + 1)[: longest + 1]
    drops = np.bincount(lives.duration[mine & lives.event], minlength=longest + 1)
    risks = np.cumsum(joined) - np.concatenate([[0], np.cumsum(ended)[:-1]])
    survival = _survival(drops.astype(float), risks.astype(float))
    reached = np.flatnonzero(survival <= 0.5)
    if not len(reached) or risks[reached[0]] < MIN_AT_RISK:
        return float("nan")
    return float(reached[0])

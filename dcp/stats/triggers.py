"""Triggers: what is read when others are dropped. "Dropped when X was read", not "because of X".

Counts drops per query against the mean query, by the part of speech of the query's word or by the
token itself, with cluster intervals and a null in which the queries' labels are shuffled within
each text. Every query counts: what is no word is white space, the end of a text, or without a tag.
A gate closes when a query is read; a rule decides when it has been: both count for that query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.arguments import one_of
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.stats.estimate import BLOCK
from dcp.stats.groups import TAGGED, By, trigger_groups, trigger_names
from dcp.stats.intervals import cluster_interval
from dcp.stats.lives import Phase, Sample
from dcp.stats.queries import KINDS, kinds_of, tokens_of
from dcp.stats.rates import MIN_WORDS
from dcp.stats.repeats import stretches_of, texts_of
from dcp.trace import Trace
from dcp.trace.deciders import decided_at

__all__ = ["trigger_table", "trigger_tables", "trigger_tokens"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def trigger_table(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    source: Phase = "prompt",
    layer: int | None = None,
    seed: int = 0,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """One row per kind of token being read: `dcp.stats.groups.trigger_names` of ``by`` ("pos",
    "group" or "class").

    group, source, queries, texts
    drops_per_query   entries dropped when such a token is read, mean over layers
    base_rate         entries dropped by a query of any kind, mean over layers: the same in all rows
    ratio             the one over the other: 1 is an ordinary query
    share             of all drops, those when such a token is read; 1 over all rows
    ci_low, ci_high   95 % interval of ``ratio``: resampled texts, or blocks of 64 steps of one text
    interval          "texts" | "within this text" | "" (fewer than ten of them)
    null_low, null_high  95 % of ``ratio`` when labels are shuffled among the queries of a text

    ``source`` is where the query stands. Estimates are nan for groups of fewer than 20 queries and
    where nothing was dropped. Raises RequestError.
    """
    one_of("source", source, get_args(Phase))
    one_of("grouping", by, TAGGED)
    if not samples or n_boot < 1:
        raise RequestError("triggers need at least one trace and one resample")
    return trigger_tables(samples, [by], source=source, layer=layer, seed=seed, n_boot=n_boot)[by]


def trigger_tables(
    samples: Sequence[Sample],
    groupings: Sequence[By],
    *,
    source: Phase = "prompt",
    layer: int | None = None,
    seed: int = 0,
    n_boot: int = 1000,
) -> dict[By, pd.DataFrame]:
    """`trigger_table` in several groupings at once: the costly shuffles are the same for all."""
    labels = [kinds_of(trace, words) for trace, words in samples]
    read = _read(samples, labels, len(KINDS), source, layer, seed, n_boot)
    tables = {}
    for by in groupings:
        names = trigger_names(by)
        places = np.eye(len(names))[trigger_groups(by)]
        tables[by] = _table(read, names, places, source, seed, n_boot)
    return tables


def trigger_tokens(
    samples: Sequence[Sample],
    *,
    most: int = 20,
    source: Phase = "prompt",
    layer: int | None = None,
    seed: int = 0,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """`trigger_table` token by token: ``group`` is the token as text, line breaks as "⏎".

    The ``most`` tokens that drop most in all, of those that are read 20 times or more. Raises
    RequestError.
    """
    one_of("source", source, get_args(Phase))
    if not samples or n_boot < 1:
        raise RequestError("triggers need at least one trace and one resample")
    names, labels = tokens_of(samples)
    read = _read(samples, labels, len(names), source, layer, seed, n_boot=1)
    often = read.counts.sum(0) >= MIN_WORDS
    order = np.argsort(-read.sums.sum(0) * often, kind="stable")[:most]
    chosen = [int(i) for i in order if often[i] and read.sums[:, i].sum() > 0]
    # The few that are shown, and all others as one more, which the shuffles need and no row shows.
    into = np.full(len(names), len(chosen), np.int64)
    into[chosen] = np.arange(len(chosen))
    read = _read(
        samples, [into[each] for each in labels], len(chosen) + 1, source, layer, seed, n_boot
    )
    places = np.eye(len(chosen) + 1)[:, : len(chosen)]
    return _table(read, [names[i] for i in chosen], places, source, seed, n_boot)


@dataclass(frozen=True, eq=False)
class _Read:
    """What the queries of K labels dropped; C clusters.

    sums, counts [C, K]      drops (mean over layers) and queries
    texts [N, K]             whether a text has such a query
    shuffled [n_boot, K]     drops with the labels shuffled within each text
    """

    sums: Floats
    counts: Floats
    texts: npt.NDArray[np.bool_]
    shuffled: Floats
    one: bool


def _read(
    samples: Sequence[Sample],
    labels: Sequence[Ints],
    kinds: int,
    source: Phase,
    layer: int | None,
    seed: int,
    n_boot: int,
) -> _Read:
    runs = [
        _queries(trace, label, source, layer)
        for (trace, _), label in zip(samples, labels, strict=True)
    ]
    texts, stretches = texts_of(samples), stretches_of(samples)
    one = int(texts.max()) == 0
    blocks = max(int(steps.max(initial=0)) for _, _, steps in runs) // BLOCK + 1
    clusters = blocks * (int(stretches.max()) + 1) if one else int(texts.max()) + 1
    sums, counts = np.zeros((clusters, kinds)), np.zeros((clusters, kinds))
    found = np.zeros((int(texts.max()) + 1, kinds), np.bool_)
    rng = np.random.default_rng(seed)
    shuffled = np.zeros((n_boot, kinds))
    for text, stretch, (drops, label, steps) in zip(texts, stretches, runs, strict=True):
        cluster = stretch * blocks + steps // BLOCK if one else np.full(len(steps), text)
        np.add.at(sums, (cluster, label), drops)
        np.add.at(counts, (cluster, label), 1)
        found[text, label] = True
        mixed = rng.permuted(np.broadcast_to(drops, (n_boot, len(drops))), axis=1)
        shuffled += mixed @ np.eye(kinds)[label]
    return _Read(sums, counts, found, shuffled, one)


def _table(
    read: _Read, names: Sequence[str], places: Floats, source: Phase, seed: int, n_boot: int
) -> pd.DataFrame:
    """The table of the labels joined to groups: places [K, G]."""
    all_drops, all_queries = read.sums.sum(axis=1), read.counts.sum(axis=1)
    sums, counts = read.sums @ places, read.counts @ places
    base = float(_share(all_drops.sum(), all_queries.sum()))
    total = counts.sum(0)
    mean = _share(sums.sum(0), total)
    ratio = _share(mean, base)
    null = _share(_share(read.shuffled @ places, total), base)
    rows = []
    for g in np.flatnonzero(total):
        enough = bool(total[g] >= MIN_WORDS and not np.isnan(ratio[g]))
        low = high = floor = top = np.nan
        if enough:

            def resampled(weights: Floats, g: int = int(g)) -> Floats:
                of_group = _share(weights @ sums[:, g], weights @ counts[:, g])
                of_all = _share(weights @ all_drops, weights @ all_queries)
                return np.asarray(_share(of_group, of_all))[:, None]

            lows, highs = cluster_interval(resampled, counts[:, g], seed=seed, n_boot=n_boot)
            low, high = float(lows[0]), float(highs[0])
            floor, top = np.percentile(null[:, g], [2.5, 97.5])
        rows.append(
            {
                "group": names[int(g)],
                "source": source,
                "queries": int(total[g]),
                "texts": int((read.texts @ places[:, g] > 0).sum()),
                "drops_per_query": mean[g] if enough else np.nan,
                "base_rate": base,
                "ratio": ratio[g] if enough else np.nan,
                "share": float(_share(sums[:, g].sum(), all_drops.sum())) if enough else np.nan,
                "ci_low": low,
                "ci_high": high,
                "interval": ("within this text" if read.one else "texts")
                if np.isfinite(low)
                else "",
                "null_low": floor,
                "null_high": top,
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


_COLUMNS = {
    **dict.fromkeys(("group", "source"), "object"),
    **dict.fromkeys(("queries", "texts"), "int64"),
    **dict.fromkeys(("drops_per_query", "base_rate", "ratio", "share"), "float64"),
    **dict.fromkeys(("ci_low", "ci_high"), "float64"),
    "interval": "object",
    **dict.fromkeys(("null_low", "null_high"), "float64"),
}


def _queries(
    trace: Trace, label: Ints, source: Phase, layer: int | None
) -> tuple[Floats, Ints, Ints]:
    """(drops, label, step) of each query that has something to drop; mean drops over layers."""
    if layer is not None and not 0 <= layer < trace.layers:
        raise RequestError(f"no layer {layer}: this trace has layers 0 to {trace.layers - 1}")
    asked = decided_at(trace)
    asked = asked if layer is None else asked[layer : layer + 1]
    drops = np.bincount(asked[asked != ALIVE], minlength=trace.tokens) / len(asked)
    step = np.arange(trace.tokens)
    chosen = (step >= 1) & (step < trace.n_queries)
    if source != "both":
        chosen &= (step < trace.prompt_tokens) == (source == "prompt")
    return drops[chosen], label[chosen], step[chosen]


def _share(part: Any, whole: Any) -> Any:
    """``part`` over ``whole``; nan where that is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(part, whole)
    return np.where(np.isfinite(ratio), ratio, np.nan)

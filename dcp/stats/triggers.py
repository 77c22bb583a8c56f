"""Triggers: which words, when read, drop others. "Dropped when X was read", not "because of X".

Counts drops per query against the mean query, by the part of speech of the query's word, with
cluster-bootstrap intervals and a null in which the queries' labels are shuffled within each text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.arguments import one_of
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.speech.tagger import UPOS
from dcp.speech.words import Word
from dcp.stats.estimate import BLOCK
from dcp.stats.groups import TAGGED, By, group_names, groups_of_tags
from dcp.stats.lives import Phase, Sample, texts_of
from dcp.stats.rates import MIN_WORDS
from dcp.trace import Trace

__all__ = ["trigger_table", "trigger_tables"]

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
    """One row per part of speech of the token being read (``by``: "pos", "group" or "class").

    group, source, queries, texts
    drops_per_query   entries dropped when such a token is read, mean over layers
    base_rate         entries dropped by a query of any kind, mean over layers: the same in all rows
    ratio             the one over the other: 1 is an ordinary query
    ci_low, ci_high   95 % interval of ``ratio``: resampled texts, or blocks of 64 steps of one text
    interval          "texts" | "within this text" | ""
    null_low, null_high  95 % of ``ratio`` when labels are shuffled among the queries of a text

    ``source`` is where the query stands. Queries are tokens of complete words; estimates are nan
    for groups of fewer than 20 queries and where nothing was dropped. Raises RequestError.
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
    columns = [(by, name) for by in groupings for name in group_names(by)]
    # [17, G]: the column of each grouping that a tag falls into.
    places = np.concatenate([_one_hot(by) for by in groupings], axis=1)
    runs = [_queries(trace, words, source, layer) for trace, words in samples]
    texts = texts_of(samples)
    one = int(texts.max()) == 0
    blocks = max(int(steps.max(initial=0)) for _, _, steps in runs) // BLOCK + 1
    clusters = blocks * len(runs) if one else int(texts.max()) + 1
    sums, counts = np.zeros((clusters, len(UPOS))), np.zeros((clusters, len(UPOS)))
    rng = np.random.default_rng(seed)
    shuffled = np.zeros((n_boot, len(UPOS)))
    for i, (drops, tags, steps) in enumerate(runs):
        cluster = i * blocks + steps // BLOCK if one else np.full(len(steps), texts[i])
        np.add.at(sums, (cluster, tags), drops)
        np.add.at(counts, (cluster, tags), 1)
        mixed = rng.permuted(np.broadcast_to(drops, (n_boot, len(drops))), axis=1)
        shuffled += mixed @ np.eye(len(UPOS))[tags]
    weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=n_boot).astype(float)
    base = _share(sums.sum(), counts.sum())
    boot_base = _share((weights @ sums).sum(1), (weights @ counts).sum(1))
    # From tags to the groups asked for.
    sums, counts = sums @ places, counts @ places
    total = counts.sum(0)
    mean = _share(sums.sum(0), total)
    ratio = _share(mean, base)
    boot = _share(_share(weights @ sums, weights @ counts), boot_base[:, None])
    null = _share(_share(shuffled @ places, total), base)
    enough = (total >= MIN_WORDS) & ~np.isnan(ratio)
    several = enough & ((counts > 0).sum(0) >= 2)
    rows = []
    for g in np.flatnonzero(total):
        low, high = np.nanpercentile(boot[:, g], [2.5, 97.5]) if several[g] else (np.nan, np.nan)
        floor, top = np.percentile(null[:, g], [2.5, 97.5]) if enough[g] else (np.nan, np.nan)
        mine = np.flatnonzero(places[:, g])
        rows.append(
            {
                "group": columns[g][1],
                "source": source,
                "queries": int(total[g]),
                "texts": len(
                    {t for t, run in zip(texts, runs, strict=True) if np.isin(run[1], mine).any()}
                ),
                "drops_per_query": mean[g] if enough[g] else np.nan,
                "base_rate": float(base),
                "ratio": ratio[g] if enough[g] else np.nan,
                "ci_low": low,
                "ci_high": high,
                "interval": ("within this text" if one else "texts") if several[g] else "",
                "null_low": floor,
                "null_high": top,
                "by": columns[g][0],
            }
        )
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return {
        by: table[table["by"] == by].drop(columns="by").reset_index(drop=True) for by in groupings
    }


_COLUMNS = [
    *("group", "source", "queries", "texts", "drops_per_query", "base_rate", "ratio", "ci_low"),
    *("ci_high", "interval", "null_low", "null_high", "by"),
]


def _one_hot(by: By) -> Floats:
    return np.asarray(np.eye(len(group_names(by)))[groups_of_tags(by)], np.float64)


def _queries(
    trace: Trace, words: Sequence[Word], source: Phase, layer: int | None
) -> tuple[Floats, Ints, Ints]:
    """(drops, tag, step) of each query that stands in a complete word; mean drops over layers."""
    if layer is not None and not 0 <= layer < trace.layers:
        raise RequestError(f"no layer {layer}: this trace has layers 0 to {trace.layers - 1}")
    label = np.full(trace.tokens, -1, np.int64)
    for word in words:
        if word.complete and word.pos in UPOS:
            label[word.first : word.last + 1] = UPOS.index(word.pos)
    death = trace.death if layer is None else trace.death[layer : layer + 1]
    drops = np.bincount(death[death != ALIVE], minlength=trace.tokens) / len(death)
    step = np.arange(trace.tokens)
    chosen = (label >= 0) & (step >= 1) & (step < trace.n_queries)
    if source != "both":
        chosen &= (step < trace.prompt_tokens) == (source == "prompt")
    return drops[chosen], label[chosen], step[chosen]


def _share(part: Any, whole: Any) -> Any:
    """``part`` over ``whole``; nan where that is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(part, whole)
    return np.where(np.isfinite(ratio), ratio, np.nan)

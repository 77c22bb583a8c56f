"""How far a result about parts of speech can move because the tagger errs.

The tagger's errors on held-out text (``assets/pos/confusion.tsv``, made by ``python -m
dcp.speech.training.confusion``) say how often a word called NOUN is a PROPN in truth. Each draw
gives every word a tag by these odds and makes the table anew. Errors are drawn blindly: a tagger
that errs more on words that are dropped early could do more harm than this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.arguments import one_of
from dcp.errors import RequestError
from dcp.resources import asset
from dcp.speech.tagger import UPOS
from dcp.stats.estimate import survival
from dcp.stats.groups import TAGGED, By, group_names, groups_of_tags
from dcp.stats.lives import Lives, Phase, Pieces, Sample, observe
from dcp.stats.rates import MIN_WORDS, check_boot, check_horizon

__all__ = ["noise_of", "noise_table", "tagger_accuracy", "tagger_errors"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_TABLE = asset("pos/confusion.tsv")


@lru_cache(maxsize=1)
def _counts() -> Ints:
    try:
        lines = _TABLE.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        if rows[0][1:] != list(UPOS) or [row[0] for row in rows[1:]] != list(UPOS):
            raise ValueError("its tags are not those of the tagger")
        return np.array([[int(cell) for cell in row[1:]] for row in rows[1:]], np.int64)
    except (OSError, ValueError, IndexError) as error:
        raise RequestError(f"the tagger's error table cannot be read: {error}") from error


def tagger_errors() -> Floats:
    """[17, 17]: the chance of each true tag (column) given the bundled tagger's tag (row)."""
    counts = _counts().T.astype(float)
    # One pseudo-count on the diagonal, for tags that are rare in the held-out text.
    counts += np.eye(len(UPOS))
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def tagger_accuracy() -> float:
    """Share of right tags on the held-out text behind `tagger_errors`, as raw text."""
    return float(np.trace(_counts()) / _counts().sum())


def noise_table(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    horizon: int = 32,
    source: Phase = "prompt",
    layer: int | None = None,
    pieces: Pieces | None = None,
    seed: int = 0,
    draws: int = 200,
    errors: Floats | None = None,
) -> pd.DataFrame:
    """One row per group of tags: its drop rate as tagged, and its range over redrawn tags.

    group, source, words, horizon
    drop_rate    as tagged, as in `drop_table`
    low, high    95 % of the rates over ``draws`` redrawn taggings
    redrawn      share of the group's words that a draw puts into another group, on average

    ``errors`` [17, 17] are the odds of each true tag given the tag; None: `tagger_errors`. Groups
    of fewer than 20 words stay blank. Raises RequestError.
    """
    one_of("grouping", by, TAGGED)
    lives = observe(samples, by="pos", source=source, layer=layer, pieces=pieces)
    return noise_of(
        lives, by, horizon=horizon, source=source, seed=seed, draws=draws, errors=errors
    )


def noise_of(
    lives: Lives,
    by: By,
    *,
    horizon: int,
    source: Phase,
    seed: int = 0,
    draws: int = 200,
    errors: Floats | None = None,
) -> pd.DataFrame:
    """`noise_table` of lives that were observed by "pos"."""
    check_horizon(horizon)
    check_boot(draws)
    names, of_tag = group_names(by), groups_of_tags(by)
    odds = np.cumsum(tagger_errors() if errors is None else errors, axis=1)
    # Each word once: it has one tag in all layers.
    word, where, back = np.unique(lives.word, return_index=True, return_inverse=True)
    tags = lives.group[where]
    before = of_tag[tags]
    words = np.bincount(before, minlength=len(names))
    told = words >= MIN_WORDS
    rate = _rates(lives, before[back], len(names), horizon)
    rng = np.random.default_rng(seed)
    drawn, moved = np.full((draws, len(names)), np.nan), np.zeros(len(names))
    for i in range(draws):
        true = (rng.random((len(word), 1)) > odds[tags]).sum(axis=1)
        after = of_tag[np.minimum(true, len(UPOS) - 1)]
        moved += np.bincount(before, before != after, len(names)) / draws
        drawn[i] = _rates(lives, after[back], len(names), horizon)
    rows = []
    for g in np.flatnonzero(words):
        seen = drawn[np.isfinite(drawn[:, g]), g] if told[g] and np.isfinite(rate[g]) else ()
        low, high = np.percentile(seen, [2.5, 97.5]) if len(seen) else (np.nan, np.nan)
        rows.append(
            {
                "group": names[g],
                "source": source,
                "words": int(words[g]),
                "horizon": horizon,
                "drop_rate": rate[g] if told[g] else np.nan,
                "low": low,
                "high": high,
                "redrawn": moved[g] / words[g],
            }
        )
    columns = ["group", "source", "words", "horizon", "drop_rate", "low", "high", "redrawn"]
    return pd.DataFrame(rows, columns=columns)


def _rates(lives: Lives, group: Ints, groups: int, horizon: int) -> Floats:
    """[G]: 1 - S(horizon) of each group, nan where nothing was watched for so long."""
    size = horizon + 2
    cell = group * size

    def count(age: Ints, which: npt.NDArray[np.bool_] | slice) -> Floats:
        at = (cell + np.minimum(age, size - 1))[which]
        return np.bincount(at, minlength=groups * size).reshape(groups, size).astype(float)

    everything = slice(None)
    drops = count(lives.duration, lives.event)
    risks = np.cumsum(
        count(lives.entry + 1, everything) - count(lives.duration + 1, everything), axis=1
    )
    curve = survival(drops, risks)[:, horizon]
    return np.where((risks[:, horizon] > 0) | (curve == 0), 1 - curve, np.nan)

"""What a result about parts of speech would be if the tagger did not err.

The tagger's errors on held-out text (``assets/pos/confusion.tsv``, made by ``python -m
dcp.speech.training.confusion``) say how often a word called NOUN is a PROPN in truth. What is seen
of the words called NOUN is then a mixture, S(called) = sum over true tags of P(true | called)
S(true), which is solved for S(true): errors pull groups towards one another, this pulls them apart
again. (Drawing new tags by these odds would mix a second time.) It takes errors to be blind: a
tagger that errs more on words that are dropped early could do more harm than this.
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


def _drawn_errors(rng: np.random.Generator) -> Floats:
    """[17, 17]: `tagger_errors` as other held-out text of the same size might have given them."""
    counts = _counts().T + np.eye(len(UPOS))
    drawn = np.array([rng.dirichlet(row + 1e-6) for row in counts])
    return np.asarray(drawn, np.float64)


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
    """One row per group of tags: its drop rate as tagged, and without the tagger's errors.

    group, source, words, horizon
    drop_rate    as tagged, as in `drop_table`
    corrected    with the tagger's errors taken out
    low, high    95 % of ``corrected`` over ``draws`` error tables as other held-out text might have
                 given them; the words themselves are as they are
    redrawn      share of the group's words whose true tag is in another group, as expected

    ``errors`` [17, 17] are the odds of each true tag given the tag, known without error; None:
    `tagger_errors`. Groups of fewer than 20 words stay blank. Raises RequestError.
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
    # Each word once: it has one tag in all layers.
    _, where = np.unique(lives.word, return_index=True)
    tags = np.bincount(lives.group[where], minlength=len(UPOS)).astype(np.float64)
    words = np.bincount(of_tag, tags, len(names)).astype(np.int64)
    seen = _rates(lives, lives.group, len(UPOS), horizon)
    rate = _rates(lives, of_tag[lives.group], len(names), horizon)
    odds = tagger_errors() if errors is None else errors
    into = np.eye(len(names))[of_tag]
    corrected = _corrected(seen, tags, odds, into)
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [_corrected(seen, tags, odds if errors is not None else _drawn_errors(rng), into)
         for _ in range(draws)]
    )  # fmt: skip
    # Of the words called by a group's tags, those whose true tag lies in another.
    away = tags @ ((odds @ (1 - into)) * into)[:, : len(names)]
    rows = []
    for g in np.flatnonzero(words):
        told = words[g] >= MIN_WORDS and np.isfinite(rate[g]) and np.isfinite(corrected[g])
        low, high = np.nanpercentile(drawn[:, g], [2.5, 97.5]) if told else (np.nan, np.nan)
        rows.append(
            {
                "group": names[g],
                "source": source,
                "words": int(words[g]),
                "horizon": horizon,
                "drop_rate": rate[g] if words[g] >= MIN_WORDS else np.nan,
                "corrected": corrected[g] if told else np.nan,
                "low": low,
                "high": high,
                "redrawn": away[g] / words[g],
            }
        )
    columns = ["group", "source", "words", "horizon", "drop_rate", "corrected", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "redrawn"])


def _corrected(seen: Floats, tags: Floats, odds: Floats, into: Floats) -> Floats:
    """[G]: the rates of true groups, from those of tags as called.

    seen [17] rates by called tag, tags [17] words of each, odds [17, 17] true given called, into
    [17, G] the group of each tag..
    """
    known = np.flatnonzero((tags > 0) & np.isfinite(seen))
    found = np.full(into.shape[1], np.nan)
    if not len(known):
        return found
    square = odds[np.ix_(known, known)]
    square = square / square.sum(axis=1, keepdims=True)
    # Least squares: a tagger that guesses tells nothing apart, and the mean is what is left.
    true = np.clip(np.linalg.lstsq(square, seen[known], rcond=1e-6)[0], 0.0, 1.0)
    weight = (tags[known] @ square)[:, None] * into[known]
    total = weight.sum(axis=0)
    some = total > 0
    found[some] = (true @ weight)[some] / total[some]
    return found


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

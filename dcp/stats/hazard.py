"""The adjusted effect of a part of speech: a discrete-time hazard model beside the raw rates.

Raw rates mix what a word is with how common it is, how it is cut, how old it is and how much
context there is. The model is logistic in all of these at once (Singer & Willett 1993; statsmodels'
GLM on the counts of `dcp.stats.person_period`), with errors that are robust to whatever goes on
inside a text. Raw and adjusted rates are in the same unit, drops per step at risk.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.arguments import one_of
from dcp.errors import RequestError
from dcp.resources import needs
from dcp.stats.groups import TAGGED, By, group_names, groups_of_tags
from dcp.stats.intervals import effective, enough
from dcp.stats.lives import Phase, Sample
from dcp.stats.person_period import Cells, count
from dcp.stats.rates import MIN_WORDS

__all__ = ["hazard_of", "hazard_table"]

MIN_EVENTS = 5
"""Neighbouring classes of a covariate are joined until each has so many drops and survivals."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def hazard_table(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    source: Phase = "prompt",
    layer: int | None = None,
) -> pd.DataFrame:
    """One row per group of tags that occurs (``by``: "pos", "group" or "class").

    group, source, tokens, texts
    at_risk, events      token-layer-steps at risk, drops
    raw                  drops per step at risk: events / at_risk
    adjusted             the same as if every token at risk had this tag, all else as it was: the
                         model's mean over frequency (a class each half decade), place in the word,
                         age, step and, with ``layer`` None, layer. Of words with a letter alone:
                         what has none (punctuation, numbers) has no frequency to even out
    raw_low, raw_high, adjusted_low, adjusted_high   95 %, robust to dependence within clusters
    base_rate            drops per step at risk of all groups together
    interval             "texts" | "within this text" | "" (fewer than ten clusters)

    Each interval is 95 % by itself; a table of 17 has one in two chances to miss somewhere. Groups
    of fewer than 20 tokens, and those in which nothing or everything is dropped, stay blank and out
    of the model, and so does "adjusted" of those in which words with a letter are that few. Raises
    RequestError.
    """
    one_of("grouping", by, TAGGED)
    one_of("source", source, get_args(Phase))
    if not samples:
        raise RequestError("no trace given: statistics need at least one")
    for trace, _ in samples:
        if layer is not None and not 0 <= layer < trace.layers:
            raise RequestError(f"no layer {layer}: this trace has layers 0 to {trace.layers - 1}")
    return hazard_of(count(samples, source=source, layer=layer), by, source=source)


def hazard_of(cells: Cells, by: By, *, source: Phase) -> pd.DataFrame:
    """`hazard_table` of what was counted; with more than one layer, the layer is a covariate."""
    names, of_tag = group_names(by), groups_of_tags(by)
    group = of_tag[cells.levels[:, 1]]
    risk: Floats = np.bincount(cells.cell, cells.at_risk, len(group)).astype(np.float64)
    drops: Floats = np.bincount(cells.cell, cells.drops, len(group)).astype(np.float64)
    tokens = np.bincount(of_tag, cells.tokens, len(names)).astype(np.int64)
    at_risk = np.bincount(group, risk, len(names))
    events = np.bincount(group, drops, len(names))
    raw, adjusted = np.full((3, len(names)), np.nan), np.full((3, len(names)), np.nan)
    label = ""
    everything = np.ones(len(group), np.bool_)
    lettered = np.bincount(of_tag, cells.lettered, len(names)).astype(np.int64)
    for found, chosen, seen, design in (
        (raw, everything, tokens, _groups_only),
        (adjusted, cells.levels[:, 3] >= 0, lettered, _all_covariates),
    ):
        watched = np.bincount(group[chosen], risk[chosen], len(names))
        ended = np.bincount(group[chosen], drops[chosen], len(names))
        told = (seen >= MIN_WORDS) & (ended > 0) & (ended < watched)
        if not told.any():
            continue
        fit = told[group] & chosen
        data = _Data(cells, fit, group[fit], risk[fit], drops[fit])
        sizes = data.sizes()
        if enough(sizes):
            label = "texts" if cells.texts > 1 else "within this text"
        found[:, told] = _standardised(data, design(data), sizes)
    rows = [
        {
            "group": names[g],
            "source": source,
            "tokens": int(tokens[g]),
            "texts": cells.texts,
            "at_risk": int(at_risk[g]),
            "events": int(events[g]),
            "raw": raw[0, g],
            "raw_low": raw[1, g],
            "raw_high": raw[2, g],
            "adjusted": adjusted[0, g],
            "adjusted_low": adjusted[1, g],
            "adjusted_high": adjusted[2, g],
            "base_rate": events.sum() / at_risk.sum(),
            "interval": label if np.isfinite(raw[1, g]) else "",
        }
        for g in np.flatnonzero(at_risk)
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    *("group", "source", "tokens", "texts", "at_risk", "events", "raw", "raw_low", "raw_high"),
    *("adjusted", "adjusted_low", "adjusted_high", "base_rate", "interval"),
]


@dataclass(frozen=True, eq=False)
class _Data:
    """The K cells that are in the model; ``fit`` says which of all cells they are."""

    cells: Cells
    fit: npt.NDArray[np.bool_]
    group: Ints
    risk: Floats
    drops: Floats

    @property
    def levels(self) -> Ints:
        return self.cells.levels[self.fit]

    def sizes(self) -> Floats:
        """[C]: steps at risk in the cells of each cluster."""
        inside = self.fit[self.cells.cell]
        return np.asarray(
            np.bincount(
                self.cells.cluster[inside], self.cells.at_risk[inside], self.cells.clusters
            ),
            np.float64,
        )

    def scores(self, design: Floats, hazard: Floats) -> Floats:
        """[C, P]: the score of each cluster, the sum of (drops - expected drops) times design."""
        from scipy.sparse import coo_array

        inside = self.fit[self.cells.cell]
        cell = (np.cumsum(self.fit) - 1)[self.cells.cell[inside]]
        rest = self.cells.drops[inside] - self.cells.at_risk[inside] * hazard[cell]
        shape = (self.cells.clusters, len(design))
        matrix = coo_array((rest, (self.cells.cluster[inside], cell)), shape=shape)
        return np.asarray(matrix.tocsr() @ design)


def _groups_only(data: _Data) -> Floats:
    return np.asarray(np.unique(data.group)[None] == data.group[:, None], np.float64)


def _all_covariates(data: _Data) -> Floats:
    """[K, P]: a column for each group, then those of the covariates, each less its first class."""
    layer, _, place, band, age, step = data.levels.T
    columns = [_groups_only(data)]
    for values in (band, place, age, step, layer):
        joined = _joined(values, data)
        columns.append(np.asarray(np.unique(joined)[None, 1:] == joined[:, None], np.float64))
    return np.concatenate(columns, axis=1)


def _joined(values: Ints, data: _Data) -> Ints:
    """``values`` with neighbours made one class until each has enough drops and survivals."""
    classes = np.unique(values)
    drops = np.array([data.drops[values == value].sum() for value in classes])
    kept = np.array([data.risk[values == value].sum() for value in classes]) - drops
    into, have, number = np.zeros(len(classes), np.int64), np.zeros(2), 0
    for i in range(len(classes)):
        into[i] = number
        have += drops[i], kept[i]
        if (have >= MIN_EVENTS).all():
            have, number = np.zeros(2), number + 1
    if have.any() and number:
        into[into == number] = number - 1
    return np.asarray(into[np.searchsorted(classes, values)], np.int64)


def _standardised(data: _Data, design: Floats, sizes: Floats) -> Floats:
    """[3, G]: for each group the mean hazard over all cells, and its 95 % interval (or nan), with
    Student's t of as many clusters as there effectively are."""
    needs("scipy", "statsmodels")
    from scipy.special import expit, logit
    from scipy.stats import t
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    groups = len(np.unique(data.group))
    counts = np.stack([data.drops, data.risk - data.drops], axis=1)
    with warnings.catch_warnings():
        # A fit that does not converge is left blank; statsmodels warns on stderr too.
        warnings.simplefilter("ignore")
        # Of millions of drops no deviance is exact to statsmodels' own 1e-8.
        model = GLM(counts, design, family=Binomial()).fit(maxiter=50, rtol=1e-12)
    out = np.full((3, groups), np.nan)
    if not model.converged:
        return out
    beta = np.asarray(model.params)
    hazard = np.asarray(expit(design @ beta))
    scores = data.scores(design, hazard)
    bread = np.asarray(model.normalized_cov_params)
    clusters = np.count_nonzero(sizes)
    covariance = bread @ (scores.T @ scores) @ bread * clusters / max(clusters - 1, 1)
    share = data.risk / data.risk.sum()
    other = design.copy()
    for g in range(groups):
        other[:, :groups] = np.arange(groups) == g
        there = np.asarray(expit(other @ beta))
        mean = share @ there
        out[0, g] = mean
        if not enough(sizes):
            continue
        slope = (share * there * (1 - there)) @ other
        error = np.sqrt(slope @ covariance @ slope) / (mean * (1 - mean))
        reach = t.ppf(0.975, effective(sizes) - 1) * error
        out[1:, g] = expit(logit(mean) + np.array([-reach, reach]))
    return out

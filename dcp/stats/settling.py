"""Are tokens whose prediction settled early dropped sooner? Traces with ``settled`` to a table.

A token's group is the layer from which on, when it was read, all layers said what the last one
said. Groups are thirds of the tokens, cut at whole layers. Drop rates are Kaplan-Meier over token
and layer, intervals resample texts, or blocks of steps of one text. The group also goes with where
a token stands and what kind of word it is: the difference is given at equal position too; part of
speech is not adjusted for. Knows traces; no model, no words.

Source of the measure: Schuster et al., 2022, arXiv 2207.07061.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.errors import RequestError
from dcp.stats.estimate import by_cluster, cluster_kind, survival
from dcp.stats.intervals import cluster_interval
from dcp.stats.lives import Lives, Phase, Sample
from dcp.stats.rates import MIN_WORDS, check_boot, check_horizon, rates
from dcp.stats.repeats import stretches_of, texts_of
from dcp.trace import Trace

__all__ = ["Difference", "Settling", "settling"]

_POSITIONS = (32, 64, 128, 256, 512, 1024, 2048)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Drop rate of the tokens that settled earliest, less that of the latest, and its 95 %
    interval; nan where there is too little to tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Settling:
    """rates: one row a group, as `dcp.stats.drop_table`; raw: the difference between the first and
    the last group; at_position: the same, groups compared at the same distance from the text's
    start and averaged by the number of early tokens there; interval: what was resampled."""

    rates: pd.DataFrame
    raw: Difference
    at_position: Difference
    interval: str


def settling(
    traces: Sequence[Trace],
    *,
    horizon: int = 32,
    source: Phase = "prompt",
    seed: int = 0,
    n_boot: int = 1000,
) -> Settling:
    """Drop rates within ``horizon`` steps by the layer at which a prediction settled.

    Raises RequestError for traces without ``settled``, or where all settled at one layer.
    """
    check_horizon(horizon)
    check_boot(n_boot)
    if any(trace.settled is None for trace in traces) or not traces:
        raise RequestError("a trace does not say where predictions settled", remedy="settled")
    lives = _lives(traces, source)
    groups = len(lives.names)
    if groups < 2:
        raise RequestError("all predictions settled at one layer: there is nothing to compare")
    table = rates(lives, [horizon], source=source, seed=seed, n_boot=n_boot)
    place = np.searchsorted(_POSITIONS, lives.born, side="right")
    bins = len(_POSITIONS) + 1
    names = tuple(range(groups * bins))
    drops, risks = by_cluster(lives.grouped(names, lives.group * bins + place), horizon)
    shape = (len(drops), groups, bins, horizon + 1)
    drops, risks = drops.reshape(shape), risks.reshape(shape)
    pooled, at_risk = (each.sum(axis=2, keepdims=True) for each in (drops, risks))
    return Settling(
        table,
        _difference(pooled, at_risk, seed=seed, n_boot=n_boot),
        _difference(drops, risks, seed=seed, n_boot=n_boot),
        cluster_kind(lives, len(drops)),
    )


def _difference(drops: Floats, risks: Floats, *, seed: int, n_boot: int) -> Difference:
    """drops, risks [C, G, bins, ages] -> first group less last, in the mean over bins."""
    if min(risks[:, g, :, 1].sum() for g in (0, -1)) < MIN_WORDS:
        return Difference(np.nan, np.nan, np.nan)
    value = _early_less_late(drops, risks, np.ones((1, len(drops))))[0, 0]
    low, high = cluster_interval(
        lambda weights: _early_less_late(drops, risks, weights),
        risks[:, (0, -1)].sum(axis=(1, 2, 3)),
        seed=seed,
        n_boot=n_boot,
    )
    return Difference(float(value), float(low[0]), float(high[0]))


def _early_less_late(drops: Floats, risks: Floats, weights: Floats) -> Floats:
    """[N, 1]: for each row of weights [N, C]."""
    rate, there = [], []
    for group in (0, -1):
        died = np.tensordot(weights, drops[:, group], axes=1)
        exposed = np.tensordot(weights, risks[:, group], axes=1)
        rate.append(1 - survival(died, exposed)[..., -1])
        # A curve is known as far as somebody is at risk, or all are gone.
        there.append((exposed[..., -1] > 0) | (rate[-1] == 1))
    share = np.tensordot(weights, risks[:, 0, :, 1], axes=1) * (there[0] & there[1])
    total = share.sum(axis=1)
    out: Floats = np.divide(
        ((rate[0] - rate[1]) * share).sum(axis=1), total, out=np.full(len(total), np.nan),
        where=total > 0,
    )  # fmt: skip
    return out[:, None]


def _lives(traces: Sequence[Trace], source: Phase) -> Lives:
    """One life per token and layer, in groups of about a third of the tokens."""
    samples: list[Sample] = [(trace, ()) for trace in traces]
    texts, stretches = texts_of(samples), stretches_of(samples)
    columns: dict[str, list[npt.NDArray[np.int64]]] = {}
    numbered = 0
    for number, trace in enumerate(traces):
        assert trace.settled is not None
        begin, end = _span(trace, source)
        tokens = np.arange(begin, end)
        last = trace.n_queries - 1
        death = trace.death[:, begin:end].astype(np.int64)
        event = death <= last
        layers = len(death)
        part = {
            "layer": np.repeat(np.arange(layers), len(tokens)),
            "word": np.tile(numbered + tokens, layers),
            "born": np.tile(tokens, layers),
            "tokens": np.ones(death.size, np.int64),
            "entry": np.full(death.size, -1),
            "duration": np.where(event, death - tokens, last - tokens).ravel(),
            "event": event.ravel().astype(np.int64),
            "group": np.tile(trace.settled[begin:end].astype(np.int64), layers),
            "sample": np.full(death.size, number),
            "stretch": np.full(death.size, stretches[number]),
            "text": np.full(death.size, texts[number]),
        }
        numbered += trace.tokens
        observed = part["duration"] >= 1
        for name, values in part.items():
            columns.setdefault(name, []).append(values[observed])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    layer = joined.pop("group")
    if not len(layer):
        raise RequestError(f"no token of source {source!r} was observed for a step")
    bounds = sorted({int(cut) for cut in np.quantile(layer, [1 / 3, 2 / 3, 1], method="higher")})
    group = np.searchsorted(bounds, layer)
    lows = [int(layer.min()), *(bound + 1 for bound in bounds[:-1])]
    names = tuple(
        f"layer {a}" if a == b else f"layers {a}-{b}" for a, b in zip(lows, bounds, strict=True)
    )
    event = joined.pop("event").astype(np.bool_)
    return Lives(names=names, texts=int(texts.max()) + 1, group=group, event=event, **joined)


def _span(trace: Trace, source: Phase) -> tuple[int, int]:
    """The queries born in ``source``."""
    prompt = min(trace.prompt_tokens, trace.n_queries)
    return {"prompt": (0, prompt), "generated": (prompt, trace.n_queries)}.get(
        source, (0, trace.n_queries)
    )

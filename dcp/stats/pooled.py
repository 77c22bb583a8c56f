"""Every table about parts of speech, over many texts at once.

`pool` makes the tables once, because over hundreds of texts they take minutes; what it makes is a
`dcp.stats.study_file.Study`. Knows samples, no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.progress import Progress, in_parts, silent
from dcp.stats.controls import Policy, control_trace
from dcp.stats.groups import PIECES, TAGGED, By, group_names, groups_of_tags
from dcp.stats.hazard import hazard_of
from dcp.stats.lives import Lives, Phase, Sample, observe
from dcp.stats.noise import noise_of
from dcp.stats.person_period import count
from dcp.stats.rates import rates, rates_by_layer
from dcp.stats.repeats import repeats_said, texts_of
from dcp.stats.study_file import TABLES, Study
from dcp.stats.triggers import trigger_tables, trigger_tokens
from dcp.stats.word_list import word_table

__all__ = ["HORIZONS", "pool"]

HORIZONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Horizons that a study knows (steps); they are the points of its survival curves too."""

LISTED = 40
"""Spellings of each tag in a study's word list, the most frequent."""


def pool(
    samples: Sequence[Sample],
    about: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    n_boot: int = 1000,
    progress: Progress = silent,
) -> Study:
    """The study of ``samples``; ``about`` is kept with it. ``progress`` hears what comes next.

    Tables are split by where the words were born, "prompt" and "generated", as far as there are
    words of both; they are never pooled over the two.
    """
    if not samples:
        raise RequestError("a study needs at least one text")
    sources: list[Phase] = [
        source
        for source in ("prompt", "generated")
        if any(word.source == source for _, words in samples for word in words)
    ]
    made: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    arms = ("gates", *get_args(Policy))
    layers = min(trace.layers for trace, _ in samples)
    begin = in_parts(progress, len(arms) + len(sources) * (2 * (1 + layers) + 1))
    for arm in arms:
        begin(f"drop rates: {arm}")
        runs = samples
        if arm != "gates":
            runs = [(control_trace(trace, arm, seed=seed), words) for trace, words in samples]
        for source in sources:
            lives = observe(runs, by="pos", source=source, pieces="all")
            made["rates"] += [t.assign(arm=arm) for t in _rates(lives, source, seed, n_boot)]
            if arm == "gates":
                made["noise"] += _noise(lives, source, seed)
    for source in sources:
        for layer in (None, *range(layers)):
            begin(f"triggers: {'all layers' if layer is None else f'layer {layer}'}")
            tables = trigger_tables(
                samples, TAGGED, source=source, layer=layer, seed=seed, n_boot=n_boot
            )
            made["triggers"] += [t.assign(by=by, layer=_number(layer)) for by, t in tables.items()]
            if layer is None:
                each = trigger_tokens(samples, source=source, seed=seed, n_boot=n_boot)
                made["triggers"].append(each.assign(by="token", layer=-1))
        cells = count(samples, source=source)
        for layer in (None, *range(layers)):
            begin(f"hazards: {'all layers' if layer is None else f'layer {layer}'}")
            part = cells if layer is None else cells.of_layer(layer)
            made["hazard"] += [
                hazard_of(part, by, source=source).assign(by=by, layer=_number(layer))
                for by in TAGGED
            ]
        begin("words")
        made["words"].append(_words(samples, source))
    # A table of no row has no types to join by.
    frames = {
        name: pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
        for name, tables in made.items()
        if tables
    }
    return Study(
        about={**_about(samples), **(about or {}), "sources": sources},
        **{name: frames.get(name, pd.DataFrame()) for name in TABLES},
    )


def _number(layer: int | None) -> int:
    return -1 if layer is None else layer


def _about(samples: Sequence[Sample]) -> dict[str, Any]:
    first = samples[0][0]
    return {
        "model": first.meta.model,
        "weights_sha256": first.meta.weights_sha256,
        "gate_shift": first.meta.gate_shift,
        "context": max(trace.tokens for trace, _ in samples),
        "texts": int(texts_of(samples).max()) + 1,
        "windows": len(samples),
        "repeats": repeats_said(samples),
        "words": sum(len(words) for _, words in samples),
        "tokens": sum(trace.tokens for trace, _ in samples),
        "layers": min(trace.layers for trace, _ in samples),
        "sparsity": float(np.mean([trace.sparsity_mean_steps() for trace, _ in samples])),
    }


def _groupings(lives: Lives) -> list[tuple[By, Lives]]:
    """The lives, observed by "pos", in the groupings of a study."""
    found: list[tuple[By, Lives]] = []
    for by in TAGGED:
        names, of_tag = group_names(by), groups_of_tags(by)
        found.append((by, lives.grouped(names, of_tag[lives.group])))
    found.append(("pieces", lives.grouped(PIECES, (lives.tokens > 1).astype(np.int64))))
    return found


def _of_length(lives: Lives, pieces: str) -> Lives:
    return lives if pieces == "all" else lives.only((lives.tokens == 1) == (pieces == "single"))


def _rates(lives: Lives, source: Phase, seed: int, n_boot: int) -> list[pd.DataFrame]:
    tables = []
    for pieces in ("single", "multi", "all"):
        chosen = _of_length(lives, pieces)
        for by, grouped in _groupings(chosen):
            if by == "pieces" and pieces != "all":
                continue
            whole = rates(grouped, HORIZONS, source=source, seed=seed, n_boot=n_boot)
            each = rates_by_layer(grouped, HORIZONS, source=source, seed=seed, n_boot=n_boot)
            tables += [
                table.drop(columns=["tokens", "texts", "dropped_share"]).assign(
                    by=by, pieces=pieces
                )
                for table in (whole.assign(layer=-1), each)
            ]
    return tables


def _noise(lives: Lives, source: Phase, seed: int) -> list[pd.DataFrame]:
    tables = []
    for pieces in ("single", "all"):
        chosen = _of_length(lives, pieces)
        for by in TAGGED:
            table = noise_of(chosen, by, horizon=32, source=source, seed=seed)
            tables.append(table.assign(by=by, pieces=pieces))
    return tables


def _words(samples: Sequence[Sample], source: Phase) -> pd.DataFrame:
    table = word_table(samples, source=source, pieces="all")
    spellings = table.groupby("group")["word"].transform("size")
    listed = table.assign(source=source, spellings=spellings).groupby("group", sort=False)
    return listed.head(LISTED).reset_index(drop=True)

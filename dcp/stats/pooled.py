"""A study: every table about parts of speech, over many texts at once, as one small file.

`pool` makes the tables once, because over hundreds of texts they take minutes; `to_json` and
`from_json` carry them to a page that then needs neither traces nor torch. Knows samples, no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from dcp.errors import RequestError, TraceError
from dcp.progress import Progress, in_parts, silent
from dcp.stats.controls import Policy, control_trace
from dcp.stats.groups import PIECES, TAGGED, By, group_names, groups_of_tags
from dcp.stats.hazard import hazard_of
from dcp.stats.lives import Lives, Phase, Sample, observe, texts_of
from dcp.stats.noise import noise_of
from dcp.stats.person_period import count
from dcp.stats.rates import rates, rates_by_layer
from dcp.stats.triggers import trigger_tables
from dcp.stats.word_list import word_table

__all__ = ["HORIZONS", "TABLES", "Study", "from_json", "pool", "to_json"]

HORIZONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Horizons that a study knows (steps); they are the points of its survival curves too."""

FORMAT = 1
LISTED = 40
"""Spellings of each tag in a study's word list, the most frequent."""

TABLES = ("rates", "triggers", "hazard", "noise", "words")


@dataclass(frozen=True, eq=False)
class Study:
    """The tables of many texts, and what they are tables of.

    about     model, weights_sha256, gate_shift, context, texts, windows, words, tokens, layers,
              sources, sparsity, tagger_accuracy and what the maker added
    rates     `dcp.stats.rates` at ``HORIZONS`` with columns arm ("gates" | "random" | "oldest"),
              by ("pos" | "group" | "class" | "pieces"), pieces, layer (-1: all layers together)
    triggers  `trigger_table` with by and layer
    hazard    `hazard_table` with by and layer
    noise     `noise_table` with by and pieces, all layers together, horizon 32
    words     `word_table` by "pos", at most 40 spellings of a tag, with ``spellings``, how many
              there are
    """

    about: Mapping[str, Any]
    rates: pd.DataFrame
    triggers: pd.DataFrame
    hazard: pd.DataFrame
    noise: pd.DataFrame
    words: pd.DataFrame


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
    frames = {name: pd.concat(tables, ignore_index=True) for name, tables in made.items() if tables}
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


# ---- in and out


def to_json(study: Study) -> str:
    """The study as JSON: ``about``, and each table as columns; numbers to five digits."""
    return json.dumps(
        {
            "format": FORMAT,
            "about": dict(study.about),
            **{
                name: {
                    column: [_plain(value) for value in getattr(study, name)[column].tolist()]
                    for column in getattr(study, name).columns
                }
                for name in TABLES
            },
        },
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


def from_json(text: str) -> Study:
    """The study that `to_json` wrote; raises TraceError for anything else."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise TraceError(f"a study of format {data['format']!r} cannot be read: it takes 1")
        tables = {name: pd.DataFrame(dict(data[name])) for name in TABLES}
        about = dict(data["about"])
        for name, columns in _NEEDED.items():
            if len(tables[name]) and not columns <= set(tables[name].columns):
                raise ValueError(f"{name} lacks columns")
            numbers = [c for c in tables[name].columns if c in _NUMBERS]
            tables[name][numbers] = tables[name][numbers].astype(float)
    except TraceError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TraceError("this is not a study: it lacks tables", remedy="study") from error
    return Study(about=about, **tables)


_NEEDED = {
    "rates": {"arm", "by", "pieces", "layer", "source", "group", "horizon", "drop_rate", "words"},
    "triggers": {"by", "layer", "source", "group", "ratio", "null_low", "null_high"},
    "hazard": {"by", "layer", "source", "group", "raw", "adjusted"},
    "noise": {"by", "pieces", "source", "group", "drop_rate", "low", "high"},
    "words": {"group", "source", "word", "times", "spellings"},
}
_NUMBERS = {
    *("drop_rate", "ci_low", "ci_high", "dropped_share", "median_life", "ratio", "null_low"),
    *("null_high", "drops_per_query", "base_rate", "raw", "raw_low", "raw_high", "adjusted"),
    *("adjusted_low", "adjusted_high", "low", "high", "redrawn", "median_age"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value

"""A study: the tables of many texts, and the one small file that carries them to a page.

A page that reads it needs neither traces nor torch. Knows tables, not how they are made
(`dcp.stats.pooled`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dcp.errors import TraceError

__all__ = ["TABLES", "Study", "from_json", "intervals_in", "intervals_said", "to_json"]

FORMAT = 2
TABLES = ("rates", "triggers", "hazard", "noise", "words")


@dataclass(frozen=True, eq=False)
class Study:
    """The tables of many texts, and what they are tables of.

    about     model, weights_sha256, gate_shift, context, texts, windows, words, tokens, layers,
              sources, sparsity, tagger_accuracy, repeats (a sentence, "" without any) and what the
              maker added
    rates     `dcp.stats.rates` at ``HORIZONS`` with columns arm ("gates" | "random" | "oldest"),
              by ("pos" | "group" | "class" | "pieces"), pieces, layer (-1: all layers together)
    triggers  `trigger_table` with by and layer, and `trigger_tokens` with by "token"
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


def intervals_in(study: Study, table: str) -> int:
    """How many 95 % intervals a table of the study has. One in twenty of independent ones misses;
    each is by itself, and none says that a whole table is right at once."""
    rows = getattr(study, table)
    column = next((name for name in ("ci_low", "adjusted_low", "low") if name in rows), None)
    return 0 if column is None else int(rows[column].notna().sum())


def intervals_said(study: Study) -> str:
    """How many intervals over texts there are, of how many groups, layers and horizons; those of
    ``noise`` are of the tagger's errors."""
    counts = {name: intervals_in(study, name) for name in TABLES if name != "noise"}
    shown = ", ".join(f"{count:,} of {name}" for name, count in counts.items() if count)
    if not shown:
        return "No intervals: too few texts."
    rates = study.rates
    of = " × ".join(
        f"{rates[column].nunique()} {name}"
        for column, name in (("group", "groups"), ("layer", "layers"), ("horizon", "horizons"))
        if column in rates
    )
    total = sum(counts.values())
    return (
        f"{total:,} intervals in all ({shown}; rates over {of}), each 95 % by itself: were all "
        f"independent, {total / 20:,.0f} would miss, so a single one that stands out says little."
    )


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
            raise TraceError(
                f"a study of format {data['format']!r} cannot be read: it takes {FORMAT}",
                remedy="study",
            )
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
    "noise": {"by", "pieces", "source", "group", "drop_rate", "corrected", "low", "high"},
    "words": {"group", "source", "word", "times", "spellings"},
}
_NUMBERS = {
    *("drop_rate", "ci_low", "ci_high", "dropped_share", "median_life", "ratio", "null_low"),
    *("null_high", "drops_per_query", "base_rate", "raw", "raw_low", "raw_high", "adjusted"),
    *("adjusted_low", "adjusted_high", "low", "high", "redrawn", "median_age"),
    *("corrected", "share"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value

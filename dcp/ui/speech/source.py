"""Where the tables of "Parts of speech" come from: traces in memory, or a study that was saved.

Both answer the same questions with the same columns; a study knows fixed horizons and needs no
trace. Knows no charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import streamlit as st

from dcp.resources import asset
from dcp.speech.tagger import CLASSES, GROUPS, UPOS, class_of, group_of
from dcp.stats.lives import By, Phase, Pieces, Sample
from dcp.stats.pooled import HORIZONS, Study, from_json

__all__ = ["Ask", "Live", "Saved", "Tables", "names_of", "open_study", "studies"]

_FOLDER = asset("traces")


@dataclass(frozen=True)
class Ask:
    """What the tables are asked: the filters of the page."""

    by: By
    horizon: int
    source: Phase
    pieces: Pieces
    layer: int | None


class Tables(Protocol):
    """One set of texts, ready to be asked.

    key       names it in caches
    texts     how many there are
    layers    of the model
    sources   where its words were born
    horizons  those it can tell
    """

    @property
    def key(self) -> str: ...
    @property
    def texts(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def sources(self) -> tuple[Phase, ...]: ...
    @property
    def horizons(self) -> tuple[int, ...]: ...
    def rates(self, ask: Ask) -> pd.DataFrame:
        """`drop_table` of the gates and, column ``arm``, of the controls."""

    def curves(self, ask: Ask) -> pd.DataFrame:
        """group, age, survival, ci_low, ci_high."""

    def by_layer(self, ask: Ask) -> pd.DataFrame:
        """`drop_table` with ``layer``."""

    def triggers(self, ask: Ask) -> pd.DataFrame: ...
    def hazard(self, ask: Ask) -> pd.DataFrame: ...
    def noise(self, ask: Ask) -> pd.DataFrame: ...
    def words(self, ask: Ask, group: str) -> pd.DataFrame: ...


def names_of(by: By) -> tuple[str, ...]:
    """The groups of a grouping, in the order charts show them."""
    return {
        "pos": UPOS,
        "group": tuple(GROUPS),
        "class": tuple(CLASSES),
        "pieces": ("single", "multi"),
    }[by]


@dataclass(frozen=True, eq=False)
class Live:
    """Traces in memory; ``key`` names them for as long as they are the same."""

    key: str
    samples: Sequence[Sample]

    @property
    def texts(self) -> int:
        from dcp.stats.lives import texts_of

        return int(texts_of(self.samples).max()) + 1

    @property
    def layers(self) -> int:
        return min(trace.layers for trace, _ in self.samples)

    @property
    def sources(self) -> tuple[Phase, ...]:
        if all(trace.tokens == trace.prompt_tokens for trace, _ in self.samples):
            return ("prompt",)
        return ("prompt", "generated", "both")

    @property
    def horizons(self) -> tuple[int, ...]:
        longest = max(trace.n_queries for trace, _ in self.samples) - 1
        return tuple(range(1, max(2, min(256, longest)) + 1))

    def rates(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "rates", ask, self.samples)

    def curves(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "curves", replace(ask, horizon=self.horizons[-1]), self.samples)

    def by_layer(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "by_layer", replace(ask, layer=None), self.samples)

    def triggers(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "triggers", replace(ask, horizon=1, pieces="all"), self.samples)

    def hazard(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "hazard", replace(ask, horizon=1, pieces="all"), self.samples)

    def noise(self, ask: Ask) -> pd.DataFrame:
        return _live(self.key, "noise", ask, self.samples)

    def words(self, ask: Ask, group: str) -> pd.DataFrame:
        table = _live(self.key, "words", ask, self.samples)
        mine = table[table["group"] == group]
        return mine.assign(spellings=len(mine)).reset_index(drop=True)


@st.cache_data(max_entries=128, show_spinner=False, hash_funcs={Ask: repr})
def _live(key: str, what: str, ask: Ask, _samples: Sequence[Sample]) -> pd.DataFrame:
    """One table; ``key`` stands for the samples in the cache's key."""
    from dcp import stats

    some: dict[str, Any] = {"source": ask.source, "layer": ask.layer}
    more = {**some, "pieces": ask.pieces}
    if what == "rates":
        return stats.drop_table_with_controls(_samples, ask.by, horizon=ask.horizon, **more)
    if what == "curves":
        return stats.drop_curve(_samples, ask.by, ages=ask.horizon, **more)
    if what == "by_layer":
        return stats.drop_table_by_layer(
            _samples, ask.by, horizon=ask.horizon, source=ask.source, pieces=ask.pieces
        )
    if what == "triggers":
        return stats.trigger_table(_samples, ask.by, **some)
    if what == "hazard":
        return stats.hazard_table(_samples, ask.by, **some)
    if what == "noise":
        return stats.noise_table(_samples, ask.by, horizon=ask.horizon, **more)
    return stats.word_table(_samples, ask.by, horizon=ask.horizon, **more)


@dataclass(frozen=True, eq=False)
class Saved:
    """A study that was made before."""

    key: str
    study: Study

    @property
    def texts(self) -> int:
        return int(self.study.about["texts"])

    @property
    def layers(self) -> int:
        return int(self.study.about["layers"])

    @property
    def sources(self) -> tuple[Phase, ...]:
        return tuple(self.study.about["sources"])

    @property
    def horizons(self) -> tuple[int, ...]:
        return HORIZONS

    def rates(self, ask: Ask) -> pd.DataFrame:
        table = self._rates(ask)
        return table[(table.horizon == ask.horizon) & (table.layer == _number(ask.layer))]

    def curves(self, ask: Ask) -> pd.DataFrame:
        table = self._rates(ask)
        table = table[(table.arm == "gates") & (table.layer == _number(ask.layer))]
        told = table[np.isfinite(table.drop_rate)]
        curve = told.assign(
            age=told.horizon,
            survival=1 - told.drop_rate,
            ci_low=1 - told.ci_high,
            ci_high=1 - told.ci_low,
        )
        start = curve.drop_duplicates("group").assign(age=0, survival=1.0, ci_low=1.0, ci_high=1.0)
        return pd.concat([start, curve], ignore_index=True)

    def by_layer(self, ask: Ask) -> pd.DataFrame:
        table = self._rates(ask)
        chosen = (table.arm == "gates") & (table.layer >= 0) & (table.horizon == ask.horizon)
        return table[chosen]

    def triggers(self, ask: Ask) -> pd.DataFrame:
        return self._of(self.study.triggers, ask)

    def hazard(self, ask: Ask) -> pd.DataFrame:
        return self._of(self.study.hazard, ask)

    def noise(self, ask: Ask) -> pd.DataFrame:
        table = self.study.noise
        chosen = (table["by"] == ask.by) & (table.source == ask.source)
        return table[chosen & (table.pieces == ask.pieces)]

    def words(self, ask: Ask, group: str) -> pd.DataFrame:
        table = self.study.words
        into = {"group": group_of, "class": class_of}.get(ask.by, str)
        mine = table[(table.source == ask.source) & (table["group"].map(into) == group)]
        every = int(mine.drop_duplicates("group").spellings.sum())
        return mine.sort_values("times", ascending=False, ignore_index=True).assign(spellings=every)

    def _rates(self, ask: Ask) -> pd.DataFrame:
        table = self.study.rates
        chosen = (table["by"] == ask.by) & (table.source == ask.source)
        return table[chosen & (table.pieces == ask.pieces)]

    def _of(self, table: pd.DataFrame, ask: Ask) -> pd.DataFrame:
        chosen = (table["by"] == ask.by) & (table.source == ask.source)
        return table[chosen & (table.layer == _number(ask.layer))]


def _number(layer: int | None) -> int:
    return -1 if layer is None else layer


def studies() -> dict[str, Path]:
    """The bundled studies by the names they are shown by: ``assets/traces/[NAME.]study.json``."""
    found = sorted([*_FOLDER.glob("study.json"), *_FOLDER.glob("*.study.json")])
    return {_name(path): path for path in found}


def _name(path: Path) -> str:
    name = path.name.removesuffix("study.json").rstrip(".")
    return f"Validation study: {name}" if name else "Validation study"


@st.cache_resource(max_entries=4, show_spinner=False)
def open_study(path: str, changed: float) -> Saved:
    """The study in a file; ``changed``, its time, makes a new one out of a file written anew.

    Raises TraceError.
    """
    return Saved(f"{path}:{changed}", from_json(Path(path).read_text(encoding="utf-8")))

"""The tables of "Parts of speech" from a study that was saved: fixed horizons, and no trace."""

from __future__ import annotations

import lzma
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import streamlit as st

from dcp.errors import TraceError
from dcp.resources import asset
from dcp.stats.groups import By, group_of_tag
from dcp.stats.lives import Phase
from dcp.stats.pooled import HORIZONS
from dcp.stats.study_file import Study, from_json
from dcp.ui.speech.source import Filters

__all__ = ["Saved", "open_study", "reference", "studies"]

_FOLDER = asset("traces")
_TOKENS = 12


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

    def rates(self, filters: Filters) -> pd.DataFrame:
        table = self._rates(filters)
        return table[(table.horizon == filters.horizon) & (table.layer == _number(filters.layer))]

    def curves(self, filters: Filters) -> pd.DataFrame:
        table = self._rates(filters)
        table = table[(table.arm == "gates") & (table.layer == _number(filters.layer))]
        told = table[np.isfinite(table.drop_rate)]
        curve = told.assign(
            age=told.horizon,
            survival=1 - told.drop_rate,
            ci_low=1 - told.ci_high,
            ci_high=1 - told.ci_low,
        )
        names = ["age", "survival", "ci_low", "ci_high"]
        curve = curve[["group", "words", *names]].astype(dict.fromkeys(names, float))
        if curve.empty:
            return curve
        start = curve.drop_duplicates("group").assign(
            age=0.0, survival=1.0, ci_low=1.0, ci_high=1.0
        )
        return pd.concat([start, curve], ignore_index=True)

    def by_layer(self, filters: Filters) -> pd.DataFrame:
        table = self._rates(filters)
        chosen = (table.arm == "gates") & (table.layer >= 0) & (table.horizon == filters.horizon)
        return table[chosen]

    def triggers(self, filters: Filters) -> pd.DataFrame:
        return self._of(self.study.triggers, filters)

    def tokens(self, filters: Filters) -> pd.DataFrame:
        table = self._of(self.study.triggers, replace(filters, by=cast(By, "token")))
        return table.head(_TOKENS)

    def hazard(self, filters: Filters) -> pd.DataFrame:
        return self._of(self.study.hazard, filters)

    def noise(self, filters: Filters) -> pd.DataFrame:
        table = self.study.noise
        chosen = (table["by"] == filters.by) & (table.source == filters.source)
        return table[chosen & (table.pieces == filters.pieces)]

    def words(self, filters: Filters, group: str) -> pd.DataFrame:
        table = self.study.words
        groups = table["group"].map(lambda pos: group_of_tag(filters.by, pos))
        mine = table[(table.source == filters.source) & (groups == group)]
        every = int(mine.drop_duplicates("group").spellings.sum())
        return mine.sort_values("times", ascending=False, ignore_index=True).assign(spellings=every)

    def _rates(self, filters: Filters) -> pd.DataFrame:
        table = self.study.rates
        chosen = (table["by"] == filters.by) & (table.source == filters.source)
        return table[chosen & (table.pieces == filters.pieces)]

    def _of(self, table: pd.DataFrame, filters: Filters) -> pd.DataFrame:
        chosen = (table["by"] == filters.by) & (table.source == filters.source)
        return table[chosen & (table.layer == _number(filters.layer))]


def reference(weights: str, filters: Filters) -> tuple[pd.DataFrame, int] | None:
    """The rates [group, drop_rate] that the bundled study of these weights has under the same
    filters, of texts as they were read, and how many texts; None where there is none."""
    for path in studies().values():
        if weights.encode() not in _begun(path):
            continue
        try:
            saved = open_study(str(path), path.stat().st_mtime)
        except TraceError:
            continue
        if saved.study.about["weights_sha256"] == weights and filters.horizon in HORIZONS:
            table = saved.rates(replace(filters, source="prompt"))
            table = table[table.arm == "gates"]
            if len(table):
                return table, saved.texts
    return None


def _number(layer: int | None) -> int:
    return -1 if layer is None else layer


def studies() -> dict[str, Path]:
    """The bundled studies by the names they are shown by: ``assets/traces/[NAME.]study.json``, or
    ``.json.xz``."""
    ours = ("study.json", "*.study.json", "*.study.json.xz")
    return {_name(path): path for path in sorted(p for each in ours for p in _FOLDER.glob(each))}


def _name(path: Path) -> str:
    name = path.name.removesuffix(".xz").removesuffix("study.json").rstrip(".")
    return f"Validation study: {name or 'dcp-mini'}"


@st.cache_resource(max_entries=4, show_spinner=False)
def open_study(path: str, changed: float) -> Saved:
    """The study in a file, cached by path and time of change.

    Raises TraceError.
    """
    try:
        with _opened(Path(path)) as file:
            found = file.read()
    except (OSError, EOFError, lzma.LZMAError) as wrong:
        raise TraceError(f"{Path(path).name} is damaged: {wrong}") from None
    return Saved(f"{path}:{changed}", from_json(found.decode("utf-8", errors="replace")))


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.open(path) if path.suffix == ".xz" else path.open("rb"))


def _begun(path: Path, size: int = 4096) -> bytes:
    """The beginning of a study, which says of what it is; empty for one that cannot be read."""
    try:
        with _opened(path) as file:
            return file.read(size)
    except (OSError, EOFError, lzma.LZMAError):
        return b""

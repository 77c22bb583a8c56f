"""Where the tables of "Parts of speech" come from: traces in memory.

A saved study (`dcp.ui.speech.study`) gives the same tables with the same columns. Knows no charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd
import streamlit as st

from dcp.stats.groups import By
from dcp.stats.lives import Phase, Pieces, Sample

__all__ = ["Filters", "Live", "Tables"]


@dataclass(frozen=True)
class Filters:
    """The filters of the page."""

    by: By
    horizon: int
    source: Phase
    pieces: Pieces
    layer: int | None


class Tables(Protocol):
    """The tables of one set of texts.

    key       unique to the set
    texts     how many there are
    layers    of the model
    sources   where its words were born
    horizons  those it has
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
    def rates(self, filters: Filters) -> pd.DataFrame:
        """`drop_table` of the gates and, column ``arm``, of the controls."""

    def curves(self, filters: Filters) -> pd.DataFrame:
        """group, age, survival, ci_low, ci_high."""

    def by_layer(self, filters: Filters) -> pd.DataFrame:
        """`drop_table` with ``layer``."""

    def triggers(self, filters: Filters) -> pd.DataFrame: ...
    def tokens(self, filters: Filters) -> pd.DataFrame:
        """`trigger_tokens`; empty where they were not counted."""

    def hazard(self, filters: Filters) -> pd.DataFrame: ...
    def noise(self, filters: Filters) -> pd.DataFrame: ...
    def words(self, filters: Filters, group: str) -> pd.DataFrame: ...


@dataclass(frozen=True, eq=False)
class Live:
    """Traces in memory; ``key`` is unique to them."""

    key: str
    samples: Sequence[Sample]

    @property
    def texts(self) -> int:
        from dcp.stats.repeats import texts_of

        return int(texts_of(self.samples).max()) + 1

    @property
    def weights(self) -> str:
        """sha256 of the weights that read the texts."""
        return self.samples[0][0].meta.weights_sha256

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

    def rates(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "rates", filters, self.samples)

    def curves(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "curves", replace(filters, horizon=self.horizons[-1]), self.samples)

    def by_layer(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "by_layer", replace(filters, layer=None), self.samples)

    def triggers(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "triggers", replace(filters, horizon=1, pieces="all"), self.samples)

    def tokens(self, filters: Filters) -> pd.DataFrame:
        plain = replace(filters, by="pos", horizon=1, pieces="all")
        return _live(self.key, "tokens", plain, self.samples)

    def hazard(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "hazard", replace(filters, horizon=1, pieces="all"), self.samples)

    def noise(self, filters: Filters) -> pd.DataFrame:
        return _live(self.key, "noise", filters, self.samples)

    def words(self, filters: Filters, group: str) -> pd.DataFrame:
        table = _live(self.key, "words", filters, self.samples)
        mine = table[table["group"] == group]
        return mine.assign(spellings=len(mine)).reset_index(drop=True)


_TOKENS = 12


# Of one session: tables of words are a person's text.
@st.cache_data(max_entries=128, show_spinner=False, hash_funcs={Filters: repr}, scope="session")
def _live(key: str, what: str, filters: Filters, _samples: Sequence[Sample]) -> pd.DataFrame:
    """One table, cached by ``key``, ``what`` and ``filters``."""
    from dcp import stats

    some: dict[str, Any] = {"source": filters.source, "layer": filters.layer}
    more = {**some, "pieces": filters.pieces}
    if what == "rates":
        return stats.drop_table_with_controls(
            _samples, filters.by, horizon=filters.horizon, least=1, **more
        )
    if what == "curves":
        return stats.drop_curve(_samples, filters.by, ages=filters.horizon, least=5, **more)
    if what == "by_layer":
        return stats.drop_table_by_layer(
            _samples,
            filters.by,
            horizon=filters.horizon,
            source=filters.source,
            pieces=filters.pieces,
            least=5,
        )
    if what == "triggers":
        return stats.trigger_table(_samples, filters.by, **some)
    if what == "tokens":
        return stats.trigger_tokens(_samples, most=_TOKENS, **some)
    if what == "hazard":
        return stats.hazard_table(_samples, filters.by, **some)
    if what == "noise":
        return stats.noise_table(_samples, filters.by, horizon=filters.horizon, **more)
    return stats.word_table(_samples, filters.by, horizon=filters.horizon, **more)

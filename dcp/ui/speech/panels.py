"""The panels of "Parts of speech": each a question, a chart, and a line on how to read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dcp.figures.screen.speech import heatmap, rate_chart, survival_chart
from dcp.figures.screen.speech_behind import (
    hazard_chart,
    noise_chart,
    token_chart,
    trigger_chart,
)
from dcp.stats.groups import group_label, group_names, trigger_names
from dcp.stats.noise import tagger_accuracy
from dcp.ui.speech.finding import finding
from dcp.ui.speech.source import Filters, Live, Tables
from dcp.ui.speech.study import reference
from dcp.ui.speech.take import take

__all__ = ["panels"]

_PLAIN = {"displayModeBar": False, "scrollZoom": False}


def panels(tables: Tables, filters: Filters, first: DeltaGenerator) -> None:
    """All panels, under the same filters. ``first``: where the sentence that sums them up goes."""
    names = group_names(filters.by)
    table = tables.rates(filters)
    if table.empty:
        st.caption("No words here: choose another source, length or horizon.")
        return
    first.markdown(f"**{finding(table, names, filters.horizon)}**")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.header("How soon each kind of word is dropped")
        behind = reference(tables.weights, filters) if isinstance(tables, Live) else None
        chart = rate_chart(table, names, filters.horizon, tables.key, behind)
        chosen = _pick(chart, "speech-rates")
        st.caption(
            f"{int(np.isfinite(table.ci_low).sum())} intervals, each 95 % by itself. "
            "Bars: what the gates dropped; hollow where there are fewer than 20 words. "
            "Hollow marks: random and oldest-first "
            "eviction that drop as many entries per layer and step, so hold the same memory; where "
            "they stand apart from the bar, the gates chose by more than age and number."
            + (
                " Grey strokes: the same rates over the texts of the validation study, as read."
                if behind is not None
                else ""
            )
        )
    with right:
        st.header("The words behind it")
        picked = chosen or st.session_state.get("speech-cell")
        _words(tables, filters, names, picked)
    _survival(tables, filters, names)
    _layers(tables, filters, names)
    _kinds(tables, filters)
    _triggers(tables, filters)
    _effects(tables, filters, names)
    take(tables, filters, table)


def _pick(figure: Any, key: str) -> tuple[str, int | None] | None:
    """Draw a chart that can be clicked; (group, layer) of what was clicked anew, else None."""
    event = st.plotly_chart(
        figure, key=key, on_select="rerun", selection_mode="points", config=_PLAIN
    )
    points = event["selection"]["points"]
    data = points[0].get("customdata") if points else None
    if not data:
        return None
    layer = int(data[1]) if len(data) > 1 else None
    return str(data[0]), layer


def _words(
    tables: Tables, filters: Filters, names: tuple[str, ...], picked: tuple[str, int | None] | None
) -> None:
    """The list of one group: the one clicked last, or chosen in the box."""
    state = st.session_state
    if picked is not None and picked[0] in names and picked != state.get("speech-picked"):
        state["speech-picked"], state["speech-group"] = picked, picked[0]
    if state.get("speech-group") not in names:
        counts = tables.rates(filters).drop_duplicates("group")
        known = counts[counts["group"].isin(names)].sort_values("words", ascending=False)
        state["speech-group"] = known["group"].iloc[0] if len(known) else names[0]
    group = st.selectbox("Words of", names, format_func=group_label, key="speech-group")
    found = tables.words(filters, group)
    if found.empty:
        st.caption("None here.")
        return
    shown = found[[name for name in _WORDS if name in found.columns]]
    st.dataframe(
        shown, hide_index=True, width="stretch", height=352, column_config=_WORDS, key="word-list"
    )
    spellings = int(found.spellings.iloc[0])
    listed = f"the {len(found)} most frequent of {spellings:,}" if len(found) < spellings else ""
    scope = "" if isinstance(tables, Live) else "; words of any length, all layers, 32 steps"
    st.caption(
        f"{group_label(group)}: {listed or f'{spellings:,}'} spellings{scope}. Counts of words "
        "in layers; “dropped when” names the words that were being read, not a cause."
    )


_WORDS: dict[str, Any] = {
    "word": st.column_config.TextColumn("word", width=96),
    "times": st.column_config.NumberColumn("times", width=52),
    "dropped": st.column_config.NumberColumn("dropped", width=64, help="within the horizon"),
    "watched": st.column_config.NumberColumn("of", width=48, help="words times layers"),
    "dropped_when": st.column_config.TextColumn("dropped when read", width=180),
    "median_age": st.column_config.NumberColumn("median age", width=64, format="%.0f"),
    "dropped_later": st.column_config.NumberColumn("later", width=52, help="after the horizon"),
}


def _survival(tables: Tables, filters: Filters, names: tuple[str, ...]) -> None:
    st.header("Survival")
    curves = tables.curves(filters)
    if curves.empty:
        st.caption("No group has the five words that a curve needs.")
        return
    st.plotly_chart(survival_chart(curves, names, tables.key), key="speech-curves", config=_PLAIN)
    st.caption(
        "Kaplan–Meier: the share of words still held so many steps after they were read, for "
        "a layer taken at random. Words alive at the end are censored there. Bands are intervals, "
        "for up to six groups of 20 words or more; pale lines with open marks are of fewer."
    )


def _layers(tables: Tables, filters: Filters, names: tuple[str, ...]) -> None:
    st.header("Layer by layer")
    table = tables.by_layer(filters)
    picked = _pick(
        heatmap(table, names, tables.layers, filters.horizon, tables.key), "speech-heatmap"
    )
    if picked != st.session_state.get("speech-cell"):
        st.session_state["speech-cell"] = picked
        if picked is not None:
            st.rerun(scope="fragment")
    st.caption(
        f"Dropped within {filters.horizon} steps, every layer on its own; the layer filter does "
        "not apply here. Click a cell for the words of its row."
    )


def _kinds(tables: Tables, filters: Filters) -> None:
    one, two = st.columns(2, gap="large")
    with one:
        st.header("Function and content words")
        table = tables.rates(replace(filters, by="class"))
        st.plotly_chart(
            rate_chart(table, group_names("class"), filters.horizon, tables.key),
            key="speech-classes",
            config=_PLAIN,
        )
        st.caption("Open and closed classes of Universal Dependencies.")
    with two:
        st.header("Whole and cut words")
        table = tables.rates(replace(filters, by="pieces", pieces="all"))
        st.plotly_chart(
            rate_chart(table, group_names("pieces"), filters.horizon, tables.key),
            key="speech-lengths",
            config=_PLAIN,
        )
        st.caption(
            "Words that the tokenizer left whole, and words that it cut: these go with their last "
            "living piece. Words of any length, whatever the filter says."
        )


def _triggers(tables: Tables, filters: Filters) -> None:
    st.header("What was read when words were dropped")
    table = tables.triggers(filters)
    if table.empty and not isinstance(tables, Live):
        st.caption("Not in this study.")
        return
    if table.empty or not table.base_rate.iloc[0] > 0:
        st.caption("Nothing was dropped here.")
        return
    names = trigger_names(filters.by)
    st.plotly_chart(trigger_chart(table, names, tables.key), key="speech-triggers", config=_PLAIN)
    st.caption(
        f"Entries dropped when a token of this kind is read, over the mean of all queries, which "
        f"drop {float(table.base_rate.iloc[0]):.2f} per layer. Grey: 95 % of what shuffled labels "
        "give. Every token counts, line breaks and other white space too."
    )
    tokens = tables.tokens(filters)
    if not tokens.empty:
        st.subheader("Token by token")
        st.plotly_chart(token_chart(tokens, tables.key), key="speech-tokens", config=_PLAIN)
        st.caption(
            "Of the tokens that are read 20 times or more those that drop most in all, the most "
            f"first: together {float(tokens['share'].sum()):.0%} of the drops here. ⏎ is a line "
            "break, ␣ other white space."
        )


def _effects(tables: Tables, filters: Filters, names: tuple[str, ...]) -> None:
    one, two = st.columns(2, gap="large")
    with one:
        st.header("Raw and adjusted")
        table = tables.hazard(filters)
        if table.empty and not isinstance(tables, Live):
            st.caption("Not in this study.")
            return
        st.plotly_chart(hazard_chart(table, names, tables.key), key="speech-hazard", config=_PLAIN)
        told = (table["interval"] != "").any() if len(table) else False
        st.caption(
            "Adjusted: a discrete-time hazard model evens out word frequency (a class each half "
            "decade), place in the word, age, step and layer; words with a letter, since what has "
            "none has no frequency. Dotted: all groups together. Each interval is by itself. "
            + (
                "Errors are robust to dependence within clusters."
                if told
                else "Too few texts or blocks for intervals (ten are needed)."
            )
        )
    with two:
        st.header("If the tagger errs")
        table = tables.noise(filters)
        if table.empty:
            st.caption("Not in this study for words of this length.")
            return
        horizon = int(table.horizon.iloc[0])
        st.plotly_chart(
            noise_chart(table, names, horizon, tables.key), key="speech-noise", config=_PLAIN
        )
        scope = "" if isinstance(tables, Live) else " All layers, 32 steps."
        st.caption(
            f"The tagger is right on {tagger_accuracy():.1%} of UD English EWT, raw text. Hollow: "
            "the rates with its errors there taken out, were they blind to what is dropped, and "
            f"95 % over error tables as other text would give them.{scope}"
        )

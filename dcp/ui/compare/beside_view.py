"""One text under several policies, drawn: a verdict, four numbers, maps, costs, words. Knows no
model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dcp.figures.screen.policies import kinds_chart, kl_chart, policy_maps, words_chart
from dcp.policies.registry import POLICIES
from dcp.runs.policies import Beside
from dcp.speech.words import Word
from dcp.stats.policies import (
    in_words,
    policy_table,
    rates_of_policies,
    title_of,
    word_table,
)
from dcp.text.table import to_csv
from dcp.ui.compare.verdict import policies_verdict
from dcp.ui.tiles import tiles
from dcp.ui.wide import wide

__all__ = ["policies_shown"]

_CONFIG = {"displayModeBar": False}
_HELD, _AGAINST = "what each holds", "where each differs from the first"
_COLUMNS: dict[str, Any] = {
    "title": "policy",
    "held": st.column_config.NumberColumn("entries a layer", format="%.1f"),
    "kl": st.column_config.NumberColumn("KL, nats a token", format="%.3f"),
    "perplexity": st.column_config.NumberColumn("perplexity over gates off", format="%.3f"),
    "attention_lost": st.column_config.NumberColumn("attention lost", format="percent"),
    "overlap": st.column_config.NumberColumn("same entries as the first", format="percent"),
}


def policies_shown(beside: Beside, words: Sequence[Word], key: str) -> None:
    """Everything about one text under several policies; ``key`` is unique to it."""
    table = _table(key, beside)
    st.markdown(f"**{policies_verdict(table)}**")
    st.caption(
        "One text; the gates were trained to drop, the other rules were not: "
        "the tables of many texts are in the figure “perplexity”."
    )
    _tiles(table)
    if beside.left_out:
        st.text("\n".join(f"{title_of(n)}: {why}" for n, why in beside.left_out.items()))
    _maps(beside, words, key)
    st.header("What it cost, token by token")
    with wide("kl"):
        st.plotly_chart(kl_chart(beside, table), key="policies-kl", config=_CONFIG)
    st.caption(
        "KL divergence of each prediction from the model's own with its gates off and nothing "
        "dropped, same tokens; at the right the mean of the row. Full colour is the 99th "
        "percentile of all rows; colour grows with the square root."
    )
    if words:
        st.header("Which kinds of words each drops")
        with wide("kinds"):
            st.plotly_chart(kinds_chart(_kinds(key, beside, words), 32), key="policies-kinds",
                            config=_CONFIG)  # fmt: skip
        st.caption(
            "Share of words dropped within 32 steps in a layer taken at random (Kaplan–Meier); "
            "words of any length, of prompt and continuation. Under 20 words a share may be chance."
        )
    _details(beside, table)


def _tiles(table: pd.DataFrame) -> None:
    first = table.iloc[0]
    others = table[(table.index > 0) & (table.policy != "none")]
    found = [
        ("Entries a layer, all of them", f"{first.held:.1f}", "mean over steps and layers"),
        (f"KL of {in_words(first.policy)}", f"{first.kl:.3f}", "nats a token"),
    ]
    if len(others):
        best, near = others.loc[others.kl.idxmin()], others.loc[others.overlap.idxmax()]
        found.append((f"KL of the best other: {best['title']}", f"{best.kl:.3f}", "nats a token"))
        found.append(
            (
                f"Most like {in_words(first.policy)}: {near['title']}",
                f"{100 * near.overlap:.0f} %",
                "of the entries that either holds, both hold",
            )
        )
    tiles(found, "policies")


@st.fragment
def _maps(beside: Beside, words: Sequence[Word], key: str) -> None:
    last = beside.first.n_queries - 1
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    shown = left.segmented_control(
        "The maps show", [_HELD, _AGAINST], default=_HELD, key="policies-maps-of", required=True
    )
    step = last
    if last > 0:
        step = right.slider("At step", 0, last, last, key=f"policies-step-{key}")
    figure = policy_maps(beside, step, against=shown == _AGAINST)
    with wide("maps"):
        st.plotly_chart(figure, key="policies-maps", config=_CONFIG)
    st.caption(
        "Layer × token, all on one axis. Blue: held. Grey: dropped. Equal is the mean over "
        "steps: at a single step the gates hold more or less than a fixed budget."
        if shown == _HELD
        else f"Layer × token. Blue: held by {in_words(next(iter(beside.runs)))} alone. Green: by "
        "this policy alone."
    )
    table = word_table(beside, words, step)
    if len(table):
        st.header("What each kept of the words that mattered")
        with wide("words"):
            st.plotly_chart(words_chart(table), key="policies-words", config=_CONFIG)
        st.caption(
            "The words, in the order of the text, that later tokens attend to most when nothing is "
            "dropped (token 0 and punctuation apart); in each cell the share of layers that hold "
            f"the word, or a piece of it, when step {step} has been read."
        )


@st.cache_data(max_entries=16, show_spinner=False, scope="session")
def _table(key: str, _beside: Beside) -> pd.DataFrame:
    return policy_table(_beside)


@st.cache_data(max_entries=16, show_spinner=False, scope="session")
def _kinds(key: str, _beside: Beside, _words: Sequence[Word]) -> pd.DataFrame:
    return rates_of_policies(_beside, _words)


def _details(beside: Beside, table: pd.DataFrame) -> None:
    with st.expander("All numbers, and the rules"):
        st.dataframe(
            table[list(_COLUMNS)], hide_index=True, width="stretch", column_config=_COLUMNS,
            key="policies-table",
        )  # fmt: skip
        lines = []
        for name, trace in beside.runs.items():
            policy = POLICIES.get(name)
            if policy is None or name == "none" or (name == "gates" and trace is beside.first):
                continue
            rule = (
                "by their order alone, the smallest margins go" if name == "gates" else policy.rule
            )
            budget = "" if trace.meta.budget is None else f" Budget {trace.meta.budget}."
            paper = f" ({policy.paper})" if policy.paper else ""
            differs = f" Ours differs: {policy.differs}." if policy.differs else ""
            lines.append(f"- **{policy.title}**{paper}: {rule}.{budget}{differs}")
        st.markdown("\n".join(lines))
        st.caption(
            "Each has the one budget, equal in all layers, whose entries come nearest to the "
            "first one's in the mean over steps and layers. The weights were trained with the "
            "gates and not with the other rules; gates spread their entries unequally over layers."
        )
    with st.container(horizontal=True):
        st.download_button(
            "Numbers by policy (CSV)", lambda: to_csv(table).encode(), "policies.csv", "text/csv",
            key="take-policies", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "All traces (zip)", lambda: _zip(beside), "policies.zip", "application/zip",
            key="take-policy-traces", on_click="ignore",
        )  # fmt: skip


def _zip(beside: Beside) -> bytes:
    from dcp.figures.paper.figure_set import zipped

    return zipped({f"{name}.safetensors": t.to_bytes() for name, t in beside.runs.items()})

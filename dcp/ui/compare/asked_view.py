"""What is kept for a question beside what a run kept: a sentence, numbers, the text, maps, words.
Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dcp.figures.screen.policies import policy_maps, words_chart
from dcp.policies.registry import POLICIES
from dcp.runs.policies import Asked
from dcp.speech.words import Word
from dcp.stats.policies import differences, in_words, title_of
from dcp.stats.questions import asked_words, leaning, question_table
from dcp.text.table import to_csv
from dcp.ui.put_back.token_text import leaned, token_text
from dcp.ui.tiles import tiles
from dcp.ui.wide import wide

__all__ = ["asked_shown", "asked_verdict"]

_CONFIG = {"displayModeBar": False}
_COLUMNS: dict[str, Any] = {
    "title": "policy",
    "held": st.column_config.NumberColumn("entries a layer", format="%.1f"),
    "covered": st.column_config.NumberColumn("of the question's attention", format="percent"),
    "overlap": st.column_config.NumberColumn("same entries as A", format="percent"),
}


def asked_verdict(table: pd.DataFrame) -> str:
    """What asking changed, in a sentence. table: `question_table`."""
    first, others = table.iloc[0], table.iloc[1:]
    best = others.loc[others.covered.idxmax()]
    return (
        f"When the question has been read each holds {best.held:.0f} entries a layer. Of what the "
        f"question attends to with nothing dropped, {in_words(first.policy)} still held "
        f"{100 * first.covered:.0f} %, {best['title']} {100 * best.covered:.0f} %; they agree on "
        f"{100 * best.overlap:.0f} % of the entries that either holds."
    )


def asked_shown(asked: Asked, words: Sequence[Word], key: str) -> None:
    """All of it; ``key`` is unique to it."""
    table = question_table(asked)
    st.markdown(f"**{asked_verdict(table)}**")
    st.caption(
        "These rules choose by that attention, so they should lead in it. What it is worth for an "
        "answer is another question: the weights were trained with the gates."
    )
    tiles(
        [
            (
                str(row["title"]),
                f"{100 * row.covered:.0f} %",
                f"of the question's attention · {row.held:.1f} entries",
            )
            for _, row in table.iterrows()
        ],
        "question",
    )
    _text(asked, table, key)
    with wide("question-maps"):
        st.plotly_chart(policy_maps(asked.beside, asked.step), key="question-maps", config=_CONFIG)
    st.caption(
        f"Layer × token at step {asked.step}, the first after the question. Blue: held. Grey: "
        "dropped."
    )
    found = asked_words(asked, words)
    if len(found):
        st.header("What each kept of the words that the question attends to")
        with wide("question-words"):
            st.plotly_chart(words_chart(found), key="question-words", config=_CONFIG)
        st.caption(
            "The words, in the order of the text, that the question's tokens attend to most when "
            "nothing is dropped (token 0 and punctuation apart); in each cell the share of layers "
            "that hold the word, or a piece of it."
        )
    _details(asked, table)


@st.fragment
def _text(asked: Asked, table: pd.DataFrame, key: str) -> None:
    forms = list(table["policy"])[1:]
    chosen = st.segmented_control(
        "Kept for the question by", forms, default=forms[min(1, len(forms) - 1)],
        format_func=title_of, key="question-form", required=True,
    )  # fmt: skip
    if chosen is None:
        return
    who = in_words(table.iloc[0].policy)
    lean = leaning(asked, chosen)
    data = leaned(f"{key}|{chosen}", asked.beside.first, lean, title_of(chosen), who)
    token_text(data, "question-text", lambda token: None)
    st.caption(
        f"Blue: {title_of(chosen)} holds the token in more layers than {who}. Orange: fewer. "
        "The fuller the colour, the more layers; arrows mark the largest differences."
    )


def _details(asked: Asked, table: pd.DataFrame) -> None:
    with st.expander("All numbers, and the rules"):
        st.dataframe(
            table[list(_COLUMNS)], hide_index=True, width="stretch", column_config=_COLUMNS,
            key="question-table",
        )  # fmt: skip
        lines = []
        for name in list(table["policy"])[1:]:
            policy, run = POLICIES[name], asked.beside.runs[name]
            budget = f" Budget {run.meta.budget}, of which the question leaves half or more."
            lines.append(f"- **{policy.title}** ({policy.paper}): {policy.rule}.{budget}")
        st.markdown("\n".join(lines))
        st.caption(f"Ours differs from the published forms: {differences(table['policy'])}.")
    st.download_button(
        "Numbers by policy (CSV)", lambda: to_csv(table).encode(), "question.csv", "text/csv",
        key="take-question", on_click="ignore",
    )  # fmt: skip

"""The page about parts of speech: which texts, one row of filters, and the panels below them.

Prompt and generated words are one table only where the reader asks for both together.
"""

from __future__ import annotations

from typing import Literal, cast

import streamlit as st

from dcp.errors import DcpError
from dcp.stats.groups import By
from dcp.stats.intervals import MIN_CLUSTERS
from dcp.stats.lives import Phase, Pieces
from dcp.ui import services
from dcp.ui.look import empty, problem
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.speech.batch import batch
from dcp.ui.speech.panels import panels
from dcp.ui.speech.source import Filters, Live, Tables
from dcp.ui.speech.study import Saved, open_study, studies

__all__ = ["speech"]

THIS, SEVERAL = "This text", "Several texts"
_SOURCES: dict[Phase, str] = {
    "prompt": "you wrote",
    "generated": "the model wrote",
    "both": "both together",
}
_PIECES: dict[Pieces, str] = {"single": "one token", "multi": "several tokens", "all": "any length"}
_GRAINS: dict[Literal["group", "pos"], str] = {"group": "five groups", "pos": "17 tags"}


def speech(session: Session, limits: Settings) -> None:
    """The whole page under its title."""
    saved = studies()
    # A study of hundreds of texts is the better first answer, where there is one.
    where = st.segmented_control(
        "Of which texts",
        [THIS, SEVERAL, *saved],
        default=THIS,
        key="speech-where",
        required=True,
        label_visibility="collapsed",
    )
    try:
        if where in saved:
            path = saved[where]
            tables: Tables | None = open_study(str(path), path.stat().st_mtime)
        elif where == SEVERAL:
            tables = batch(session, limits)
        else:
            tables = _this_text(session)
        if tables is not None:
            _filtered(tables)
    except DcpError as error:
        problem(str(error))


def _this_text(session: Session) -> Live | None:
    trace = session.shown.trace
    if session.work.job is not None:
        st.caption("The statistics follow when the run has ended.")
    elif trace is None:
        empty("There is no text to count yet.", "Generate a run, or open a saved trace.")
    elif trace.n_queries < 2:
        empty("This text is a single token.", "Nothing came after it, so nothing was dropped.")
    else:
        if not session.shown.words:
            session.name_words(services.tag(trace))
        if any(word.complete for word in session.shown.words):
            return Live(session.shown.key, [(trace, session.shown.words)])
        empty("There is no whole word in this text.", "Take one with words in it.")
    return None


@st.fragment
def _filtered(tables: Tables) -> None:
    filters = _filters(tables)
    st.caption(what(tables, filters))
    panels(tables, filters)


def _filters(tables: Tables) -> Filters:
    kind = "saved" if isinstance(tables, Saved) else "live"
    one, two, three, four, five = st.columns([1.9, 2.4, 1.7, 1.1, 1.1], vertical_alignment="bottom")
    horizons = tables.horizons
    help = (
        "1 − S(h), with S the Kaplan–Meier survival: a word alive at the end is not counted as "
        "one that lived that long."
    )
    if kind == "saved":
        horizon = one.select_slider(
            "Dropped within how many steps", horizons, 32, key="speech-horizon-saved", help=help
        )
    else:
        last = horizons[-1]
        chosen = st.session_state.get("speech-horizon", 32)
        st.session_state["speech-horizon"] = min(int(chosen), last)
        horizon = one.slider(
            "Dropped within how many steps", 1, last, key="speech-horizon", help=help
        )
    source = two.radio(
        "Words that",
        tables.sources,
        format_func=_SOURCES.__getitem__,
        key=f"speech-source-{len(tables.sources)}",
        horizontal=True,
    )
    grain = three.radio(
        "Shown as",
        list(_GRAINS),
        index=int(tables.texts > 1),
        format_func=_GRAINS.__getitem__,
        key=f"speech-grain-{'many' if tables.texts > 1 else 'one'}",
        horizontal=True,
    )
    pieces = four.selectbox(
        "Made of", list(_PIECES), format_func=_PIECES.__getitem__, key="speech-pieces"
    )
    layer = five.selectbox(
        "In",
        [None, *range(tables.layers)],
        format_func=lambda i: "all layers" if i is None else f"layer {i}",
        key=f"speech-layer-{tables.layers}",
    )
    return Filters(cast(By, grain), int(horizon), source, pieces, layer)


def what(tables: Tables, filters: Filters) -> str:
    """One line that says what every panel below shows."""
    of = "this one text" if tables.texts == 1 else f"{tables.texts:,} texts"
    by = (
        f"95 % intervals within this text (blocks of 64 steps, where there are {MIN_CLUSTERS})"
        if tables.texts == 1
        else "95 % intervals over texts (resampled whole, all layers together), each by itself"
        if tables.texts >= MIN_CLUSTERS
        else f"no intervals (they need {MIN_CLUSTERS} texts)"
    )
    layers = "all layers" if filters.layer is None else f"layer {filters.layer}"
    model = ""
    if isinstance(tables, Saved):
        about = tables.study.about
        model = (
            f" Model {about['model']} ({str(about['weights_sha256'])[:8]}), gate shift "
            f"{about['gate_shift']:g}, {about['words']:,} words in windows of at most "
            f"{about['context']} tokens."
        )
    return (
        f"Words of {of} that {_SOURCES[filters.source]}, made of {_PIECES[filters.pieces]}, in "
        f"{layers}; {by}; groups of fewer than 20 words stay blank. A word is dropped in a layer "
        "when its last living token is. English tags by a tagger that reads the whole text, so "
        f"also words that the model had not seen yet.{model}"
    )

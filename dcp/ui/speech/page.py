"""The page about parts of speech: which texts, one row of filters, and the panels below them.

Prompt and generated words are one table only where the reader asks for both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, cast

import streamlit as st

from dcp.errors import DcpError
from dcp.speech.english import looks_english
from dcp.stats.groups import By
from dcp.stats.intervals import MIN_CLUSTERS
from dcp.stats.lives import Phase, Pieces
from dcp.stats.study_file import intervals_said
from dcp.trace import Trace
from dcp.ui.look import empty, problem
from dcp.ui.naming import named
from dcp.ui.samples import FOLDER
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.speech.batch import batch
from dcp.ui.speech.panels import panels
from dcp.ui.speech.source import Filters, Live, Tables
from dcp.ui.speech.study import Saved, open_study, studies

__all__ = ["speech"]

THIS, SEVERAL = "This text", "Several texts"
_SOURCES: dict[Phase, str] = {
    "both": "both together",
    "prompt": "the text given",
    "generated": "the model wrote",
}
_OF: dict[Phase, str] = {
    "both": "of the text given and of what the model wrote",
    "prompt": "of the text given",
    "generated": "that the model wrote",
}
_PIECES: dict[Pieces, str] = {"all": "any length", "single": "one token", "multi": "several tokens"}
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
            _language(tables)
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
    elif named(session, trace):
        if any(word.complete for word in session.shown.words):
            return Live(session.shown.key, [(trace, session.shown.words)])
        empty("There is no whole word in this text.", "Take one with words in it.")
    return None


def _language(tables: Tables) -> None:
    """Say where tags mean little: the tagger knows English alone."""
    if not isinstance(tables, Live):
        return
    text = " ".join(trace.text for trace, _ in tables.samples[:20])
    if looks_english(text) is False:
        problem(
            "This does not look like English, the one language that the tagger knows: its tags, "
            "and all that rests on them here, are unreliable."
        )


@st.fragment
def _filtered(tables: Tables) -> None:
    # The answer comes first, above the choices that it depends on.
    first = st.container(key="speech-finding")
    filters = _filters(tables)
    st.caption(what(tables, filters))
    panels(tables, filters, first)


def _filters(tables: Tables) -> Filters:
    kind = "saved" if isinstance(tables, Saved) else "live"
    one, two, three, four, five = st.columns([1.8, 3.0, 1.8, 1.1, 1.1], vertical_alignment="bottom")
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
        "Words of",
        [name for name in _SOURCES if name in tables.sources],
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
    of = "one text" if tables.texts == 1 else f"{tables.texts:,} texts"
    by = (
        f"95 % intervals within this text (blocks of 64 steps; below {MIN_CLUSTERS} of them very "
        "wide ones, as if all words of a block had one fate)"
        if tables.texts == 1
        else "95 % intervals over texts (resampled whole, all layers together), each by itself"
        if tables.texts >= MIN_CLUSTERS
        else f"no intervals (they need {MIN_CLUSTERS} texts)"
        if isinstance(tables, Saved)
        else f"95 % intervals over few texts (below {MIN_CLUSTERS} very wide, as if all words of "
        "a text had one fate)"
    )
    layers = "all layers" if filters.layer is None else f"layer {filters.layer}"
    model = ""
    if isinstance(tables, Saved):
        about = tables.study.about
        model = (
            f" {_model_of(about)}, gate shift "
            f"{about['gate_shift']:g}, {about['words']:,} words in windows of at most "
            f"{about['context']} tokens. {intervals_said(tables.study)}"
        )
    return (
        f"Words {_of(tables, filters)}{of}, {_length(filters.pieces)}, in "
        f"{layers}; {by}. A word is dropped in a layer "
        "when its last living token is. English tags by a tagger that reads the whole text, so "
        f"also words that the model had not seen yet.{model}"
    )


def _of(tables: Tables, filters: Filters) -> str:
    """Whose words, before which texts: those of a study were all given."""
    return "of " if isinstance(tables, Saved) else f"{_OF[filters.source]}, "


def _length(pieces: Pieces) -> str:
    return "of any length" if pieces == "all" else f"made of {_PIECES[pieces]}"


def _model_of(about: Mapping[str, Any]) -> str:
    """The study's model by the name that it has here, else by its weights."""
    weights = str(about["weights_sha256"])
    for path in sorted(FOLDER.glob("*.safetensors")):
        with suppress(DcpError):
            meta = Trace.load(path).meta
            if meta.weights_sha256 == weights:
                return f"Model {meta.model}, weights {weights[:8]}"
    # A study may have been made from a folder that is called "model".
    name = str(about["model"])
    return f"Weights {weights[:8]}" if name == "model" else f"Model {name}, weights {weights[:8]}"

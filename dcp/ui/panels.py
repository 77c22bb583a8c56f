"""Below the view: parts of speech, files to take away, and a saved trace to open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dcp.errors import DcpError, TraceError
from dcp.figures import paper, screen
from dcp.pos import GROUPS, UPOS, group_of
from dcp.trace import Trace
from dcp.ui.look import problem
from dcp.ui.services import tag
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.viewer import static
from dcp.words import Word

__all__ = ["panels"]

Phase = Literal["prompt", "generated", "both"]
_SOURCES: dict[Phase, str] = {
    "prompt": "you wrote",
    "generated": "the model wrote",
    "both": "both together",
}


Pieces = Literal["single", "multi", "all"]
_PIECES: dict[Pieces, str] = {"single": "one token", "multi": "several tokens", "all": "any length"}


def panels(session: Session, limits: Settings) -> None:
    """The tabs under the view, about the trace that is shown."""
    speech, files, opened = st.tabs(["Parts of speech", "Take it away", "Open a saved trace"])
    with speech:
        _speech(session)
    with files:
        _files(session)
    with opened:
        _open(session, limits)


@st.fragment
def _speech(session: Session) -> None:
    trace = session.trace
    if session.job is not None or trace is None:
        st.caption("The statistics follow when the run has ended.")
        return
    if not session.words:
        try:
            session.words = tag(trace)
        except DcpError as error:
            problem(str(error))
            return
    one, two, three, four = st.columns([1.7, 2.1, 1.5, 1.1], vertical_alignment="bottom")
    longest = max(2, min(256, trace.n_queries - 1))
    horizon = one.slider(
        "Horizon: dropped within how many steps",
        1,
        longest,
        min(32, longest),
        key="horizon",
        help="1 − S(h), with S the Kaplan–Meier survival: a word alive at the end is not counted "
        "as one that lived that long.",
    )
    source = two.radio(
        "Words that",
        list(_SOURCES),
        format_func=_SOURCES.__getitem__,
        key="source",
        horizontal=True,
    )
    grain = three.radio("Shown as", ["five groups", "17 tags"], key="grain", horizontal=True)
    grouped = grain == "five groups"
    pieces = four.selectbox("Made of", list(_PIECES), format_func=_PIECES.__getitem__, key="pieces")
    layer = four.selectbox(
        "In",
        [None, *range(trace.layers)],
        format_func=lambda i: "all layers" if i is None else f"layer {i}",
        key="layer",
    )
    ask = Question(horizon, source, pieces, layer, grouped)
    table = _table(session.shown, trace, session.words, ask)
    if table.empty:
        st.caption("No words here: choose another source.")
        return
    st.plotly_chart(
        screen.drop_rate_chart(table, tuple(GROUPS) if grouped else UPOS),
        key="speech",
        config={"displayModeBar": False},
        theme="streamlit",
    )
    st.caption(
        f"Words of this one text that are {_PIECES[pieces]}; a word is dropped in a layer when its "
        "last living token is. "
        "Bars are 95 % intervals within this text (blocks of 64 steps, resampled); groups of fewer "
        "than 20 words stay blank. English tags by a tagger that reads the whole text, so also "
        "words that the model had not seen yet."
    )
    # Shown on demand: the table's code is half a megabyte that the first paint need not wait for.
    if st.toggle("Show the same as a table", key="as_table"):
        st.dataframe(table, hide_index=True, width="stretch", column_config=_COLUMNS)


_COLUMNS: dict[str, Any] = {
    "group": "tag",
    "drop_rate": st.column_config.NumberColumn("dropped", format="percent"),
    "ci_low": st.column_config.NumberColumn("from", format="percent"),
    "ci_high": st.column_config.NumberColumn("to", format="percent"),
    "dropped_share": st.column_config.NumberColumn("dropped by the end", format="percent"),
    "at_risk": "still at risk",
    "median_life": "median life",
}


@dataclass(frozen=True)
class Question:
    """What the statistics are asked."""

    horizon: int
    source: Phase
    pieces: Pieces
    layer: int | None
    grouped: bool


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs={Question: repr})
def _table(shown: str, _trace: Trace, _words: Sequence[Word], ask: Question) -> pd.DataFrame:
    """`drop_table` of one trace; ``shown`` stands for trace and words in the cache's key."""
    from dcp.stats import drop_table

    # One text is short: five groups reach the twenty words that a figure needs where tags do not.
    first = {name: tags[0] for name, tags in GROUPS.items()}
    if ask.grouped:
        _words = [replace(w, pos=first[group_of(w.pos)]) if w.pos else w for w in _words]
    table = drop_table(
        [(_trace, _words)],
        by="pos",
        horizon=ask.horizon,
        source=ask.source,
        layer=ask.layer,
        pieces=ask.pieces,
        n_boot=1000,
    )
    if ask.grouped:
        table["group"] = table["group"].replace({tag: name for name, tag in first.items()})
    return table


@st.fragment
def _files(session: Session) -> None:
    trace = session.trace
    if session.job is not None or trace is None:
        st.caption("There is something to take away when the run has ended.")
        return
    words = session.words
    files: list[tuple[str, str, str, str, Callable[[], bytes]]] = [
        (
            "Trace",
            "run.safetensors",
            "application/octet-stream",
            "Everything; opens here again.",
            trace.to_bytes,
        ),
        (
            "Table",
            "run.csv",
            "text/csv",
            "One row per layer and token.",
            lambda: trace.to_frame(words).to_csv(index=False).encode(),
        ),
        (
            "Page",
            "run.html",
            "text/html",
            "This view as one file that needs no network.",
            lambda: static.html(trace, words).encode(),
        ),
        (
            "PDF",
            "run.pdf",
            "application/pdf",
            "Vector figure, fonts embedded.",
            lambda: paper.render(paper.overview(trace), "pdf"),
        ),
        (
            "PNG",
            "run.png",
            "image/png",
            "The same figure at 300 dots per inch.",
            lambda: paper.render(paper.overview(trace), "png"),
        ),
    ]
    for column, (name, file, kind, about, make) in zip(st.columns(len(files)), files, strict=True):
        column.download_button(
            name,
            make,
            file,
            kind,
            key=f"take-{file}",
            help=about,
            on_click="ignore",
            width="stretch",
        )
        column.caption(about)


@st.fragment
def _open(session: Session, limits: Settings) -> None:
    found = st.file_uploader(
        "A trace file (.safetensors)",
        type=["safetensors"],
        key="upload",
        max_upload_size=limits.upload_mib,
        help="Made by this page, by `python -m dcp trace` or by dcp.record.",
    )
    if found is None or st.session_state.get("opened") == found.file_id:
        if message := st.session_state.get("open_error"):
            problem(message)
        return
    st.session_state["opened"] = found.file_id
    st.session_state["open_error"] = ""
    try:
        if found.size > limits.upload_mib * 2**20:
            raise TraceError(f"the file is larger than {limits.upload_mib} MiB, the limit here")
        trace = Trace.from_bytes(found.getvalue())
    except DcpError as error:
        st.session_state["open_error"] = str(error)
        problem(str(error))
        return
    if session.job is not None:
        session.job.cancel()
        session.job = None
    session.show(trace, (), "upload", "An opened trace.")
    st.rerun()

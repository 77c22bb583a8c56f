"""Below the view: files to take away, a saved trace to open, and the way to the statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from dcp.text.table import to_csv
from dcp.trace import Trace
from dcp.trace.naming import stem
from dcp.ui.look import to_page
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.upload import uploaded_trace
from dcp.viewer import static

__all__ = ["panels"]


def panels(session: Session, limits: Settings) -> None:
    """Draw them."""
    to_page("speech", "Which words were dropped: parts of speech", icon=":material/arrow_forward:")
    files, opened = st.tabs(["Take it away", "Open a saved trace"])
    with files:
        _files(session)
    with opened:
        _open(session, limits)


@st.fragment
def _files(session: Session) -> None:
    trace = session.shown.trace
    if session.work.job is not None or trace is None:
        st.caption("There is something to take away when the run has ended.")
        return
    words = session.shown.words
    run = stem(trace)
    files: list[tuple[str, str, str, str, Callable[[], bytes]]] = [
        (
            "Trace",
            f"{run}.safetensors",
            "application/octet-stream",
            "Everything; opens here again.",
            trace.to_bytes,
        ),
        (
            "Table",
            f"{run}.csv",
            "text/csv",
            "One row per layer and token.",
            lambda: to_csv(trace.to_frame(words)).encode(),
        ),
        (
            "Page",
            f"{run}.html",
            "text/html",
            "This view as one file that needs no network.",
            lambda: static.html(trace, words).encode(),
        ),
        (
            "PDF",
            f"{run}-overview.pdf",
            "application/pdf",
            "The step on screen as a vector figure.",
            lambda: _figure(session, trace, "pdf"),
        ),
        (
            "PNG",
            f"{run}-overview.png",
            "image/png",
            "The same at 300 dots per inch.",
            lambda: _figure(session, trace, "png"),
        ),
    ]
    for column, (name, file, kind, about, make) in zip(st.columns(len(files)), files, strict=True):
        column.download_button(
            name,
            make,
            file,
            kind,
            key=f"take-{name}",
            help=about,
            on_click="ignore",
            width="stretch",
        )
        column.caption(about)


def _figure(session: Session, trace: Trace, kind: Literal["pdf", "png"]) -> bytes:
    # Imported late: the first paint needs no matplotlib.
    from dcp.figures import paper

    # Asked when the button is pressed: the reader has moved since it was drawn.
    step = session.place.step
    return paper.render(paper.overview(trace, step if session.has("step", step) else None), kind)


@st.fragment
def _open(session: Session, limits: Settings) -> None:
    found = uploaded_trace(
        "A trace file (.safetensors)",
        "upload",
        limits,
        help="Made by this page, by `dcp trace` or by `dcp.record`.",
    )
    if found is None or found.trace is None or st.session_state.get("opened") == found.file_id:
        return
    st.session_state["opened"] = found.file_id
    if session.work.job is not None:
        session.work.job.cancel()
        session.work.job = None
    session.show(found.trace, (), "upload", "An opened trace.")
    st.rerun()

"""Below the view: files to take away, a saved trace to open, and the way to the statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from dcp.errors import DcpError, TraceError
from dcp.trace import Trace
from dcp.ui.look import problem, to_page
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.viewer import static

__all__ = ["panels"]


def panels(session: Session, limits: Settings) -> None:
    """What stands under the view, about the trace that is shown."""
    to_page("speech", "Which words were dropped: parts of speech", icon=":material/arrow_forward:")
    files, opened = st.tabs(["Take it away", "Open a saved trace"])
    with files:
        _files(session)
    with opened:
        _open(session, limits)


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
            lambda: _figure(trace, "pdf"),
        ),
        (
            "PNG",
            "run.png",
            "image/png",
            "The same figure at 300 dots per inch.",
            lambda: _figure(trace, "png"),
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


def _figure(trace: Trace, kind: Literal["pdf", "png"]) -> bytes:
    # Imported when it is asked for: matplotlib is no part of a first paint.
    from dcp.figures import paper

    return paper.render(paper.overview(trace), kind)


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

"""Several texts at once: typed or uploaded, read in the worker's line, kept for this session."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dcp.errors import DcpError, RequestError
from dcp.stats.lives import Sample
from dcp.ui import services
from dcp.ui.asked import Asked, ask, last_asked
from dcp.ui.follow import follow_task
from dcp.ui.look import problem
from dcp.ui.session import Session
from dcp.ui.settings import Settings
from dcp.ui.speech.source import Live
from dcp.ui.task import Report

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["batch"]


@dataclass(frozen=True)
class Batch:
    """The windows that were read, and how many there are."""

    samples: tuple[Sample, ...]
    windows: int


def batch(session: Session, limits: Settings) -> Live | None:
    """The form for several texts; the tables of those read last, or None."""
    state = st.session_state
    asked: Asked[Batch] | None = last_asked("speech")
    with st.expander("The texts", expanded=asked is None):
        typed = st.text_area(
            "Texts, one after the other; a blank line ends a text",
            key="speech-texts",
            height=132,
            max_chars=limits.characters,
            persist_state="session",
        )
        found = st.file_uploader(
            "and files of texts (.txt, UTF-8)",
            type=["txt"],
            accept_multiple_files=True,
            key="speech-files",
            max_upload_size=limits.upload_mib,
        )
        busy = asked is not None and asked.waiting
        if st.button("Read them", type="primary", key="speech-read", disabled=busy):
            try:
                text = _joined(typed or "", [file.getvalue() for file in found], limits)
            except DcpError as error:
                state["speech-error"] = str(error)
            else:
                state["speech-error"] = ""
                most = 16 if limits.public else 2048
                work = _reading(text, most)
                ask(session, limits, "speech", secrets.token_hex(4), work, _model(session))
                st.rerun()
        if message := state.get("speech-error"):
            problem(message)
    if asked is None:
        st.caption(
            "Each text is read on its own, in windows of at most the model's context, and nothing "
            "is written on. With ten texts or more, intervals speak of texts like these."
        )
        return None
    result = follow_task(asked.task, "speech")
    if result is None or not result.samples:
        return None
    if len(result.samples) < result.windows:
        st.caption(f"{len(result.samples)} of {result.windows} windows were read.")
    return Live(str(asked.about), result.samples)


def _model(session: Session) -> str | None:
    """The model that made what is shown, the default one where nothing is."""
    trace = session.shown.trace
    return None if trace is None else services.maker_of(session, trace).name


def _joined(typed: str, files: list[bytes], limits: Settings) -> str:
    """All texts as one, files after each other; raises RequestError in one line."""
    try:
        parts = [typed, *(data.decode("utf-8-sig") for data in files)]
    except UnicodeDecodeError:
        raise RequestError("One of the files is not UTF-8 text: save it as UTF-8.") from None
    text = "\n\n".join(part.replace("\r\n", "\n") for part in parts)
    if not text.strip():
        raise RequestError("There is no text yet: type some, or add a file.")
    if len(text) > limits.characters:
        raise RequestError(
            f"The texts have {len(text):,} characters; at most {limits.characters:,} are read here."
        )
    return text


def _reading(text: str, most: int) -> Callable[[OpenModel, Report], Batch]:
    def read(model: OpenModel, report: Report) -> Batch:
        from dcp.study import make_plan, record_window

        plan, windows = make_plan(Path("texts"), text, model)
        samples: list[Sample] = []
        for window in windows[:most]:
            done = len(samples)
            report.progress(done / len(windows), f"Reading window {done + 1} of {len(windows)}.")
            trace = record_window(window, plan, model, cancel=report.cancelled)
            if report.cancelled():
                break
            samples.append((trace, services.tag(trace)))
        return Batch(tuple(samples), len(windows))

    return read

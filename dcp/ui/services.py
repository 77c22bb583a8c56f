"""What all sessions of one server share: the worker and the way it starts runs and tags words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import streamlit as st

from dcp.trace import Trace
from dcp.ui.settings import Settings
from dcp.ui.worker import Recording, Request, Worker
from dcp.words import Word

__all__ = ["begin", "tag", "warm", "worker"]


@st.cache_resource(show_spinner=False)
def worker(limits: Settings) -> Worker:
    """The server's one line of runs."""
    return Worker(
        begin, tag, limits.workers, seconds=limits.seconds, idle_seconds=limits.idle_seconds
    )


def begin(request: Request, leave: Callable[[], bool]) -> Recording:
    """Start a run: loads torch and the model on first use. Raises DcpError."""
    from dcp.recorder import Recorder

    return Recorder.begin(
        request.text,
        model=request.model,
        new_tokens=request.new_tokens,
        temperature=request.temperature,
        seed=request.seed,
        gate_shift=request.gate_shift,
        cancel=leave,
    )


def tag(trace: Trace) -> Sequence[Word]:
    """The words of a trace by the default tagger. Raises RequestError where there is none."""
    from dcp.pos import load_tagger
    from dcp.words import words_of

    return words_of(trace, load_tagger())


@st.cache_resource(show_spinner=False)
def warm() -> threading.Thread:
    """Import what the first run will need, once, after the first page has been painted."""

    def load() -> None:
        time.sleep(1.5)
        import torch  # noqa: F401

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread

"""What all sessions of one server share: the worker, how it starts runs and tasks, tags words."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from dcp.errors import DcpError, ModelError, RequestError
from dcp.model.registry import ModelInfo
from dcp.runs.request import TextRequest
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui.home import home_name, in_order, listed
from dcp.ui.presence import connected, visitor
from dcp.ui.settings import Settings
from dcp.ui.task import Report, Task
from dcp.ui.threads import start
from dcp.ui.worker import Recording, Worker

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel
    from dcp.speech.tagger import Tagger
    from dcp.ui.session import Session

__all__ = [
    "Maker",
    "begin",
    "maker_of",
    "models",
    "set_apart",
    "submit_task",
    "tag",
    "warm",
    "worker",
]

T = TypeVar("T")


@st.cache_resource(show_spinner=False)
def worker(limits: Settings) -> Worker:
    """The server's one line of runs."""
    return Worker(
        begin,
        tag,
        limits.workers,
        seconds=limits.seconds,
        idle_seconds=limits.idle_seconds,
        waiting=limits.waiting,
        present=connected,
        visitor=visitor,
    )


def begin(request: TextRequest, leave: Callable[[], bool]) -> Recording:
    """Start a run: loads torch and the model on first use. Raises DcpError."""
    from dcp.runs.recorder import Recorder

    model = request.model
    opened = _open(model) if model is None or isinstance(model, str) else model
    return Recorder.begin(replace(request, model=opened), leave)


def submit_task(
    owner: str,
    model: str | None,
    task: Callable[[OpenModel, Report], T],
    limits: Settings,
) -> Task[T]:
    """Put work with a model in the worker's line; poll the `Task` that comes back.

    ``model`` None is that of a new window; a public server opens none but the bundled ones.
    """

    def do(report: Report) -> T:
        if limits.public and model is not None and model not in {m.name for m in models()}:
            raise RequestError("only the bundled models run here; choose one of them")
        report.progress(0, "Loading the model.")
        return task(_open(model), report)

    return worker(limits).ask(owner, do)


def models() -> list[ModelInfo]:
    """The bundled models, that of a new window first; empty where they cannot be listed (the first
    page says why)."""
    try:
        return in_order(listed())
    except DcpError:
        return []


@dataclass(frozen=True)
class Maker:
    """The model that made a trace, as `submit_task` takes it; ``known`` False: that of a new
    window."""

    name: str | None
    known: bool


def maker_of(session: Session, trace: Trace) -> Maker:
    """Which model made ``trace``: the one rule on what a trace may open.

    A run of this window was made by the model chosen for it. A file may name any folder or Hub id,
    so its name is believed only where it is a bundled model's.
    """
    if session.shown.origin == "run" and trace is session.shown.trace:
        return Maker(session.shown.model, known=True)
    name = trace.meta.model
    known = name in {model.name for model in models()}
    return Maker(name if known else None, known)


def _open(name: str | None) -> OpenModel:
    """With its gates, or without any where the model has none: a rule can decide for it."""
    from dcp.model.registry import open_model

    name = name or home_name()
    with _OPENING:
        # Kept there, and read again when its folder changed.
        try:
            model = open_model(name)
        except ModelError as without:
            if without.remedy != "gates":
                raise
            model = open_model(name, gates=False)
    set_apart(f"model {model.loaded.weights_sha256}")
    return model


def set_apart(name: str) -> None:
    """After something called ``name`` was imported or loaded for the first time: take all that is
    there out of the garbage collector's rounds.

    A round goes through every object of torch, spaCy and the pages while it holds the interpreter's
    lock: 0.3 s that a run waits for.
    """
    with _SETTING_APART:
        if name in _APART:
            return
        _APART.add(name)
        gc.collect()
        gc.freeze()


_APART: set[str] = set()
_SETTING_APART = threading.Lock()


# Two requests for one model or tagger must not load it twice.
_OPENING, _TAGGING = threading.Lock(), threading.Lock()


def tag(trace: Trace) -> Sequence[Word]:
    """The words of a trace by the default tagger. Raises RequestError where there is none."""
    from dcp.speech.words import words_of

    return words_of(trace, _tagger())


def _tagger() -> Tagger:
    from dcp.speech.tagger import load_tagger

    with _TAGGING:
        return load_tagger()


@st.cache_resource(show_spinner=False)
def warm() -> threading.Thread:
    """Load what the first run will need, once, after the first page has been painted."""
    leave = threading.Event()

    def load() -> None:
        if leave.wait(1.5):
            return
        # What is missing is reported when it is needed.
        with suppress(DcpError):
            _open(None)
        with suppress(DcpError):
            _tagger()
        set_apart("tagger")

    return start(load, "warm-up", leave.set)

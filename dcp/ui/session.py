"""What one browser window is looking at: a sample, a run or an upload. One object per session."""

from __future__ import annotations

import runpy
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st

from dcp.resources import root
from dcp.runs.request import TextRequest
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.task import Task
from dcp.ui.worker import Job, Status

__all__ = ["Session", "current"]

Origin = Literal["sample", "run", "upload", "nothing"]


_ENTERED = "entered"


@dataclass
class Session:
    """The state of one window.

    owner   names the session to the worker
    job     the run that is on; None when nothing is
    planned, asked  of that run: its new tokens, and its model as it was chosen
    page    the title of the page that is open
    task, task_page  work of the model that some page waits for, and that page's title
    model   of the run that is shown: its model as it was chosen, None for the default one
    trace   what is shown when no run is on, with its ``words``
    shown   names what is shown; the view keeps its step while it stays the same
    note    one line about what is shown
    error   one line about what went wrong last
    layer, step, token  what the reader looks at, on every page; None before anything was chosen
    address  what the page's address says of them
    """

    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    job: Job | None = None
    planned: int = 0
    asked: str | None = None
    model: str | None = None
    page: str = ""
    task: Task[Any] | None = None
    task_page: str = ""
    trace: Trace | None = None
    words: Sequence[Word] = ()
    origin: Origin = "nothing"
    shown: str = "nothing"
    note: str = ""
    error: str = ""
    layer: int | None = None
    step: int | None = None
    token: int | None = None
    address: Mapping[str, str] = field(default_factory=dict)

    def has(self, part: str, value: int | None) -> bool:
        """Whether the trace that is shown has this "layer", "step" or "token"."""
        if self.trace is None or value is None:
            return False
        trace = self.trace
        ends = {"layer": trace.layers, "step": trace.n_queries, "token": trace.tokens}
        return 0 <= value < ends[part]

    def begin(self, job: Job, request: TextRequest) -> None:
        """A run was put in the line."""
        self.job, self.planned = job, request.new_tokens
        self.asked = request.model if isinstance(request.model, str) else None
        self.shown = f"run-{secrets.token_hex(4)}"

    def end(self, status: Status) -> None:
        """The run has settled; what it left is shown, or why it left nothing."""
        self.job = None
        self.error = status.message if status.state == "failed" else ""
        if status.trace is None:
            if status.state == "stopped":
                self.note = status.message
            return
        self.trace, self.words, self.origin = status.trace, status.words, "run"
        self.model = self.asked
        self._leave_place()
        new = status.trace.tokens - status.trace.prompt_tokens
        read = f"{status.trace.prompt_tokens} tokens read, {new} written."
        self.note = f"{status.message} {read}" if status.message else f"Done: {read}"
        if not status.words:
            self.note += " Parts of speech are not available."

    def show(
        self, trace: Trace, words: Sequence[Word], origin: Literal["sample", "upload"], note: str
    ) -> None:
        """Put a trace on the page that was not made here."""
        self.trace, self.words, self.origin, self.note = trace, words, origin, note
        self.shown, self.error = f"{origin}-{secrets.token_hex(4)}", ""
        self.model = None
        self._leave_place()

    def _leave_place(self) -> None:
        """Another trace: what was chosen in the former one means nothing here."""
        self.layer = self.step = self.token = None


def enter() -> None:
    """Say that the app was entered by its own script; once per page run, before the page."""
    st.session_state[_ENTERED] = True


def current() -> Session:
    """The session of this browser window; a new one shows the first sample.

    Every page asks for it before it draws anything, so that the app's own script has run.
    """
    if _ENTERED not in st.session_state:
        _enter_by_the_door()
    if "session" not in st.session_state:
        session = Session(note="Nothing has run yet: type a text and press Generate.")
        names = sample_names()
        if names:
            trace, words = load_sample(names[0])
            session.show(trace, words, "sample", "A sample run. Press Generate for your own text.")
        st.session_state["session"] = session
    found: Session = st.session_state["session"]
    return found


def _enter_by_the_door() -> None:
    """Run app.py where Streamlit did not.

    Until some window has run app.py, a server that is opened by the link of a page runs the file in
    pages/ alone, without style, sidebar and links; app.py then runs the page.
    """
    runpy.run_path(str(root() / "app.py"), run_name="__main__")
    st.stop()

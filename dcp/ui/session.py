"""One browser window: what it shows, where its reader looks, and what runs for it.

These change at different times: a run that begins leaves what is shown, a click moves only the
place, another trace resets the place.
"""

from __future__ import annotations

import runpy
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import streamlit as st

from dcp.resources import root
from dcp.runs.request import TextRequest
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui.home import home_name, look_again
from dcp.ui.presence import window
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.task import Task
from dcp.ui.worker import Job, Status

__all__ = ["Place", "Session", "Shown", "Work", "current", "enter"]

Origin = Literal["sample", "run", "upload", "nothing"]

_ENTERED = "entered"


@dataclass(frozen=True)
class Shown:
    """What every page is about.

    trace   with its ``words``; None before there is anything
    origin  where it came from
    key     unique to it; the view keeps its step, and caches hold, while it stays the same
    model   of a run made here: its model as it was chosen, None for that of a new window
    note    one line about it
    """

    trace: Trace | None = None
    words: Sequence[Word] = ()
    origin: Origin = "nothing"
    key: str = "nothing"
    model: str | None = None
    note: str = ""


@dataclass
class Place:
    """Where the reader looks, on every page; None before anything was chosen.

    address  what the page's address says of it
    """

    layer: int | None = None
    step: int | None = None
    token: int | None = None
    address: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Work:
    """What the worker does for the window.

    job      the run that is on; None when nothing is
    waiting  the page looks at it as at one that has not begun
    planned  its new tokens; ``model``: as it was chosen
    task     other work of a model, that the page titled ``task_page`` waits for
    """

    job: Job | None = None
    waiting: bool = False
    planned: int = 0
    model: str | None = None
    task: Task[Any] | None = None
    task_page: str = ""


@dataclass
class Session:
    """The state of one window.

    owner  names it to the worker: the window's name
    page   the title of the page that is open
    error  one line about what went wrong last
    """

    owner: str = field(default_factory=window)
    page: str = ""
    error: str = ""
    shown: Shown = field(default_factory=Shown)
    place: Place = field(default_factory=Place)
    work: Work = field(default_factory=Work)

    def has(self, part: str, value: int | None) -> bool:
        """Whether the trace that is shown has this "layer", "step" or "token"."""
        trace = self.shown.trace
        if trace is None or value is None:
            return False
        ends = {"layer": trace.layers, "step": trace.n_queries, "token": trace.tokens}
        return 0 <= value < ends[part]

    def begin(self, job: Job, request: TextRequest) -> None:
        """A run was put in the line. What was shown stays until it has something to show."""
        self.work.job, self.work.planned = job, request.new_tokens
        self.work.model = request.model if isinstance(request.model, str) else None
        self.shown = replace(self.shown, key=_new_key("run"))

    def end(self, status: Status) -> None:
        """The run has settled: show what it left, or say why it left nothing."""
        self.work.job = None
        self.error = status.message if status.state == "failed" else ""
        trace = status.trace
        if trace is None:
            if status.state == "stopped":
                self.shown = replace(self.shown, note=status.message)
            return
        given, written = trace.prompt_tokens, trace.tokens - trace.prompt_tokens
        read = f"{given:,} token{'' if given == 1 else 's'} read, {written} written."
        note = f"{status.message} {read}" if status.message else f"Done: {read}"
        if not status.words:
            note += " Parts of speech are not available."
        self.shown = Shown(trace, status.words, "run", self.shown.key, self.work.model, note)
        self._forget_place()

    def show(
        self, trace: Trace, words: Sequence[Word], origin: Literal["sample", "upload"], note: str
    ) -> None:
        """Show a trace that was not made here."""
        self.shown = Shown(trace, words, origin, _new_key(origin), note=note)
        self.error = ""
        self._forget_place()

    def name_words(self, words: Sequence[Word]) -> None:
        """Add the words of what is shown, found later than its trace."""
        self.shown = replace(self.shown, words=words)

    def _forget_place(self) -> None:
        self.place.layer = self.place.step = self.place.token = None


def _new_key(origin: str) -> str:
    return f"{origin}-{secrets.token_hex(4)}"


def enter() -> None:
    """Note that app.py ran; once per page run, before the page."""
    st.session_state[_ENTERED] = True


def current() -> Session:
    """The session of this browser window; a new one shows the first sample.

    Every page asks for it before it draws anything, so that the app's own script has run.
    """
    if _ENTERED not in st.session_state:
        _run_app_first()
    look_again()
    if "session" not in st.session_state:
        session = Session(shown=Shown(note="Nothing has run yet: type a text and press Generate."))
        names = sample_names(home_name())
        if names:
            trace, words = load_sample(names[0])
            said = f"A sample run of {trace.meta.model}; “Try your own text” makes yours."
            session.show(trace, words, "sample", said)
        st.session_state["session"] = session
    found: Session = st.session_state["session"]
    return found


def _run_app_first() -> None:
    """Run app.py where Streamlit did not.

    Until some window has run app.py, a server that is opened by the link of a page runs the file in
    pages/ alone, without style, sidebar and links; app.py then runs the page.
    """
    runpy.run_path(str(root() / "app.py"), run_name="__main__")
    st.stop()

"""Runs jobs and tasks in threads of their own, visitors by turns: the page only looks on.

A job is one run of one window, a task other work of a model for it; asking anew replaces the
window's former job or task. Pages poll their status; what is for a window that has left is stopped.
Knows no streamlit, no model and no tagger: it is given what to call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from dcp.errors import DcpError, RequestError
from dcp.runs.request import TextRequest
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui.line import Line
from dcp.ui.tagging import Tag, Tagging, TagLater
from dcp.ui.task import Report, Task
from dcp.ui.threads import start
from dcp.ui.turn import Leave, Turn

__all__ = ["Job", "Recording", "State", "Status", "Worker"]

State = Literal["queued", "preparing", "running", "done", "stopped", "failed"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Recording(Protocol):
    """A run in progress; `dcp.runs.recorder.Recorder` is one. Iterating makes it go on."""

    def __iter__(self) -> Iterator[Any]: ...
    def trace(self) -> Trace: ...
    def counters(self) -> Any: ...


Begin = Callable[[TextRequest, Callable[[], bool]], Recording]


@dataclass(frozen=True)
class Status:
    """A job at one moment.

    ahead     jobs before this one in the line
    message   one line: why it failed, or why it ended early
    trace     what has happened so far, None before the first step
    counters  of the same moment as ``trace``
    words     the words known so far; of the whole text once ``settled``
    settled   nothing will change any more
    """

    state: State
    ahead: int = 0
    message: str = ""
    trace: Trace | None = None
    counters: Any = None
    words: Sequence[Word] = ()
    settled: bool = False

    @property
    def active(self) -> bool:
        """Whether it still waits or works."""
        return self.state in ("queued", "preparing", "running")


class Job(Turn):
    """One request and how far it is. Made by `Worker.submit`."""

    def __init__(
        self,
        request: TextRequest,
        begin: Begin,
        words: TagLater,
        ahead: Callable[[Turn], int],
        present: Callable[[], bool],
    ) -> None:
        super().__init__(ahead, present)
        self.request = request
        self._begin, self._words = begin, words
        self._status = Status("queued")
        self._wanted = True

    def status(self) -> Status:
        """How far it is. Asking also says that somebody is still looking."""
        with self._lock:
            self._wanted, self._seen = True, time.monotonic()
            status = self._status
        return replace(status, ahead=self._ahead(self)) if status.state == "queued" else status

    def work(self, leave: Leave) -> None:
        """Run to the end, keeping what has happened so far for whoever looks."""
        self._set(state="preparing")
        recording = self._begin(self.request, leave)
        early: Future[Sequence[Word]] | None = None
        trace: Trace | None = None
        for _ in recording:
            if self._take_wish():
                trace = recording.trace()
                self._set(state="running", trace=trace, counters=recording.counters())
                if early is None:
                    early = self._words(trace)
                elif early.done():
                    self._set(words=early.result())
            if leave():
                break
        state: State = "stopped" if leave.why else "done"
        if trace is None and leave.why:
            self._set(state=state, message=leave.why, settled=True)
            return
        trace = recording.trace()
        self._set(state=state, message=leave.why, trace=trace, counters=recording.counters())
        self._set(words=self._words(trace).result(), settled=True)

    def fail(self, message: str) -> None:
        self._set(state="failed", message=message, settled=True)

    def drop(self, message: str) -> None:
        self._set(state="stopped", message=message, settled=True)

    def _take_wish(self) -> bool:
        with self._lock:
            wanted, self._wanted = self._wanted, False
            return wanted

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)


@dataclass
class Worker:
    """A line of jobs and tasks, and the threads that work on it.

    begin         starts a run; given the request and a function that says whether to stop
    tag           words of a trace; a failure leaves the words empty
    threads       turns at the same time
    seconds       longest a turn may take, None for no limit
    idle_seconds  longest a turn may go on without its window, polled or connected
    waiting       most turns in the line
    present       whether the window of a name is connected
    visitor       whose a window is: visitors share the line by turns
    """

    begin: Begin
    tag: Tag
    threads: int = 1
    seconds: float | None = None
    idle_seconds: float = 90.0
    waiting: int = 1000
    present: Callable[[str], bool] = lambda window: False
    visitor: Callable[[str], str] = lambda window: window
    _line: Line = field(init=False)
    _of: dict[tuple[str, type[Turn]], Turn] = field(default_factory=dict, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._line = Line(self._gone, self.waiting)
        self._tagging = Tagging(self.tag)
        for i in range(self.threads):
            start(self._work, f"inference-{i}", self.close)

    def submit(self, owner: str, request: TextRequest) -> Job:
        """Put a request in the line (full: the job fails); the owner's former job is stopped."""
        there = partial(self.present, owner)
        job = Job(request, self.begin, self._tagging.later, self._place, there)
        self._enter(owner, job)
        return job

    def ask(self, owner: str, do: Callable[[Report], T]) -> Task[T]:
        """Put a task in the same line; the owner's former task, if any, is stopped."""
        task = Task(do, self._place, partial(self.present, owner))
        self._enter(owner, task)
        return task

    def close(self) -> None:
        """Stop all turns and threads."""
        with self._change:
            self._closed = True
            for turn in [*self._line.all(), *self._of.values()]:
                turn.cancel()
            self._change.notify_all()
        self._tagging.close()

    def _enter(self, owner: str, turn: Turn) -> None:
        with self._change:
            former = self._of.get((owner, type(turn)))
            if former is not None:
                former.cancel()
            try:
                lost = self._line.add(self.visitor(owner), turn)
            except RequestError as full:
                turn.fail(str(full))
                return
            self._of[owner, type(turn)] = turn
            self._change.notify()
        if lost is not None:
            lost.fail("The line is full, and others have waited longer; try again in a minute.")

    def _place(self, turn: Turn) -> int:
        with self._change:
            waiting = self._line.order()
            return waiting.index(turn) if turn in waiting else 0

    def _gone(self, turn: Turn) -> bool:
        return turn.cancelled or turn.unseen_for() > self.idle_seconds

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._line and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                turn = self._line.take()
            self._run(turn)
            with self._change:
                self._of = {whose: other for whose, other in self._of.items() if other is not turn}

    def _run(self, turn: Turn) -> None:
        if self._gone(turn):
            turn.drop("Stopped before it began.")
            return
        try:
            turn.work(Leave(turn, self.seconds, self.idle_seconds))
        except DcpError as error:
            turn.fail(str(error))
        except Exception as error:
            _log.exception("a run failed")
            turn.fail(f"The run failed inside the app ({type(error).__name__}); the log says why.")

"""Runs jobs in threads of their own, in the order they came: the page only looks on.

A job is one request of one session; asking anew replaces the session's former job. Pages poll
`Job.status`; a job that nobody polls any more is stopped, because its reader has left. Knows no
streamlit, no model and no tagger: it is given what to call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from dcp.errors import DcpError
from dcp.trace import Trace
from dcp.words import Word

__all__ = ["Job", "Recording", "Request", "State", "Status", "Worker"]

State = Literal["queued", "preparing", "running", "done", "stopped", "failed"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a person asked for. ``model`` None is the default one."""

    text: str
    model: str | None = None
    new_tokens: int = 64
    temperature: float = 0.8
    seed: int = 0
    gate_shift: float = 0.0


class Recording(Protocol):
    """A run in progress; `dcp.record.Recorder` is one. Iterating makes it go on."""

    def __iter__(self) -> Iterator[Any]: ...
    def trace(self) -> Trace: ...
    def counters(self) -> Any: ...


Begin = Callable[[Request, Callable[[], bool]], Recording]
Tag = Callable[[Trace], Sequence[Word]]


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


class Job:
    """One request and how far it is. Made by `Worker.submit`; safe to use from any thread."""

    def __init__(self, request: Request, ahead: Callable[[Job], int]) -> None:
        self.request = request
        self._ahead = ahead
        self._lock = threading.Lock()
        self._status = Status("queued")
        self._stop = threading.Event()
        self._wanted = True
        self._seen = time.monotonic()

    def status(self) -> Status:
        """How far it is. Asking also says that somebody is still looking."""
        with self._lock:
            self._wanted, self._seen = True, time.monotonic()
            status = self._status
        return replace(status, ahead=self._ahead(self)) if status.state == "queued" else status

    def cancel(self) -> None:
        """Stop at the next step, or never start."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def _unseen_for(self) -> float:
        with self._lock:
            return time.monotonic() - self._seen

    def _take_wish(self) -> bool:
        with self._lock:
            wanted, self._wanted = self._wanted, False
            return wanted

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)


@dataclass
class Worker:
    """A line of jobs and the threads that work on it.

    begin         starts a run; given the request and a function that says whether to stop
    tag           words of a trace; a failure leaves the words empty
    threads       jobs at the same time
    seconds       longest a job may take, None for no limit
    idle_seconds  longest a job may go unpolled
    """

    begin: Begin
    tag: Tag
    threads: int = 1
    seconds: float | None = None
    idle_seconds: float = 90.0
    _line: list[Job] = field(default_factory=list, init=False)
    _of: dict[str, Job] = field(default_factory=dict, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._tagging = ThreadPoolExecutor(1, thread_name_prefix="tagger")
        for i in range(self.threads):
            threading.Thread(target=self._work, name=f"inference-{i}", daemon=True).start()

    def submit(self, owner: str, request: Request) -> Job:
        """Put a request in the line; the owner's former job, if any, is stopped."""
        job = Job(request, self._place)
        with self._change:
            former = self._of.get(owner)
            if former is not None:
                former.cancel()
            self._of[owner] = job
            self._line.append(job)
            self._change.notify()
        return job

    def close(self) -> None:
        """Stop all jobs and threads."""
        with self._change:
            self._closed = True
            for job in [*self._line, *self._of.values()]:
                job.cancel()
            self._change.notify_all()
        self._tagging.shutdown(wait=False, cancel_futures=True)

    def _place(self, job: Job) -> int:
        with self._change:
            waiting = [other for other in self._line if not other.cancelled]
            return waiting.index(job) if job in waiting else 0

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._line and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                job = self._line.pop(0)
            self._run(job)
            with self._change:
                self._of = {owner: other for owner, other in self._of.items() if other is not job}

    def _run(self, job: Job) -> None:
        if job.cancelled or job._unseen_for() > self.idle_seconds:
            job._set(state="stopped", message="Stopped before it began.", settled=True)
            return
        job._set(state="preparing")
        try:
            self._record(job)
        except DcpError as error:
            job._set(state="failed", message=str(error), settled=True)
        except Exception as error:
            _log.exception("a run failed")
            message = f"The run failed inside the app ({type(error).__name__}); the log says why."
            job._set(state="failed", message=message, settled=True)

    def _record(self, job: Job) -> None:
        began = time.monotonic()
        why = ""

        def leave() -> bool:
            nonlocal why
            if job.cancelled:
                why = "Stopped."
            elif self.seconds is not None and time.monotonic() - began > self.seconds:
                why = f"Stopped after {self.seconds:.0f} seconds, the limit of this server."
            elif job._unseen_for() > self.idle_seconds:
                why = "Stopped: nobody was looking any more."
            return bool(why)

        recording = self.begin(job.request, leave)
        early: Future[Sequence[Word]] | None = None
        trace: Trace | None = None
        for _ in recording:
            if job._take_wish():
                trace = recording.trace()
                job._set(state="running", trace=trace, counters=recording.counters())
                if early is None:
                    early = self._tagging.submit(self._words, trace)
                elif early.done():
                    job._set(words=early.result())
            if leave():
                break
        state: State = "stopped" if why else "done"
        if trace is None and why:
            job._set(state=state, message=why, settled=True)
            return
        trace = recording.trace()
        job._set(state=state, message=why, trace=trace, counters=recording.counters())
        job._set(words=self._tagging.submit(self._words, trace).result(), settled=True)

    def _words(self, trace: Trace) -> Sequence[Word]:
        try:
            return self.tag(trace)
        except DcpError as error:
            _log.warning("no parts of speech: %s", error)
        except Exception:
            _log.exception("tagging failed")
        return ()

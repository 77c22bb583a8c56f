"""The worker keeps the order, stops when asked, and outlives every failing run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dcp.errors import RequestError
from dcp.trace import Trace
from dcp.ui.settings import Settings, read
from dcp.ui.worker import Job, Request, Status, Worker
from dcp.words import Word
from tests.traces import make_trace

WORD = Word(0, 1, "a", "NOUN", 0, 0, "prompt", True)


class Steps:
    """A recording that takes one step whenever ``go`` is released, ``n`` times."""

    def __init__(self, request: Request, leave: Callable[[], bool], n: int = 3) -> None:
        self.request, self.leave, self.n, self.done = request, leave, n, 0
        self.go = threading.Semaphore(0)

    def __iter__(self) -> Iterator[int]:
        while self.done < self.n:
            while not self.go.acquire(timeout=0.02):
                if self.leave():
                    return
            self.done += 1
            yield self.done

    def trace(self) -> Trace:
        return make_trace(["a "] * (self.done + 1), np.full((2, self.done + 1), -1))

    def counters(self) -> Any:
        return {"done": self.done}


class Stage:
    """A worker whose recordings the test holds in its hands."""

    def __init__(self, tag: Callable[[Trace], Sequence[Word]] | None = None, **limits: Any) -> None:
        self.begun: list[Steps] = []
        self.worker = Worker(self.begin, tag or (lambda trace: [WORD]), **limits)

    def begin(self, request: Request, leave: Callable[[], bool]) -> Steps:
        if request.text == "bad":
            raise RequestError("this text is bad; write another")
        if request.text == "broken":
            raise ZeroDivisionError("deep inside")
        steps = Steps(request, leave)
        self.begun.append(steps)
        if request.text != "held":
            steps.go.release(100)
        return steps


def until(found: Callable[[], Any], seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.005)
    raise AssertionError("it never came")


def settled(job: Job) -> Status:
    until(lambda: job.status().settled)
    return job.status()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.worker.close()


def test_a_run_ends_with_its_trace_and_words(stage: Stage) -> None:
    status = settled(stage.worker.submit("me", Request("fine")))
    assert (status.state, status.message) == ("done", "")
    assert status.trace is not None
    assert status.trace.tokens == 4
    assert list(status.words) == [WORD]
    assert status.counters == {"done": 3}


def test_what_has_happened_so_far_can_be_seen(stage: Stage) -> None:
    job = stage.worker.submit("me", Request("held"))
    steps = until(lambda: stage.begun)[0]
    assert job.status().state == "preparing"
    steps.go.release()
    first = until(lambda: (s := job.status()).trace and s)
    assert (first.state, first.trace.tokens) == ("running", 2)
    steps.go.release(2)
    assert settled(job).trace.tokens == 4


def test_the_line_keeps_its_order_and_tells_it(stage: Stage) -> None:
    jobs = [stage.worker.submit(f"s{i}", Request("held")) for i in range(4)]
    until(lambda: stage.begun)
    assert [job.status().ahead for job in jobs] == [0, 0, 1, 2]
    jobs[1].cancel()
    assert [job.status().ahead for job in jobs[2:]] == [0, 1]
    for i in range(3):
        until(lambda i=i: len(stage.begun) > i)
        stage.begun[i].go.release(3)
    assert [settled(job).state for job in jobs] == ["done", "stopped", "done", "done"]


def test_a_session_has_one_job(stage: Stage) -> None:
    first = stage.worker.submit("me", Request("held"))
    until(lambda: stage.begun)
    second = stage.worker.submit("me", Request("fine"))
    assert settled(first).state == "stopped"
    assert settled(second).state == "done"


def test_sessions_do_not_touch_one_another() -> None:
    stage = Stage(threads=2)
    mine, yours = (stage.worker.submit(name, Request("held")) for name in ("me", "you"))
    until(lambda: len(stage.begun) == 2)
    mine.cancel()
    assert settled(mine).state == "stopped"
    assert yours.status().active
    for steps in stage.begun:
        steps.go.release(3)
    assert settled(yours).state == "done"
    stage.worker.close()


def test_stopping_keeps_what_there_is(stage: Stage) -> None:
    job = stage.worker.submit("me", Request("held"))
    until(lambda: stage.begun)[0].go.release()
    until(lambda: job.status().trace)
    job.cancel()
    status = settled(job)
    assert (status.state, status.message) == ("stopped", "Stopped.")
    assert status.trace.tokens == 2


@pytest.mark.parametrize(
    ("text", "said"), [("bad", "this text is bad; write another"), ("broken", "ZeroDivisionError")]
)
def test_a_failing_run_says_one_line_and_the_worker_lives(
    stage: Stage, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    status = settled(stage.worker.submit("me", Request(text)))
    assert status.state == "failed"
    assert said in status.message
    assert "\n" not in status.message
    assert settled(stage.worker.submit("me", Request("fine"))).state == "done"


def test_a_run_that_nobody_looks_at_is_stopped() -> None:
    stage = Stage(idle_seconds=0.15)
    job = stage.worker.submit("me", Request("held"))
    steps = until(lambda: stage.begun)[0]
    time.sleep(0.3)
    until(lambda: steps.leave())
    assert "nobody was looking" in settled(job).message
    stage.worker.close()


def test_a_run_may_not_take_longer_than_the_server_allows() -> None:
    stage = Stage(seconds=0.1)
    job = stage.worker.submit("me", Request("held"))
    status = settled(job)
    assert status.state == "stopped"
    assert "limit of this server" in status.message
    stage.worker.close()


def test_a_failing_tagger_costs_only_the_words(caplog: pytest.LogCaptureFixture) -> None:
    def broken(trace: Trace) -> Sequence[Word]:
        raise RequestError("no tagger here")

    stage = Stage(broken)
    status = settled(stage.worker.submit("me", Request("fine")))
    assert (status.state, list(status.words)) == ("done", [])
    stage.worker.close()


def test_public_mode_tightens_every_limit() -> None:
    private, public = read({}), read({"DCP_PUBLIC": "1"})
    assert private == Settings()
    assert read({"DCP_PUBLIC": "0"}) == private
    assert public.public
    assert public.workers == 1
    assert public.seconds is not None
    assert public.new_tokens < private.new_tokens
    assert public.upload_mib < private.upload_mib
    assert public.characters < private.characters
    assert public.idle_seconds < private.idle_seconds

"""The worker keeps the order, stops when asked, and outlives every failing run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dcp.errors import RequestError
from dcp.runs.request import TextRequest
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.ui.settings import Settings, read
from dcp.ui.task import Report, Task, TaskStatus
from dcp.ui.worker import Job, Status, Worker
from tests.helpers.traces import make_trace

WORD = Word(0, 1, "a", "NOUN", 0, 0, "prompt", True)


class Steps:
    """A recording that takes one step whenever ``go`` is released, ``n`` times."""

    def __init__(self, request: TextRequest, leave: Callable[[], bool], n: int = 3) -> None:
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

    def begin(self, request: TextRequest, leave: Callable[[], bool]) -> Steps:
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
    status = settled(stage.worker.submit("me", TextRequest("fine")))
    assert (status.state, status.message) == ("done", "")
    assert status.trace is not None
    assert status.trace.tokens == 4
    assert list(status.words) == [WORD]
    assert status.counters == {"done": 3}


def test_what_has_happened_so_far_can_be_seen(stage: Stage) -> None:
    job = stage.worker.submit("me", TextRequest("held"))
    steps = until(lambda: stage.begun)[0]
    assert job.status().state == "preparing"
    steps.go.release()
    first = until(lambda: (s := job.status()).trace and s)
    assert (first.state, first.trace.tokens) == ("running", 2)
    steps.go.release(2)
    assert settled(job).trace.tokens == 4


def test_the_line_keeps_its_order_and_tells_it(stage: Stage) -> None:
    jobs = [stage.worker.submit(f"s{i}", TextRequest("held")) for i in range(4)]
    until(lambda: stage.begun)
    assert [job.status().ahead for job in jobs] == [0, 0, 1, 2]
    jobs[1].cancel()
    assert [job.status().ahead for job in jobs[2:]] == [0, 1]
    for i in range(3):
        until(lambda i=i: len(stage.begun) > i)
        stage.begun[i].go.release(3)
    assert [settled(job).state for job in jobs] == ["done", "stopped", "done", "done"]


def test_a_session_has_one_job(stage: Stage) -> None:
    first = stage.worker.submit("me", TextRequest("held"))
    until(lambda: stage.begun)
    second = stage.worker.submit("me", TextRequest("fine"))
    assert settled(first).state == "stopped"
    assert settled(second).state == "done"


def test_sessions_do_not_touch_one_another() -> None:
    stage = Stage(threads=2)
    mine, yours = (stage.worker.submit(name, TextRequest("held")) for name in ("me", "you"))
    until(lambda: len(stage.begun) == 2)
    mine.cancel()
    assert settled(mine).state == "stopped"
    assert yours.status().active
    for steps in stage.begun:
        steps.go.release(3)
    assert settled(yours).state == "done"
    stage.worker.close()


def test_stopping_keeps_what_there_is(stage: Stage) -> None:
    job = stage.worker.submit("me", TextRequest("held"))
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
    status = settled(stage.worker.submit("me", TextRequest(text)))
    assert status.state == "failed"
    assert said in status.message
    assert "\n" not in status.message
    assert settled(stage.worker.submit("me", TextRequest("fine"))).state == "done"


def test_a_run_that_nobody_looks_at_is_stopped() -> None:
    stage = Stage(idle_seconds=0.15)
    job = stage.worker.submit("me", TextRequest("held"))
    steps = until(lambda: stage.begun)[0]
    time.sleep(0.3)
    until(lambda: steps.leave())
    assert "nobody was looking" in settled(job).message
    stage.worker.close()


def test_a_window_that_is_connected_is_there_however_slowly_it_is_served() -> None:
    connected = {"me"}
    stage = Stage(idle_seconds=0.1, present=connected.__contains__)
    job = stage.worker.submit("me", TextRequest("held"))
    waiting = stage.worker.submit("you", TextRequest("fine"))
    steps = until(lambda: stage.begun)[0]
    time.sleep(0.3)
    assert not steps.leave()
    # Whoever is gone holds no place, and is told so before the turn comes.
    assert stage.worker.submit("me2", TextRequest("fine")).status().ahead == 0
    connected.clear()
    until(lambda: steps.leave())
    assert "nobody was looking" in settled(job).message
    assert settled(waiting).state == "stopped"
    stage.worker.close()


def test_a_visitor_with_many_windows_has_one_place_in_each_round() -> None:
    stage = Stage(visitor=lambda window: window.split("/")[0])
    running = stage.worker.submit("greedy/0", TextRequest("held"))
    until(lambda: stage.begun)
    greedy = [stage.worker.submit(f"greedy/{i}", TextRequest("held")) for i in range(1, 6)]
    late = stage.worker.submit("late/0", TextRequest("fine"))
    assert late.status().ahead == 0
    assert [job.status().ahead for job in greedy] == [1, 2, 3, 4, 5]
    running.cancel()
    assert settled(late).state == "done"
    stage.worker.close()


def test_a_full_line_refuses_the_greedy_and_takes_the_others() -> None:
    stage = Stage(visitor=lambda window: window.split("/")[0], waiting=3)
    stage.worker.submit("greedy/0", TextRequest("held"))
    until(lambda: stage.begun)
    greedy = [stage.worker.submit(f"greedy/{i}", TextRequest("held")) for i in range(1, 5)]
    assert [job.status().state for job in greedy] == [*["queued"] * 3, "failed"]
    assert "try again" in greedy[3].status().message
    others = [stage.worker.submit(f"other{i}", TextRequest("held")) for i in range(3)]
    assert [job.status().state for job in others] == ["queued", "queued", "failed"]
    assert [job.status().state for job in greedy] == ["queued", "failed", "failed", "failed"]
    task = stage.worker.ask("greedy/9", lambda report: 1)
    assert (task.status().state, task.status().active) == ("failed", False)
    stage.worker.close()


def test_a_run_may_not_take_longer_than_the_server_allows() -> None:
    stage = Stage(seconds=0.1)
    job = stage.worker.submit("me", TextRequest("held"))
    status = settled(job)
    assert status.state == "stopped"
    assert "limit of this server" in status.message
    stage.worker.close()


def test_a_failing_tagger_costs_only_the_words(caplog: pytest.LogCaptureFixture) -> None:
    def broken(trace: Trace) -> Sequence[Word]:
        raise RequestError("no tagger here")

    stage = Stage(broken)
    status = settled(stage.worker.submit("me", TextRequest("fine")))
    assert (status.state, list(status.words)) == ("done", [])
    stage.worker.close()


class Held:
    """A task that takes one step whenever ``go`` is released, and gives the steps it took."""

    def __init__(self, n: int = 3) -> None:
        self.go, self.n, self.begun = threading.Semaphore(0), n, threading.Event()

    def __call__(self, report: Report) -> int:
        self.begun.set()
        for i in range(self.n):
            while not self.go.acquire(timeout=0.02):
                report.check()
            report.progress((i + 1) / self.n, f"step {i + 1}")
        return self.n


def over(task: Task[Any]) -> TaskStatus[Any]:
    until(lambda: not task.status().active)
    return task.status()


def test_a_task_leaves_its_result_and_says_how_far_it_is(stage: Stage) -> None:
    held = Held()
    task = stage.worker.ask("me", held)
    held.go.release()
    half = until(lambda: (s := task.status()).share and s)
    assert (half.state, half.share, half.line) == ("running", 1 / 3, "step 1")
    held.go.release(2)
    status = over(task)
    assert (status.state, status.result, status.message) == ("done", 3, "")


def test_runs_and_tasks_wait_in_one_line(stage: Stage) -> None:
    run = stage.worker.submit("me", TextRequest("held"))
    until(lambda: stage.begun)
    held = [Held() for _ in range(3)]
    tasks = [stage.worker.ask(f"s{i}", held[i]) for i in range(3)]
    assert [task.status().position for task in tasks] == [0, 1, 2]
    assert {task.status().state for task in tasks} == {"waiting"}
    tasks[0].cancel()
    assert [task.status().position for task in tasks[1:]] == [0, 1]
    stage.begun[0].go.release(3)
    assert settled(run).state == "done"
    for one in held:
        one.go.release(3)
    assert [over(task).state for task in tasks] == ["stopped", "done", "done"]
    assert not held[0].begun.is_set()


def test_a_new_task_takes_the_place_of_the_former_but_of_no_run() -> None:
    stage = Stage(threads=3)
    run = stage.worker.submit("me", TextRequest("held"))
    first, second = Held(), Held()
    former = stage.worker.ask("me", first)
    until(first.begun.is_set)
    latter = stage.worker.ask("me", second)
    assert over(former).state == "stopped"
    assert (run.status().active, latter.status().active) == (True, True)
    second.go.release(3)
    assert over(latter).result == 3
    stage.worker.close()


def test_a_task_is_stopped_by_its_reader_by_time_and_by_silence(stage: Stage) -> None:
    task = stage.worker.ask("me", Held())
    until(lambda: task.status().state == "running")
    task.cancel()
    assert (over(task).state, over(task).message) == ("stopped", "Stopped.")
    limited = Stage(seconds=0.1)
    assert "limit of this server" in over(limited.worker.ask("me", Held())).message
    limited.worker.close()
    lonely, idle = Held(), Stage(idle_seconds=0.15)
    task = idle.worker.ask("me", lonely)
    until(lonely.begun.is_set)
    time.sleep(0.4)
    assert "nobody was looking" in task.status().message
    idle.worker.close()


def test_a_task_that_ends_in_spite_of_a_stop_keeps_what_it_gave(stage: Stage) -> None:
    def partly(report: Report) -> list[int]:
        done = []
        while not report.cancelled():
            done.append(len(done))
            report.progress(2.0, "on and on")
            time.sleep(0.01)
        return done

    task = stage.worker.ask("me", partly)
    until(lambda: task.status().line)
    assert task.status().share == 1.0
    task.cancel()
    status = over(task)
    assert status.state == "stopped"
    assert status.result


@pytest.mark.parametrize(
    ("error", "said"),
    [(RequestError("ask for less"), "ask for less"), (KeyError("deep"), "KeyError")],
)
def test_a_failing_task_says_one_line_and_the_line_moves_on(
    stage: Stage, error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(report: Report) -> None:
        raise error

    status = over(stage.worker.ask("me", bad))
    assert status.state == "failed"
    assert said in status.message
    assert "\n" not in status.message
    held = Held(0)
    assert over(stage.worker.ask("me", held)).result == 0


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

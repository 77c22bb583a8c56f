"""A process that ends while its threads are in C++ ends well: no abort, no long wait."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from dcp.ui.figures.rounds import Left, Rounds

# What the main thread does last; before it, `busy` calls torch from Python again and again.
_BUSY = """
import torch
def busy():
    begun.set()
    a = torch.ones(64, 64)
    while True:
        a @ a
        leave()
"""
_FIGURE = """
import threading
from dcp.ui.figures.rounds import Rounds
begun, leave = threading.Event(), lambda: None
Rounds().seat("a").submit(busy)
"""
_TASK = """
import threading
from dcp.ui.worker import Worker
begun = threading.Event()
worker = Worker(None, lambda trace: ())
def work(report):
    global leave
    leave = report.check
    busy()
worker.ask("window", work)
"""


_JOB = """
import threading
from dcp.ui.worker import Worker
begun, stop = threading.Event(), None
class Recorder:
    def __iter__(self):
        a = torch.ones(64, 64)
        while not stop():
            a @ a
            begun.set()
            yield 1
    def trace(self):
        return None
    def counters(self):
        return None
def begin(request, leave):
    global stop
    stop = leave
    return Recorder()
Worker(begin, lambda trace: ()).submit("window", None)
"""
# A task that looks at nothing, as a model that loads.
_DEAF = _TASK.replace("report.check", "lambda: None")


@pytest.mark.parametrize(
    "thread", [_FIGURE, _TASK, _JOB, _DEAF], ids=["figure", "task", "job", "deaf"]
)
def test_a_process_that_ends_while_a_thread_is_busy_does_not_abort(thread: str) -> None:
    script = _BUSY + thread + "begun.wait(60)\nimport time\ntime.sleep(0.2)\nprint('ended')\n"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begun < 60


def test_rounds_that_are_closed_break_off_what_runs_and_leave_out_what_waits() -> None:
    rounds, begun = Rounds(), threading.Event()

    def for_ever() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    jobs = [rounds.seat("a").submit(for_ever), rounds.seat("b").submit(for_ever)]
    assert begun.wait(20)
    rounds.close()
    for job in jobs:
        with pytest.raises(Left):
            job.result(20)

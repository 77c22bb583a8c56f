"""A figure has its time, and its window's; whatever is broken off, the next job is drawn."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

import dcp.ui.figures.interrupt as interrupt
from dcp.errors import RequestError
from dcp.ui.figures.interrupt import interruptible
from dcp.ui.figures.previews import PreviewCache
from dcp.ui.figures.rounds import Left, Rounds, TooLong


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "LOOK_SECONDS", 0.01)


def for_ever() -> None:
    while True:
        time.sleep(0)


def stubborn() -> None:
    """Catches whatever is raised in it, twice."""
    for _ in range(2):
        try:
            for_ever()
        except Exception:
            continue
    for_ever()


@pytest.mark.parametrize("work", [for_ever, stubborn])
def test_a_job_that_takes_too_long_is_broken_off_and_the_next_one_is_done(work: Any) -> None:
    rounds = Rounds(seconds=0.05)
    slow = rounds.seat("a").submit(work)
    after = rounds.seat("b").submit(lambda: 7)
    with pytest.raises(RequestError, match="takes longer to draw"):
        slow.result(20)
    assert after.result(20) == 7


def test_a_window_that_leaves_ends_its_figure_at_once() -> None:
    gone = threading.Event()
    rounds = Rounds(seconds=600)
    slow = rounds.seat("a", gone.is_set).submit(for_ever)
    time.sleep(0.05)
    assert not slow.done()
    gone.set()
    with pytest.raises(Left):
        slow.result(20)
    assert rounds.seat("a").submit(lambda: 7).result(20) == 7


def test_a_job_of_many_figures_has_the_time_of_many() -> None:
    rounds = Rounds(seconds=0.05)
    many = replace(rounds.seat("a"), figures=100)
    assert many.submit(time.sleep, 0.3).result(20) is None


def test_nothing_arrives_after_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that ends just when its time does, many times: an exception inside or a result.

    Begun late too: the watcher is there before the work is.
    """
    ends: list[str] = []
    start = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(0.015 * (len(ends) % 3 == 0))

    monkeypatch.setattr(threading.Thread, "start", slowly)
    for i in range(300):
        until = time.monotonic() + 0.01

        def work(stop: float = until + (i % 7 - 3) * 2e-4) -> str:
            while time.monotonic() < stop:
                pass
            return "done"

        try:
            ends.append(interruptible(work, lambda: TooLong))
        except TooLong:
            ends.append("broken off")
        # Whatever is still on its way would arrive in this loop.
        for _ in range(1000):
            pass
    time.sleep(0.05)
    assert len(ends) == 300


def test_a_preview_that_took_too_long_says_so_and_is_not_drawn_again() -> None:
    asked: list[int] = []

    def make() -> Any:
        asked.append(1)
        raise TooLong

    cache = PreviewCache(Rounds().seat("a"))
    assert cache.get("held", make) is None
    waiting: Future[Any] = cache._waiting["held"]
    assert isinstance(waiting.exception(20), TooLong)
    preview = cache.get("held", make)
    assert preview is not None
    assert "takes longer to draw" in str(preview.error)
    assert cache.get("held", make) is preview
    assert asked == [1]

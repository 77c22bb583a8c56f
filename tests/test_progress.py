"""Work says in equal parts how far it is, and may be ended by what its listener raises."""

import doctest

import pytest

from dcp import progress
from dcp.progress import in_parts, silent


def test_each_part_is_said_with_the_share_done_before_it() -> None:
    heard: list[tuple[float, str]] = []
    begin = in_parts(lambda *said: heard.append(said), 4)
    for line in "abcd":
        begin(line)
    assert heard == [(0.0, "a"), (0.25, "b"), (0.5, "c"), (0.75, "d")]


def test_what_the_listener_raises_ends_the_work() -> None:
    def listener(done: float, line: str) -> None:
        raise InterruptedError(line)

    with pytest.raises(InterruptedError, match="reading"):
        in_parts(listener, 2)("reading")


def test_silence_and_the_example_in_the_docstring() -> None:
    silent(0.5, "nobody hears it")
    assert doctest.testmod(progress).failed == 0

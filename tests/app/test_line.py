"""Whatever visitors ask for, the line tells the order it will keep, and nobody is passed over."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from dcp.errors import RequestError
from dcp.ui.line import Line
from dcp.ui.turn import Leave, Turn


class Idle(Turn):
    """A turn that does nothing."""

    def work(self, leave: Leave) -> None:
        pass

    def fail(self, message: str) -> None:
        pass

    def drop(self, message: str) -> None:
        pass


def turn() -> Turn:
    return Idle(lambda turn: 0, lambda: True)


def line(most: int = 1000) -> Line:
    return Line(lambda turn: turn.cancelled, most)


@pytest.mark.parametrize("seed", range(20))
def test_the_order_told_is_the_order_kept(seed: int) -> None:
    rng, waiting = random.Random(seed), line()
    for _ in range(40):
        if rng.random() < 0.6 or not len(waiting):
            waiting.add(f"visitor {rng.randrange(5)}", turn())
        else:
            told = waiting.order()
            assert waiting.take() is told[0]
            assert waiting.order() == told[1:]


@pytest.mark.parametrize("seed", range(20))
def test_between_two_turns_of_a_visitor_every_waiting_visitor_has_one(seed: int) -> None:
    rng, waiting = random.Random(seed), line()
    of = {id(made): name for name in "abcd" for made in [turn() for _ in range(rng.randrange(1, 6))]
          if waiting.add(name, made) is None}  # fmt: skip
    made = [of[id(taken)] for taken in [waiting.take() for _ in range(len(waiting))]]
    for name in "abcd":
        places = [i for i, other in enumerate(made) if other == name]
        for here, there in pairwise(places):
            later = {other for other in made[there:] if other != name}
            assert later <= set(made[here:there])


def test_what_is_not_wanted_holds_no_place_and_leaves_first() -> None:
    waiting, turns = line(), [turn() for _ in range(4)]
    for made in turns:
        waiting.add("me", made)
    turns[2].cancel()
    assert waiting.order() == [turns[0], turns[1], turns[3]]
    assert waiting.take() is turns[2]
    assert waiting.take() is turns[0]


def test_a_full_line_says_so() -> None:
    waiting = line(2)
    waiting.add("me", turn())
    waiting.add("you", turn())
    with pytest.raises(RequestError, match="2 runs are waiting already"):
        waiting.add("they", turn())
    assert len(waiting) == 2

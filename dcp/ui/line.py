"""Who is next: visitors are served in rounds, a visitor's own turns in the order they came.

Someone with five windows has one place in each round, as has someone with one; whoever was served
longest ago, or never, goes first within it. Turns that nobody wants any more hold no place. Not
safe to use from several threads: the worker holds its lock. Knows no thread and no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest

from dcp.errors import RequestError
from dcp.ui.turn import Turn

__all__ = ["Line"]

_KNOWN = 1000


@dataclass
class Line:
    """The turns that wait.

    gone  whether a turn is not wanted any more
    most  turns that may wait at a time
    """

    gone: Callable[[Turn], bool]
    most: int
    _waiting: list[tuple[str, Turn]] = field(default_factory=list, init=False)
    # visitor -> the number of the turn that was taken of it last, oldest first
    _served: OrderedDict[str, int] = field(default_factory=OrderedDict, init=False)
    _taken: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, visitor: str, turn: Turn) -> Turn | None:
        """Let ``turn`` wait; gives the turn that lost its place to it, if one did.

        In a full line whoever has most turns in it loses the last of them to a visitor with fewer.
        Raises RequestError where that is nobody.
        """
        lost = None
        counts = Counter(other for other, _ in self._wanted())
        if counts.total() >= self.most:
            greedy, many = counts.most_common(1)[0]
            if many <= counts[visitor] + 1:
                raise RequestError(
                    f"{self.most} runs are waiting already, all that this server takes; "
                    "try again in a minute"
                )
            lost = [other for name, other in self._wanted() if name == greedy][-1]
            self._waiting.remove((greedy, lost))
        self._waiting.append((visitor, turn))
        return lost

    def order(self) -> list[Turn]:
        """The turns that wait, first one first."""
        of: dict[str, list[Turn]] = {}
        for visitor, turn in self._wanted():
            of.setdefault(visitor, []).append(turn)
        # Sorting is stable: of two that were never served, the first to come.
        visitors = sorted(of, key=lambda visitor: self._served.get(visitor, 0))
        rounds = zip_longest(*(of[visitor] for visitor in visitors))
        return [turn for turns in rounds for turn in turns if turn is not None]

    def take(self) -> Turn:
        """The next turn, which leaves the line; those that are not wanted come first."""
        unwanted = [turn for _, turn in self._waiting if self.gone(turn)]
        turn = unwanted[0] if unwanted else self.order()[0]
        visitor = next(name for name, other in self._waiting if other is turn)
        self._waiting.remove((visitor, turn))
        if not unwanted:
            self._taken += 1
            self._served[visitor] = self._taken
            self._served.move_to_end(visitor)
            while len(self._served) > _KNOWN:
                self._served.popitem(last=False)
        return turn

    def all(self) -> list[Turn]:
        """Every turn in it, wanted or not."""
        return [turn for _, turn in self._waiting]

    def _wanted(self) -> list[tuple[str, Turn]]:
        return [(visitor, turn) for visitor, turn in self._waiting if not self.gone(turn)]

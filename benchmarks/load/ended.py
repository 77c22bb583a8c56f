"""What a visitor saw of one run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ended"]


@dataclass
class Ended:
    """A run as its visitor saw it.

    note     the last line
    seconds  from the press to the end
    places   (moment, runs said to be ahead), whenever it was said
    over     the moment of its end, as the visitor saw it
    """

    note: str
    seconds: float
    places: list[tuple[float, int]]
    over: float

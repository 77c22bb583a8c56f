"""Pieces of a comparison at budgets, measured a few windows at a time and kept in a folder.

A part that is there is not measured again, so a comparison of hours goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

from dcp.evaluate.budgets import SHIFTED, Piece, find_shift, measure, wanted_of
from dcp.evaluate.parts import Parts
from dcp.evaluate.windows import Windows
from dcp.model.weights import LoadedModel
from dcp.policies.budget import TOLERANCE
from dcp.policies.registry import policy_of
from dcp.progress import Progress

__all__ = ["Bench"]

# Tokens that are measured before they are kept, and how often a shift is aimed anew.
_PART_TOKENS, _AIMS = 4096, 4


@dataclass
class Bench:
    """Measures policies a few windows at a time, and keeps each part in ``folder`` if there is one.

    tell  hears what is measured next
    say   hears of files that are damaged
    """

    model: LoadedModel
    baseline: LoadedModel | None
    folder: Path | None
    tell: Progress
    say: Callable[[str], None]

    def whole(self, windows: Windows, budget: int, name: str, done: float) -> Piece:
        """All windows; of several ways to spend a budget the one with the best perplexity."""
        self.tell(done, f"context {windows.context}, budget {budget}: {name}")
        if name == SHIFTED:
            return self._shifted(windows, budget)
        # Gates have one way to spend theirs, as most rules.
        variants = policy_of(name).variants
        found = [self._joined(windows, budget, name, dict(each), None) for each in variants]
        return min(found, key=lambda piece: float(piece.nats.sum()))

    def _shifted(self, windows: Windows, budget: int) -> Piece:
        wanted, share = float(wanted_of(budget, windows.context).mean()), 1.0
        for _ in range(_AIMS):
            shift = self._parts.of(
                f"{windows.context}-{budget}-shift-{share:.4f}.json",
                partial(find_shift, self.model, windows, budget, share),
                float,
                float,
            )
            piece = self._joined(windows, budget, SHIFTED, {}, shift)
            held = float(piece.held.mean()) / wanted
            if abs(held - 1) <= TOLERANCE:
                break
            # All windows hold another share than the few looked at: aim as much beside the mark.
            share /= held
        return piece

    def _joined(
        self, windows: Windows, budget: int, name: str, settings: dict[str, Any],
        shift: float | None,
    ) -> Piece:  # fmt: skip
        way = "".join(f"-{key}{value}" for key, value in settings.items())
        at = "" if shift is None else f"-at{shift:.4f}"
        pieces = [
            self._parts.of(
                f"{windows.context}-{budget}-{name}{way}{at}-{start}.json",
                partial(
                    measure, self.model, some, name, budget, self.baseline,
                    settings=settings, shift=shift,
                ),
                Piece.from_json,
                Piece.to_json,
            )
            for start, some in windows.parts(max(1, _PART_TOKENS // windows.context))
        ]  # fmt: skip
        return reduce(Piece.joined, pieces)

    @property
    def _parts(self) -> Parts:
        return Parts(self.folder, self.say)

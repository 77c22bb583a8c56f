"""Pieces of a comparison at budgets, measured a few windows at a time and kept in a folder.

A part that is there is not measured again, so a comparison of hours goes on where it was stopped.
Policies are measured on the dense model and gates on their own: parts of gates carry their hash, so
that gates trained anew are measured alone, beside the same policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

from dcp.evaluate.beside import Dense, batch_of, read_dense
from dcp.evaluate.budgets import OWN, SHIFTED, Piece, find_shift, measure, wanted_of
from dcp.evaluate.parts import Parts
from dcp.evaluate.windows import Windows
from dcp.model.weights import LoadedModel
from dcp.policies.budget import TOLERANCE
from dcp.policies.registry import policy_of
from dcp.progress import Progress

__all__ = ["Bench"]

# How often a shift is aimed anew, and what may be kept of the dense model, read once for all.
_AIMS, _DENSE_BYTES = 4, 2**28


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
    _dense: dict[tuple[int, int], Dense] = field(default_factory=dict, init=False)

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
        below = self.model.gates and self.model.gates.changes_below
        gates = self._own() + ("" if below is None else f"-below{below:g}")
        for _ in range(_AIMS):
            shift = self._parts.of(
                f"{windows.context}-{budget}-shift{gates}-{share:.4f}.json",
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
        way = self._own(shift) if name in OWN else ""
        way += "".join(f"-{key}{value}" for key, value in settings.items())
        at = "" if shift is None else f"-at{shift:.4f}"
        pieces = [
            self._parts.of(
                f"{windows.context}-{budget}-{name}{way}{at}-{start}.json",
                partial(self._measured, some, start, name, budget, settings, shift),
                partial(_of_as_many, len(some.ids)),
                Piece.to_json,
            )
            for start, some in windows.parts(batch_of(windows.context))
        ]
        return reduce(Piece.joined, pieces)

    def _measured(
        self, windows: Windows, start: int, name: str, budget: int, settings: dict[str, Any],
        shift: float | None,
    ) -> Piece:  # fmt: skip
        at = windows.context, start
        dense = self._dense.get(at) or read_dense(self.baseline or self.model, windows)
        if sum(each.bytes for each in {**self._dense, at: dense}.values()) <= _DENSE_BYTES:
            self._dense[at] = dense
        return measure(
            self.model, windows, name, budget, self.baseline, settings=settings, shift=shift,
            dense=dense,
        )  # fmt: skip

    def _own(self, shift: float | None = None) -> str:
        """What the parts of these gates are told from those of others by: the weights that they
        decide on by margin, or at a ``shift``."""
        model = self.model if shift is None else self.model.at(shift)
        return f"@{model.weights_sha256[:12]}"

    @property
    def _parts(self) -> Parts:
        return Parts(self.folder, self.say)


def _of_as_many(windows: int, value: Any) -> Piece:
    """`Piece.from_json` of that many windows; ValueError for one of a part of another size."""
    piece = Piece.from_json(value)
    if len(piece.nats) != windows:
        raise ValueError(f"measured on {len(piece.nats)} windows, not {windows}")
    return piece

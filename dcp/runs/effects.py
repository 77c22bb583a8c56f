"""What a plan did: to the text's own later tokens, and to a continuation written anew.

Numpy only; `dcp.runs.rescore` and `dcp.runs.rewrite` measure, this says what the numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcp.runs.plans import Controls, Plan

__all__ = ["Effect", "Rewritten", "ordinary"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Effect:
    """What a plan did to the text's own later tokens, beside its controls.

    change          [T] f32     log-prob with the plan minus as recorded (nats); nan up to and with
                                the first changed query, where nothing can change
    control_change  [n, h] f32  the same of each control, by tokens after its own first query
    """

    plan: Plan
    change: Floats
    controls: Controls
    control_change: Floats

    @property
    def after(self) -> Floats:
        """[h] f32: the change by tokens after the drop, as far as it is compared."""
        start = 0 if self.plan.first is None else self.plan.first + 1
        return self.change[start : start + self.controls.horizon]

    @property
    def total(self) -> float:
        """Sum of the change over the horizon (nats)."""
        return float(self.after.sum())

    @property
    def control_totals(self) -> Floats:
        """[n] f32: the same sum of each control."""
        return np.asarray(self.control_change.sum(axis=1), np.float32)

    @property
    def below(self) -> int:
        """How many controls have a smaller sum."""
        return int((self.control_totals < self.total).sum())

    @property
    def as_large(self) -> int:
        """How many controls changed the text at least as much, in either direction."""
        return int((np.abs(self.control_totals) >= abs(self.total)).sum())

    def band(self, share: float = 0.9) -> tuple[Floats, Floats]:
        """[h] and [h]: between these lies the middle ``share`` of the controls at each token."""
        if not len(self.control_change):
            nothing = np.full(self.controls.horizon, np.nan, np.float32)
            return nothing, nothing
        low, high = np.quantile(self.control_change, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return low.astype(np.float32), high.astype(np.float32)


def ordinary(effect: Effect, tokens: int) -> Floats:
    """[T, 2] f32: between these a change is what matched random drops do to a token as long after
    them (middle 90 %); past the horizon, what they do to any. nan without controls."""
    found = np.full((tokens, 2), np.nan, np.float32)
    if not len(effect.control_change) or effect.plan.first is None:
        return found
    found[:] = np.quantile(effect.control_change, [0.05, 0.95])
    start = effect.plan.first + 1
    low, high = effect.band()
    found[start : start + len(low), 0], found[start : start + len(high), 1] = low, high
    return found


@dataclass(frozen=True)
class Rewritten:
    """One text written on twice from token ``start``, by one seed: pieces of text, a token each."""

    start: int
    as_was: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def apart(self) -> int | None:
        """How many tokens are the same before the first that differs; None: all are."""
        pairs = zip(self.as_was, self.changed, strict=False)
        return next((i for i, (one, two) in enumerate(pairs) if one != two), None)

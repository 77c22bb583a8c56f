"""A rule that takes orders: who stays though it lets them go, who goes though it would keep them.

Until the rule lets go of an entry that is to be kept, nothing differs. From then on the entry has a
place of its own beside the budget: the rule does not see it, and goes on as if it were gone. So all
that follows is what reading the entry changed, and none of it what making room for it would have.
An entry that goes by order leaves its place free. Knows no cache and no model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dcp.deaths import GATE
from dcp.policies.rule import Bools, Rule, Seen

__all__ = ["Ordered"]


class Ordered(Rule):
    """``rule`` of one sequence under orders ``death`` [L, T] int32: the step from which an entry is
    gone, ALIVE to keep it, GATE (`dcp.deaths`) to leave it to the rule."""

    def __init__(self, rule: Rule, death: npt.NDArray[np.int32]) -> None:
        super().__init__(rule.setup)
        self._rule, self._death = rule, death
        self._beside = np.zeros(death.shape, dtype=np.bool_)

    def decides(self, step: int) -> bool:
        return self._rule.decides(step) or bool((self._death == step + 1).any())

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        orders, beside = self._death[layer, : step + 1], self._beside[layer, : step + 1]
        drops = self._rule.after(layer, step, _without(seen, beside))
        beside |= drops[0] & (orders > step + 1)
        due = seen.alive & (orders != GATE) & (orders <= step + 1)
        dropped: Bools = (drops & ~beside) | due
        return dropped


def _without(seen: Seen, beside: Bools) -> Seen:
    if not beside.any():
        return seen
    attention = None if seen.attention is None else np.where(beside, 0, seen.attention)
    margin = None if seen.margin is None else np.where(beside, np.float32(np.nan), seen.margin)
    return replace(seen, alive=seen.alive & ~beside, attention=attention, margin=margin)

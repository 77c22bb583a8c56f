"""Local window: the most recent entries stay (Child et al., 2019, arXiv 1904.10509)."""

from __future__ import annotations

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, lowest

__all__ = ["OLDEST", "POLICY", "Recent"]


class Recent(Rule):
    """First in, first out."""

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        ages = np.broadcast_to(np.arange(step + 1), seen.alive.shape)
        return lowest(ages, seen.alive, self.over(layer, step, seen.alive))


POLICY = Policy(
    name="window",
    title="Local window",
    paper="Child et al., 2019, arXiv 1904.10509",
    rule="keeps the last N entries",
    make=lambda setup, settings: Recent(setup),
)

OLDEST = Policy(
    name="oldest",
    title="Oldest first",
    paper="",
    rule="drops the oldest entry whenever the budget is passed: a control",
    make=lambda setup, settings: Recent(setup),
)

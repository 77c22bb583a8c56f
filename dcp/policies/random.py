"""Random: any earlier entry is as likely to go as any other. A control."""

from __future__ import annotations

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, lowest

__all__ = ["POLICY", "Random"]


class Random(Rule):
    """Draws depend on (seed, layer, step) and the sequence's place alone."""

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        over = self.over(layer, step, seen.alive)
        if not over.any():
            return self.none(seen)
        among = seen.alive.copy()
        among[:, step] = False
        drawn = np.random.default_rng((self.setup.seed, layer, step)).random(among.shape)
        return lowest(drawn, among, over)


POLICY = Policy(
    name="random",
    title="Random",
    paper="",
    rule="drops earlier entries at random: a control",
    make=lambda setup, settings: Random(setup),
)

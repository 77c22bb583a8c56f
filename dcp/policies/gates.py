"""The learned gates under a budget: past it, whoever came closest to being dropped goes.

The gates themselves decide before the query attends and need no rule; with a budget the entries
with the smallest margin (the smallest gate logit so far) follow once more than N are left.

Source: Anagnostidis et al., 2023, arXiv 2305.15805; the budget is ours.
"""

from __future__ import annotations

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, lowest

__all__ = ["POLICY", "SmallestMargin"]


class SmallestMargin(Rule):
    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.margin is not None
        # Whoever no gate has judged yet is kept: the newest entry above all.
        judged = np.where(np.isnan(seen.margin), np.inf, seen.margin)
        over = self.over(layer, step, seen.alive)
        return lowest(judged, seen.alive & np.isfinite(judged), over)


POLICY = Policy(
    name="gates",
    title="Learned gates",
    paper="Anagnostidis et al., 2023, arXiv 2305.15805",
    rule="drops what the gates close on; under a budget also the smallest margins",
    needs=frozenset({"margin"}),
    make=lambda setup, settings: SmallestMargin(setup),
)

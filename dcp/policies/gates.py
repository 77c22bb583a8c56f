"""The learned gates under a budget of N entries a layer, which they can keep in two ways.

    by margin   past N, whoever came closest to being dropped goes too: the entries with the
                smallest margin (the smallest gate logit so far). Never more than N are held
    by shift    the gates alone decide, shifted by the δ at which validation text as long has as
                large a share dropped as under a budget of N: less than N early in a text, more
                late, and no limit at any step (`dcp.model.dial`)

The gates themselves decide before the query attends and need no rule.

Source: Anagnostidis et al., 2023, arXiv 2305.15805; the budget is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, Value, lowest

__all__ = ["LIFT", "POLICY", "SmallestMargin", "by_shift"]

LIFT = 64.0
"""A gate shift above what any gate's logit falls to: none closes by itself, and under a budget
their order alone decides. So they hold as much as any other rule."""


class SmallestMargin(Rule):
    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.margin is not None
        # Whoever no gate has judged yet is kept: the newest entry above all.
        judged = np.where(np.isnan(seen.margin), np.inf, seen.margin)
        over = self.over(layer, step, seen.alive)
        return lowest(judged, seen.alive & np.isfinite(judged), over)


def by_shift(policy: str, settings: Mapping[str, Value]) -> bool:
    """Whether a budget is kept by shifting the gates, without a rule."""
    return policy == POLICY.name and settings.get("by") == "shift"


POLICY = Policy(
    name="gates",
    title="Learned gates",
    paper="Anagnostidis et al., 2023, arXiv 2305.15805",
    rule="drops what the gates close on; under a budget also the smallest margins",
    needs=frozenset({"margin"}),
    settings={"by": "margin"},
    choices={"by": ("margin", "shift")},
    make=lambda setup, settings: SmallestMargin(setup),
)

"""H2O: heavy hitters by accumulated attention, and a recent window.

    score[j] = sum over the steps t that j was held of attention[t, j]
    when more than N are held: the last r stay, and of the others the N - r with the highest score

Source: Zhang et al., 2023, arXiv 2306.14048, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, Setup, lowest

__all__ = ["POLICY", "HeavyHitters"]


class HeavyHitters(Rule):
    def __init__(self, setup: Setup, recent: float) -> None:
        super().__init__(setup)
        self.recent = recent
        self.scores = np.zeros((setup.layers, setup.batch, setup.tokens), dtype=np.float32)

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.attention is not None
        scores = self.scores[layer][:, : step + 1]
        scores += seen.attention
        window = max(1, int(self.recent * self.setup.budget[layer, step]))
        among = seen.alive.copy()
        among[:, max(0, step + 1 - window) :] = False
        return lowest(scores, among, self.over(layer, step, seen.alive))


def _make(setup: Setup, settings: Mapping[str, Any]) -> HeavyHitters:
    return HeavyHitters(setup, settings["recent"])


POLICY = Policy(
    name="h2o",
    title="H2O",
    paper="Zhang et al., 2023, arXiv 2306.14048",
    rule="keeps a recent window and the entries with the most attention so far",
    differs=f"{Policy.HEADS}; the rule works from the first token on, the prompt included",
    settings={"recent": 0.5},
    limits={"recent": (0, 1)},
    needs=frozenset({"attention"}),
    make=_make,
    least=lambda settings, tokens: 2,
)

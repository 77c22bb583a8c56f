"""Key norm: keys of small length draw much attention, so the longest goes first.

Source: Devoto et al., 2024, arXiv 2406.11430.
"""

from __future__ import annotations

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, Setup, lowest

__all__ = ["POLICY", "KeyNorm"]


class KeyNorm(Rule):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.norms = np.zeros((setup.layers, setup.batch, setup.tokens), dtype=np.float32)

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.key is not None
        norms = self.norms[layer]
        norms[:, step] = np.linalg.norm(seen.key, axis=-1).mean(axis=-1)
        over = self.over(layer, step, seen.alive)
        return lowest(-norms[:, : step + 1], seen.alive, over)


POLICY = Policy(
    name="keynorm",
    title="Key norm",
    paper="Devoto et al., 2024, arXiv 2406.11430",
    rule="keeps the entries whose keys are shortest",
    differs=f"{Policy.HEADS}; every layer drops, the paper leaves the first two whole",
    needs=frozenset({"key"}),
    make=lambda setup, settings: KeyNorm(setup),
)

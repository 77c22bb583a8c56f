"""SnapKV: the last queries vote on what came before them, with pooled votes.

    vote[j] = sum over the last w queries t of attention[t, j]
    pooled  = moving mean of vote over k neighbouring entries held (zeros beyond the ends)
    the last w stay, and of the others the N - w with the highest pooled vote

Applied once the prompt has been read, which itself sees everything, and then whenever more than N
are held. Source: Li et al., 2024, arXiv 2404.14469, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.policies.rule import Bools, Floats, Policy, Rule, Seen, Setup, lowest

__all__ = ["POLICY", "SnapKV", "pooled"]


class SnapKV(Rule):
    def __init__(self, setup: Setup, window: int, kernel: int) -> None:
        super().__init__(setup)
        # All of a text is in a window that is longer.
        self.window, self.kernel = min(window, setup.tokens), kernel
        shape = (setup.layers, self.window, setup.batch, setup.tokens)
        self.recent = np.zeros(shape, dtype=np.float32)

    def decides(self, step: int) -> bool:
        return step >= self.setup.prompt - 1

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.attention is not None
        rows = self.recent[layer]
        rows[step % self.window] = 0
        rows[step % self.window, :, : step + 1] = seen.attention
        over = self.over(layer, step, seen.alive)
        if not self.decides(step) or not over.any():
            return self.none(seen)
        among = seen.alive.copy()
        among[:, max(0, step + 1 - self.window) :] = False
        votes = rows[:, :, : step + 1].sum(axis=0)
        return lowest(pooled(votes, among, self.kernel), among, over)


def pooled(votes: Floats, among: Bools, kernel: int) -> Floats:
    """[B, n]: the mean of ``kernel`` neighbours among those held, as avg_pool1d with padding."""
    out = np.zeros_like(votes)
    weights: npt.NDArray[np.float32] = np.full(kernel, 1 / kernel, dtype=np.float32)
    for row, held in enumerate(among):
        if held.any():
            padded = np.pad(votes[row, held], kernel // 2)
            out[row, held] = np.convolve(padded, weights, mode="valid")
    return out


def _make(setup: Setup, settings: Mapping[str, Any]) -> SnapKV:
    return SnapKV(setup, settings["window"], settings["kernel"] | 1)


POLICY = Policy(
    name="snapkv",
    title="SnapKV",
    paper="Li et al., 2024, arXiv 2404.14469",
    rule="keeps the last w entries and those that the last w queries attend to most",
    differs=f"{Policy.HEADS}; the rule goes on while decoding",
    settings={"window": 32, "kernel": 5},
    limits={"window": (1, 2**20), "kernel": (1, 1001)},
    needs=frozenset({"attention"}),
    make=_make,
    least=lambda settings, tokens: settings["window"] + 1,
)

"""CItruS, standard form: text comes in chunks, and each chunk votes on all that came before it.

    score[j] = mean over the queries t of the chunk of attention[t, j]      for j before the chunk
    at the end of a chunk the k entries before it with the highest score stay, and the chunk itself

Source: Bai et al., 2024, arXiv 2406.12018, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, Setup, lowest

__all__ = ["POLICY", "ChunkVote"]


class ChunkVote(Rule):
    """A budget N leaves k = N - 2 · chunk beside the chunk that voted and the one under way."""

    def __init__(self, setup: Setup, chunk: int) -> None:
        super().__init__(setup)
        smallest = int(setup.budget.min())
        self.chunk = max(1, min(chunk, smallest // 4))
        self.votes = np.zeros((setup.layers, setup.batch, setup.tokens), dtype=np.float32)

    def decides(self, step: int) -> bool:
        return (step + 1) % self.chunk == 0

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.attention is not None
        votes = self.votes[layer][:, : step + 1]
        votes += seen.attention
        if not self.decides(step):
            return self.none(seen)
        past = seen.alive.copy()
        past[:, step + 1 - self.chunk :] = False
        kept = int(self.setup.budget[layer, step]) - 2 * self.chunk
        drops = lowest(votes, past, np.maximum(past.sum(axis=1) - kept, 0))
        votes[:] = 0
        return drops


def _make(setup: Setup, settings: Mapping[str, Any]) -> ChunkVote:
    return ChunkVote(setup, settings["chunk"])


POLICY = Policy(
    name="citrus",
    title="CItruS, standard",
    paper="Bai et al., 2024, arXiv 2406.12018",
    rule="keeps the k entries before a chunk that the chunk attends to most, and the chunk",
    differs=(
        f"{Policy.HEADS}; positions stay those of the text; a budget under four chunks shortens "
        "the chunk, and generated tokens form chunks too"
    ),
    settings={"chunk": 256},
    needs=frozenset({"attention"}),
    make=_make,
    least=lambda settings, tokens: 4,
)

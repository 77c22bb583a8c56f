"""CItruS: at the end of each chunk of text the k entries before it with the most votes stay.

    score[j] = mean over the queries in Q of attention[q, j]           for j before the chunk
    standard     Q is the chunk itself
    shared       Q is an instruction, read on what was held before the chunk
    individual   two caches: one as standard, with which the text is read; one as shared, which
                 takes each chunk's entries from the first and is what is kept for the instruction
    with an instruction, once more at the prompt's end: k entries stay, by its votes

Source: Bai et al., 2024, arXiv 2406.12018, section 3 and Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.policies.rule import Bools, Floats, Policy, Rule, Seen, Setup, Value, lowest

__all__ = [
    "INDIVIDUAL",
    "POLICY",
    "SHARED",
    "ChunkVote",
    "Individual",
    "InstructionVote",
    "budget_keeping",
    "chunk_of",
]


class ChunkVote(Rule):
    """A budget N leaves k = N - 2 · chunk beside the chunk that voted and the one under way."""

    def __init__(self, setup: Setup, chunk: int, prompt: int = 0) -> None:
        """``prompt``: where an instruction is heard, chunks end there and begin anew."""
        super().__init__(setup)
        self.chunk = chunk_of(int(setup.budget.min()), chunk)
        self.prompt = prompt
        self.votes = np.zeros((setup.layers, setup.batch, setup.tokens), dtype=np.float32)

    def decides(self, step: int) -> bool:
        return step + 1 == self.prompt or step + 1 - self._start(step) == self.chunk

    def asks(self, step: int) -> bool:
        return 0 < step == self.prompt

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        assert seen.attention is not None
        self.votes[layer][:, : step + 1] += seen.attention
        if not self.decides(step):
            return self.none(seen)
        drops = self._fewest(layer, step, seen.alive)
        self.votes[layer] = 0
        return drops

    def told(self, layer: int, step: int, alive: Bools, votes: Floats) -> Bools:
        # The prompt's end is one more round: nothing is under way, and the instruction votes.
        return lowest(votes, alive, np.maximum(alive.sum(axis=1) - self._kept(layer, step), 0))

    def _fewest(self, layer: int, step: int, alive: Bools) -> Bools:
        past = alive.copy()
        past[:, self._start(step) :] = False
        over = np.maximum(past.sum(axis=1) - self._kept(layer, step), 0)
        return lowest(self.votes[layer][:, : step + 1], past, over)

    def _start(self, step: int) -> int:
        """The first step of the chunk that ``step`` is in."""
        base = self.prompt if step >= self.prompt else 0
        return base + (step - base) // self.chunk * self.chunk

    def _kept(self, layer: int, step: int) -> int:
        return int(self.setup.budget[layer, min(step, self.setup.tokens - 1)]) - 2 * self.chunk


class InstructionVote(ChunkVote):
    """The same rounds, but what stays is what an instruction attends to. It is read where a chunk
    begins: what is held by then is all that the round at the chunk's end chooses from."""

    def asks(self, step: int) -> bool:
        return step > 0 and self._start(step) == step

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        return self._fewest(layer, step, seen.alive) if self.decides(step) else self.none(seen)

    def told(self, layer: int, step: int, alive: Bools, votes: Floats) -> Bools:
        self.votes[layer][:, :step] = votes
        self.votes[layer][:, step:] = 0
        if step != self.prompt:
            return np.zeros_like(alive)
        return super().told(layer, step, alive, votes)


class Individual(InstructionVote):
    """What is kept for the instruction; ``reading`` is the rule of the cache that reads the prompt,
    as long as there are two."""

    def __init__(self, setup: Setup, chunk: int, prompt: int) -> None:
        super().__init__(setup, chunk, prompt)
        self.reading = ChunkVote(setup, chunk, prompt)


def chunk_of(budget: int, chunk: int) -> int:
    """The chunk that a budget allows: at most a quarter of it.

    >>> chunk_of(2048, 256), chunk_of(64, 256)
    (256, 16)
    """
    return max(1, min(chunk, budget // 4))


def budget_keeping(entries: int, chunk: int = 256) -> int:
    """The smallest budget that leaves k = ``entries`` or more when the instruction has voted.

    >>> budget_keeping(34)
    66
    """
    budget = max(4, entries)
    while budget - 2 * chunk_of(budget, chunk) < entries:
        budget += 1
    return budget


def _standard(setup: Setup, settings: Mapping[str, Any]) -> ChunkVote:
    return ChunkVote(setup, settings["chunk"], setup.prompt if settings["instruction"] else 0)


def _shared(setup: Setup, settings: Mapping[str, Any]) -> InstructionVote:
    return InstructionVote(setup, settings["chunk"], setup.prompt)


def _individual(setup: Setup, settings: Mapping[str, Any]) -> Individual:
    return Individual(setup, settings["chunk"], setup.prompt)


_SETTINGS: Mapping[str, Value] = {"chunk": 256, "instruction": ""}
_LIMITS = {"chunk": (1, 2**20)}
_DIFFERS = (
    f"{Policy.HEADS}; positions stay those of the text; a budget under four chunks shortens the "
    "chunk, and generated tokens form chunks too"
)
_ASKED = "; the instruction votes and leaves no entries: to have it answered, end the text with it"

POLICY = Policy(
    name="citrus",
    title="CItruS, standard",
    paper="Bai et al., 2024, arXiv 2406.12018",
    rule="keeps the k entries before a chunk that the chunk attends to most, and the chunk",
    differs=_DIFFERS,
    settings=_SETTINGS,
    limits=_LIMITS,
    needs=frozenset({"attention"}),
    make=_standard,
    least=lambda settings, tokens: 4,
    instructed="may",
)

SHARED = Policy(
    name="citrus-shared",
    title="CItruS, shared cache",
    paper="Bai et al., 2024, arXiv 2406.12018",
    rule="keeps the k entries before a chunk that an instruction attends to most, and the chunk",
    differs=_DIFFERS + _ASKED,
    settings=_SETTINGS,
    limits=_LIMITS,
    make=_shared,
    least=lambda settings, tokens: 4,
    instructed="must",
)

INDIVIDUAL = Policy(
    name="citrus-individual",
    title="CItruS, individual cache",
    paper="Bai et al., 2024, arXiv 2406.12018",
    rule="reads with a cache of its own, and keeps another by what an instruction attends to",
    differs=(
        f"{_DIFFERS}{_ASKED}; deaths are those of the instruction's cache, the prompt was read "
        "with the other, and memory counts both"
    ),
    settings=_SETTINGS,
    limits=_LIMITS,
    needs=frozenset({"attention"}),
    make=_individual,
    least=lambda settings, tokens: 4,
    instructed="must",
)

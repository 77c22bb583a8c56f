"""Caches whose rule hears an instruction: it is read on what is held, and leaves nothing behind.

Where a chunk of the text begins, the instruction goes through the whole model as if it came next:
each layer's queries see the rows held there and one another. What they attend to is told to the
rule. Knows nothing of text: the instruction is token ids.

Source: Bai et al., 2024, arXiv 2406.12018, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.model.cache import Slots, bits
from dcp.model.cached import Rows
from dcp.model.evicting import EvictingAttention, attend_rows
from dcp.model.sequence_cache import CacheBytes
from dcp.model.transformer import Transformer
from dcp.policies.citrus import ChunkVote, Individual
from dcp.policies.rule import Rule

__all__ = ["InstructedAttention", "TwoCaches"]


class InstructedAttention(EvictingAttention):
    """`EvictingAttention` that reads ``instruction`` (token ids) wherever a rule asks for it.

    No pass may begin in one chunk of the rule and end in another: ``chunk`` says their length.
    """

    def __init__(
        self, *args: Any, transformer: Transformer, instruction: Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._transformer, self._instruction = transformer, torch.tensor([list(instruction)])
        rule = self._rules[0]
        assert isinstance(rule, ChunkVote)
        self.chunk = rule.chunk

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        for row, first, stop in spans:
            rule = self._rules[row]
            assert not any(rule.asks(step) for step in range(first + 1, stop))
            if rule.asks(first):
                self._ask(row, first)
        super().begin(spans)

    def asked(self, row: int) -> list[Slots]:
        """[L]: the rows that the instruction is read on."""
        return self._slots[row]

    def _ask(self, row: int, first: int) -> None:
        positions = torch.arange(first, first + self._instruction.shape[1])[None]
        self._transformer.hidden(
            self._instruction, positions, _Listening(self, row, first), gated=False
        )


class _Listening:
    """The ``attend`` of an instruction at ``first`` over what sequence ``row`` of a cache holds."""

    def __init__(self, cache: InstructedAttention, row: int, first: int) -> None:
        self._cache, self._row, self._first = cache, row, first

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        """q [1, I, H, d], k and v [1, I, H_kv, d] -> [1, I, H, d]."""
        slots, first = self._cache.asked(self._row)[layer], self._first
        n, steps = slots.count, np.arange(first, first + q.shape[1])
        at, (keys, values) = slots.positions[:n], slots.read(k.dtype)
        out, weights = attend_rows(
            q[0],
            torch.cat([keys, k[0]]),
            torch.cat([values, v[0]]),
            np.concatenate([at, steps.astype(np.int32)]),
            steps,
        )
        alive, votes = np.zeros((1, first), np.bool_), np.zeros((1, first), np.float32)
        alive[0, at] = True
        votes[0, at] = weights[:, :n].mean(axis=0)
        drops = self._cache._rules[self._row].told(layer, first, alive, votes)[0]
        dead = np.flatnonzero(drops[at])
        if len(dead):
            self._cache._drop(self._row, layer, slots, dead, first)
        return out[None]


class TwoCaches(InstructedAttention):
    """The prompt is read with one cache; another, kept by the instruction, takes each chunk's
    entries from it, and is all that is left when the prompt ends. Deaths are those of the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: list[list[Slots] | None] = [
            [Slots(*slots.shape, slots.dtype, slots.limit, slots.meter) for slots in layers]
            for layers in self._slots
        ]

    def asked(self, row: int) -> list[Slots]:
        return self._kept[row] or self._slots[row]

    def memory(self, row: int) -> CacheBytes:
        found, kept = super().memory(row), self._kept[row] or []
        live = found.live + sum(slots.live_bytes for slots in kept)
        return CacheBytes(live, found.held, found.peak)

    def release(self, row: int) -> None:
        super().release(row)
        for slots in self._kept[row] or []:
            slots.clear()

    def _ask(self, row: int, first: int) -> None:
        super()._ask(row, first)
        kept, rule = self._kept[row], self._rules[row]
        assert isinstance(rule, Individual)
        if kept is not None and first == rule.prompt:
            for slots in self._slots[row]:
                slots.clear()
            self._slots[row], self._kept[row] = kept, None

    def _rule_of(self, row: int) -> Rule:
        rule = self._rules[row]
        assert isinstance(rule, Individual)
        return rule if self._kept[row] is None else rule.reading

    def _drop(self, row: int, layer: int, slots: Slots, dead: Any, step: int) -> None:
        if self._kept[row] is not None and slots is self._slots[row][layer]:
            slots.drop(dead)
        else:
            super()._drop(row, layer, slots, dead, step)

    def _stretch(
        self, row: int, layer: int, first: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        out = super()._stretch(row, layer, first, q, q_int, beta, new)
        kept, rule, step = self._kept[row], self._rules[row], first + len(q) - 1
        if kept is not None and rule.decides(step):
            slots = kept[layer]
            _take_fresh(self._slots[row][layer], slots)
            drops = rule.after(layer, step, self._seen(slots, step, None))[0]
            dead = np.flatnonzero(drops[slots.positions[: slots.count]])
            if len(dead):
                self._drop(row, layer, slots, dead, step + 1)
        return out


def _take_fresh(source: Slots, into: Slots) -> None:
    """Copy the entries that came after those of ``into``: all of the chunk that ends now, since a
    chunk outlives its own end in the cache that reads it."""
    at = source.positions[: source.count]
    fresh = np.flatnonzero(at > into.positions[: into.count].max(initial=-1))
    order = torch.from_numpy(fresh[at[fresh].argsort()])
    into.append(bits(source.k[order]), bits(source.v[order]), None, int(at[order].min()))

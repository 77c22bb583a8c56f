"""The cache under an eviction policy: the same rows, but a rule says who leaves.

What a rule decides after the query at step s is carried out at once: the row is freed, its death
is s + 1. Queries between two decisions are read together; a rule that decides after every query
reads its prompt query by query. Attention is computed here, since a rule may want to see it.
Knows nothing of sampling, text or weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.model.cache import Slots
from dcp.model.cached import CachedAttention, Rows
from dcp.model.kv_rows import widened
from dcp.policies.rule import Policy, Rule, Seen

__all__ = ["EvictingAttention", "attend_rows"]


class EvictingAttention(CachedAttention):
    """`CachedAttention` with ``rules`` [B], one for each sequence, made by ``policy``."""

    def __init__(self, *args: Any, policy: Policy, rules: Sequence[Rule], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._needs, self._rules = policy.needs, list(rules)

    def copy_row(self, row: int, source: CachedAttention, taken: int) -> None:
        super().copy_row(row, source, taken)
        assert isinstance(source, EvictingAttention)
        self._rules[row] = copy.deepcopy(source._rules[taken])

    def _decode(
        self, row: int, layer: int, position: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        return self._extend(row, layer, position, q, q_int, beta, new)

    def _extend(
        self, row: int, layer: int, first: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        """Queries in stretches that end where the rule decides."""
        rule, out, start = self._rules[row], [], 0
        for i in range(len(q)):
            if i + 1 == len(q) or rule.decides(first + i):
                part = slice(start, i + 1)
                gates = None if q_int is None else q_int[part]
                rows = (new[0][part], new[1][part], None if new[2] is None else new[2][part])
                out.append(self._stretch(row, layer, first + start, q[part], gates, beta, rows))
                start = i + 1
        return out[0] if len(out) == 1 else torch.cat(out)

    def _stretch(
        self, row: int, layer: int, first: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        slots, rule = self._slots[row][layer], self._rule_of(row)
        if q_int is not None and slots.count:
            z = self.kernels.gate_scores(q_int, slots.k_int[: slots.count], beta)[0].numpy()
            dead = self._judge(row, layer, first, slots, z)
            if len(dead):
                slots.drop(dead)
        slots.append(*new, first)
        steps = np.arange(first, first + len(q))
        out, weights = attend_rows(q, *slots.read(q.dtype), slots.positions[: slots.count], steps)
        for i, step in enumerate(steps.tolist()):
            attention = weights[i] if "attention" in self._needs else None
            drops = rule.after(layer, step, self._seen(slots, step, attention))[0]
            dead = np.flatnonzero(drops[np.minimum(slots.positions[: slots.count], step)])
            if len(dead):
                assert step == steps[-1], "a rule drops only where it said that it decides"
                self._drop(row, layer, slots, dead, step + 1)
        return out

    def _rule_of(self, row: int) -> Rule:
        """The rule of the cache that reads the text."""
        return self._rules[row]

    def _drop(
        self, row: int, layer: int, slots: Slots, dead: npt.NDArray[np.int64], step: int
    ) -> None:
        """Free the rows ``dead``: from ``step`` on nobody sees them."""
        nothing = np.full(len(dead), np.nan, dtype=np.float32)
        self._log[row].append((layer, slots.positions[dead], np.int32(step), nothing))
        slots.drop(dead)

    def _seen(self, slots: Slots, step: int, attention: npt.NDArray[np.float32] | None) -> Seen:
        n = slots.count
        positions = slots.positions[:n]
        there = positions <= step
        at = positions[there]
        alive = np.zeros((1, step + 1), dtype=np.bool_)
        alive[0, at] = True
        margin = key = spread = None
        if attention is not None:
            spread = np.zeros((1, step + 1), dtype=np.float32)
            spread[0, at] = attention[there]
        if "margin" in self._needs:
            margin = np.full((1, step + 1), np.nan, dtype=np.float32)
            margin[0, at] = slots.margins[:n][there]
        if "key" in self._needs:
            newest = int(np.flatnonzero(positions == step)[0])
            key = widened(slots.k[newest][None], torch.float32).numpy()
        return Seen(alive, spread, key, margin)


def attend_rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    positions: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int64],
) -> tuple[Tensor, npt.NDArray[np.float32]]:
    """q [C, H, d] of ``steps`` [C] over k, v [N, H_kv, d] at ``positions`` [N] -> out [C, H, d] and
    weights [C, N] float32, mean over heads."""
    count, heads, width = q.shape
    kv_heads = k.shape[1]
    grouped = q.view(count, kv_heads, heads // kv_heads, width)
    scores = torch.einsum("cgid,ngd->gicn", grouped, k) / math.sqrt(width)
    if count > 1:
        scores.masked_fill_(torch.from_numpy(positions > steps[:, None]), -math.inf)
    weights = scores.float().softmax(dim=-1)
    out = torch.einsum("gicn,ngd->cgid", weights.to(v.dtype), v).reshape(count, heads, width)
    return out, weights.mean(dim=(0, 1)).numpy()

"""Whole windows under an eviction policy: what the engine decides step by step, a layer at a time.

A layer's queries, keys and values are all known before its first decision, so the windows of a
batch go through the steps of one layer together, then through those of the next. It plugs into
`dcp.model.transformer` as its ``attend``. Knows nothing of caches, sampling or text.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.kernels.gates import Gates
from dcp.model.masked import MaskedAttend
from dcp.policies.rule import Policy, Rule, Seen

__all__ = ["RuledAttend"]

# Steps of a layer that read the same gathered rows; those that leave meanwhile are masked.
_BLOCK = 32


class RuledAttend:
    """Causal attention in which a rule's decision after step s hides an entry from step s + 1 on.

    rule is made for the batch that passes through. With ``margin`` among the policy's needs the
    gates decide as well, with ``gate_shift`` added to every layer's β. After a forward ``deaths``
    is [L, B, T] int32.
    """

    def __init__(self, policy: Policy, rule: Rule, gate_shift: float = 0.0) -> None:
        self._needs, self._rule, self._shift = policy.needs, rule, gate_shift
        self._used: list[Tensor] = []

    @property
    def deaths(self) -> Tensor:
        return torch.stack(self._used)

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        """q [B, T, H, d], k and v [B, T, H_kv, d] -> [B, T, H, d]."""
        if layer == 0:
            self._used = []
        z = None
        if "margin" in self._needs and gates is not None:
            z = gates.logits(self._shift)
        watched = self._needs & {"attention"}
        out, death = (self._watched if watched else self._blind)(layer, q, k, v, z)
        self._used.append(death.to(q.device))
        return out

    def _blind(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, z: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """No decision waits for attention: all deaths first, then one masked product."""
        life = _Lives(self._rule, layer, q, k if "key" in self._needs else None, z)
        for step in range(q.shape[1]):
            life.begin(step)
            life.decide(step, None)
        masked = MaskedAttend(deaths=life.death.to(q.device)[None].expand(layer + 1, -1, -1))
        return masked(layer, q, k, v, None), life.death

    def _watched(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, z: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        batch, length, heads, width = q.shape
        kv_heads = k.shape[2]
        queries = (q / math.sqrt(width)).view(batch, length, kv_heads, heads // kv_heads, width)
        out, rows = torch.empty_like(q), np.arange(batch)[:, None]
        life = _Lives(self._rule, layer, q, k if "key" in self._needs else None, z)
        for start in range(0, length, _BLOCK):
            stop = min(start + _BLOCK, length)
            at = life.gathered(start, stop)
            keys, values = _rows_at(k, at), _rows_at(v, at)
            for step in range(start, stop):
                life.begin(step)
                n = at.shape[1] - (stop - step) + 1
                hidden = torch.from_numpy(~life.alive[rows, at[:, :n]])
                scores = queries[:, step] @ keys[:, :, :n].mT
                scores.masked_fill_(hidden.to(q.device)[:, None, None], -math.inf)
                weights = scores.float().softmax(dim=-1)
                seen = weights.to(v.dtype) @ values[:, :, :n]
                out[:, step] = seen.reshape(batch, heads, width)
                attention = np.zeros((batch, step + 1), dtype=np.float32)
                attention[rows, at[:, :n]] = weights.mean(dim=(1, 2)).cpu().numpy()
                life.decide(step, attention)
        return out, life.death


def _rows_at(x: Tensor, at: npt.NDArray[np.int64]) -> Tensor:
    """x [B, T, H_kv, d] at [B, n] -> [B, H_kv, n, d], rows of one head after another: a step's
    slice of them is then multiplied uncopied."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, torch.from_numpy(at).to(x.device)].transpose(1, 2).contiguous()


class _Lives:
    """Who is held in one layer of a batch, step by step."""

    def __init__(
        self, rule: Rule, layer: int, q: Tensor, key: Tensor | None, z: Tensor | None
    ) -> None:
        batch, length = q.shape[:2]
        self.rule, self.layer = rule, layer
        self.alive = np.zeros((batch, length), dtype=np.bool_)
        self.death = torch.full((batch, length), ALIVE, dtype=torch.int32)
        self._deaths = self.death.numpy()
        self._key = None if key is None else key.float().cpu().numpy()
        self._z = None if z is None else z.cpu().numpy()
        self._margin = None if z is None else np.full((batch, length), np.nan, np.float32)

    def gathered(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """[B, n + stop - start]: who is held before ``start``, in order, then all up to ``stop``.
        Sequences that hold fewer than n are filled up with some who are gone."""
        past = self.alive[:, :start]
        most = int(past.sum(axis=1).max(initial=0))
        held = np.argsort(~past, axis=1, kind="stable")[:, :most]
        fresh = np.broadcast_to(np.arange(start, stop), (len(past), stop - start))
        return np.concatenate([held, fresh], axis=1)

    def begin(self, step: int) -> None:
        """The gates' own drops, then the query's entry joins."""
        if self._z is not None and self._margin is not None and step:
            past, z = self.alive[:, :step], self._z[:, step, :step]
            np.fmin(self._margin[:, :step], z, out=self._margin[:, :step], where=past)
            closed = past & (z <= 0)
            self._deaths[:, :step][closed] = step
            past &= ~closed
        self.alive[:, step] = True

    def decide(self, step: int, attention: np.ndarray | None) -> None:
        alive = self.alive[:, : step + 1]
        seen = Seen(
            alive,
            attention,
            None if self._key is None else self._key[:, step],
            None if self._margin is None else self._margin[:, : step + 1],
        )
        drops = self.rule.after(self.layer, step, seen)
        if drops.any() and step + 1 < self.alive.shape[1]:
            self._deaths[:, : step + 1][drops] = step + 1
            alive &= ~drops

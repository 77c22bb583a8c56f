"""The ways of attending in training, and the loss.

Loss (arXiv 2305.15805, equation 8, in our convention):
L_LM + γ · mean over layers and over pairs j < t of I[t, j]; hard gates may take it by steps, the
mean over t of the mean over j.
L_LM may be measured against a teacher's distribution beside the text's own next token.
Plugs into `dcp.model.transformer` as its ``attend``; which kernel computes is handed in
(`dcp.kernels.training.api`). Knows nothing of data or optimisers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.kernels.gates import Gates

__all__ = [
    "CausalAttend",
    "HardGateAttend",
    "SoftGateAttend",
    "distilled_loss",
    "language_model_loss",
]

# One of `dcp.kernels.training`: ``Attention.compute`` of its chooser.
Compute = Callable[..., Any]


class CausalAttend:
    """Causal attention: pretraining, the dense twin, a teacher.

    ``death`` [T] int64, if given, ends each token's visibility as an untrained eviction does.
    """

    def __init__(self, compute: Compute, death: Tensor | None = None) -> None:
        self._compute, self._death = compute, death

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        q, k, v = _each_its_own(*_by_head(q, k, v))
        with torch.autocast(q.device.type, enabled=False):
            out: Tensor = self._compute(q, k, v, self._death)
        return out.transpose(1, 2)


def _by_head(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, T, heads, d] -> [B, heads, T, d], all in v's dtype."""
    # A norm of q and k leaves them float32 under autocast.
    q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
    return q, k, v


def _each_its_own(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries that share keys get their own: k and v [B, H_kv, T, d] -> [B, H, T, d]."""
    queries = q.shape[1] // k.shape[1]
    if queries == 1:
        return q, k, v
    return q, k.repeat_interleave(queries, dim=1), v.repeat_interleave(queries, dim=1)


class SoftGateAttend:
    """softmax(Q Kᵀ / sqrt(d) + log I) V with soft gates at one α.

    One object per forward pass: ``kept`` collects each layer's mean I over pairs j < t of real
    tokens. ``real`` [B, T] bool marks the tokens that are not padding (padding comes last).
    """

    def __init__(self, compute: Compute, alpha: float, real: Tensor) -> None:
        self._compute, self.alpha = compute, alpha
        self.kept: list[Tensor] = []
        length = real.shape[1]
        past = torch.ones(length, length, device=real.device).tril(-1)
        self._pairs = past * real[:, :, None]
        self._count = self._pairs.sum()

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        assert gates is not None
        q, k, v = _each_its_own(*_by_head(q, k, v))
        with torch.autocast(q.device.type, enabled=False):
            out, kept = self._compute(q, k, v, gates, self._pairs, self.alpha)
        self.kept.append(kept / self._count)
        return out.transpose(1, 2)  # type: ignore[no-any-return]


class HardGateAttend:
    """softmax(Q Kᵀ / sqrt(d) + log I) V with the hard gates of inference, trained straight through.

    One object per forward pass: ``kept`` collects for each layer [B], each window's part of the
    mean of I over the pairs j < t of all real tokens of the batch; the sum over B is that mean.
    ``by`` "steps" takes it over the pairs of each step t first, then over steps, so that an early
    step counts as much as a late one, which has more pairs. ``real`` [B, T] bool as for soft gates;
    ``shifts`` [B] float32 is added to each window's β; tokens whose margin is below -``depth`` are
    left alone from then on.
    """

    def __init__(
        self,
        compute: Compute,
        real: Tensor,
        shifts: Tensor,
        depth: float = math.inf,
        by: Literal["pairs", "steps"] = "pairs",
    ) -> None:
        self._compute, self._depth = compute, depth
        self.kept: list[Tensor] = []
        self._shifts = shifts
        pairs = torch.arange(real.shape[1], device=real.device)
        self._price = real / pairs.clamp(min=1) if by == "steps" else real.float()
        self._count = (pairs * self._price).sum()

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        assert gates is not None
        q, k, v = _by_head(q, k, v)
        with torch.autocast(q.device.type, enabled=False):
            shifted = replace(gates, beta=gates.beta + self._shifts)
            out, kept = self._compute(q, k, v, shifted, self._price, self._depth)
        self.kept.append(kept / self._count)
        return out.transpose(1, 2)  # type: ignore[no-any-return]


def language_model_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-probability in nats; logits [B, T, V], targets [B, T] int64, -1 = none."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-1)


def distilled_loss(logits: Tensor, targets: Tensor, teacher: Tensor, share: float) -> Tensor:
    """Cross-entropy in nats against ``share`` · the teacher's distribution + the rest · the text.

    logits, teacher [B, T, V]; targets [B, T] int64, -1 = none. Its gradient is that of
    share · KL(teacher ‖ model) + (1 - share) · language_model_loss.
    """
    counted = targets.flatten() >= 0
    wanted = teacher.flatten(0, 1)[counted].float().softmax(-1).mul_(share)
    own = targets.flatten()[counted, None]
    wanted.scatter_add_(1, own, torch.full_like(own, 1 - share, dtype=wanted.dtype))
    return F.cross_entropy(logits.flatten(0, 1)[counted].float(), wanted)

"""The ways of attending in training, and the loss.

Loss (arXiv 2305.15805, equation 8, in our convention):
L_LM + γ · mean over layers and over pairs j < t of I[t, j].
L_LM may be measured against a teacher's distribution beside the text's own next token.
Plugs into `dcp.model.transformer` as its ``attend``; knows nothing of data or optimisers.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.kernels.training.alpha_sigmoid import attention_bias, log_interaction
from dcp.kernels.training.causal_attention import causal_attention
from dcp.kernels.training.gated_attention import gated_attention
from dcp.kernels.training.hard_attention import hard_gated_attention
from dcp.model.attend import Gates

__all__ = [
    "CausalAttend",
    "HardGateAttend",
    "SoftGateAttend",
    "distilled_loss",
    "language_model_loss",
    "plain_gated_attention",
    "plain_hard_gated_attention",
]

GatedAttention = Callable[..., tuple[Tensor, Tensor]]


class CausalAttend:
    """Causal attention: pretraining and the dense twin.

    ``death`` [T] int64, if given, ends each token's visibility as an untrained eviction does.
    """

    def __init__(self, death: Tensor | None = None) -> None:
        self._death = death

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        q, k, v = _by_head(q, k, v)
        if q.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return causal_attention(q, k, v, self._death).transpose(1, 2)
        mask = None
        if self._death is not None:
            steps = torch.arange(q.shape[2], device=q.device)[:, None]
            mask = (steps >= steps.T) & (steps < self._death.to(q.device))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return out.transpose(1, 2)


def _by_head(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, T, heads, d] -> [B, H, T, d] in v's dtype; queries that share keys get their own."""
    # A norm of q and k leaves them float32 under autocast.
    q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
    return q, _repeated(k, q), _repeated(v, q)


def _repeated(x: Tensor, q: Tensor) -> Tensor:
    """[B, H_kv, T, d] -> [B, H, T, d]: each query head's own."""
    queries = q.shape[1] // x.shape[1]
    return x if queries == 1 else x.repeat_interleave(queries, dim=1)


class SoftGateAttend:
    """softmax(Q Kᵀ / sqrt(d) + log I) V with soft gates at one α.

    One object per forward pass: ``kept`` collects each layer's mean I over pairs j < t of real
    tokens. ``real`` [B, T] bool marks the tokens that are not padding (padding comes last).
    """

    def __init__(
        self,
        alpha: float,
        real: Tensor,
        attention: GatedAttention | None = None,
    ) -> None:
        self.alpha, self.attention = alpha, attention or attention_on(real.device.type)
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
        q, k, v = _by_head(q, k, v)
        with torch.autocast(q.device.type, enabled=False):
            out, kept = self.attention(
                q, k, v, gates.q_int, gates.k_int, gates.beta, self._pairs, self.alpha
            )
        self.kept.append(kept / self._count)
        return out.transpose(1, 2)


class HardGateAttend:
    """softmax(Q Kᵀ / sqrt(d) + log I) V with the hard gates of inference, trained straight through.

    One object per forward pass: ``kept`` collects for each layer [B], the visible pairs j < t of
    each window's real tokens over all such pairs of the batch; the sum over B is the mean of I.
    ``real`` [B, T] bool as for soft gates; ``shifts`` [B] float32 is added to each window's β.
    ``depth``: as in `hard_gated_attention`, where that is what attends.
    """

    def __init__(
        self,
        real: Tensor,
        shifts: Tensor,
        attention: GatedAttention | None = None,
        depth: float = math.inf,
    ) -> None:
        # Blocks and rows are for a CPU's caches; a GPU wants whole matrices.
        on_cpu = partial(hard_gated_attention, depth=depth)
        by_device = on_cpu if real.device.type == "cpu" else plain_hard_gated_attention
        self.kept: list[Tensor] = []
        self._real, self._shifts, self._attention = real, shifts, attention or by_device
        self._count = (torch.arange(real.shape[1], device=real.device) * real).sum()

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        assert gates is not None
        q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
        with torch.autocast(q.device.type, enabled=False):
            beta = gates.beta + self._shifts
            out, kept = self._attention(q, k, v, gates.q_int, gates.k_int, beta, self._real)
        self.kept.append(kept / self._count)
        return out.transpose(1, 2)


def attention_on(device: str) -> GatedAttention:
    """The fastest soft-gated attention of a device: window by window for a CPU's caches, fused in
    Triton on a GPU, and there the equations as they read for heads that no tile holds."""
    if device == "cpu":
        return gated_attention
    if device != "cuda" or importlib.util.find_spec("triton") is None:
        return plain_gated_attention
    return fused_where_it_fits


def fused_where_it_fits(q: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """The Triton kernels, or the plain form for heads wider than they take."""
    # Triton exists for Linux alone, and costs a second to import.
    fused = importlib.import_module("dcp.kernels.triton.training")
    fits = fused.supports(q.shape[-1], q.element_size())
    attention: GatedAttention = fused.gated_attention if fits else plain_gated_attention
    return attention(q, *others)


def plain_gated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_int: Tensor,
    k_int: Tensor,
    beta: Tensor,
    pairs: Tensor,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """`gated_attention` as the equations read, left to autograd: the oracle of the other two."""
    z = q_int @ k_int.transpose(1, 2) / math.sqrt(q_int.shape[-1]) + beta
    log_i = log_interaction(z, alpha)
    kept = (log_i.exp() * pairs).sum()
    scores = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    weights = torch.softmax(scores + attention_bias(log_i)[:, None], dim=-1)
    return weights.to(v.dtype) @ v, kept


def plain_hard_gated_attention(
    q: Tensor, k: Tensor, v: Tensor, q_int: Tensor, k_int: Tensor, beta: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """`hard_gated_attention` over whole [T, T], its gradient left to autograd: the oracle."""
    length = q.shape[2]
    past = torch.ones(length, length, device=q.device).tril(-1)
    z = q_int @ k_int.transpose(1, 2) / math.sqrt(q_int.shape[-1]) + beta[:, None, None]
    margin = (z + (1 - past) * 1e4).cummin(1).values
    seen = (margin > 0).float()
    soft = margin / (2 * (1 + margin.detach().abs()) ** 2)
    visible = seen + soft - soft.detach()
    kept = (visible * past * real[:, :, None]).sum((1, 2))
    k, v = _repeated(k, q), _repeated(v, q)
    scores = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    scores = scores + torch.full_like(past, -math.inf).triu(1)
    hidden = (1 - seen)[:, None]
    level = scores.masked_fill(hidden.bool(), -math.inf).logsumexp(-1, keepdim=True)
    ratio = (scores - level).exp()
    out = (ratio * seen[:, None]).to(v.dtype) @ v
    # What each pair adds to the output, times a zero whose gradient is the gate's.
    gain = (ratio / (1 + ratio * hidden)).detach() * (visible - visible.detach())[:, None]
    straight = gain @ v.detach().float() - gain.sum(-1, keepdim=True) * out.detach().float()
    return out + straight.to(v.dtype), kept


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

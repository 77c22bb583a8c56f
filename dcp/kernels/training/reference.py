"""Attention of training as the equations read, its gradient left to autograd.

Defines what is right: the other implementations are tested against it, at any precision. Holds
whole [T, T] matrices, for every head. Runs on any device. Knows nothing of layers, data or losses.

Soft gates: softmax(Q Kᵀ / sqrt(d) + log I) V with log I[t, j] = sum over n = j+1 … t of
log σ_α(z[n, j]) (arXiv 2305.15805, equations 4-6). Hard gates: I is 1 while the smallest gate logit
so far is above 0, as in use; `dcp.kernels.training.cpu.hard` says how its gradient is meant.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training.alpha_sigmoid import attention_bias, log_interaction
from dcp.kernels.training.common import BLOCK

__all__ = ["causal_attention", "hard_attention", "soft_attention"]

_OPEN = 1e4  # the margin of a pair that has no gate: the token itself, and the future


def causal_attention(q: Tensor, k: Tensor, v: Tensor, death: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / sqrt(d) + causal mask) V, torch's own.

    q, k, v [B, H, T, d] of one dtype -> [B, H, T, d] of that dtype. ``death`` [T] int64,
    death[j] > j: token j is visible at steps j <= t < death[j]; without it, always.
    """
    mask = None
    if death is not None:
        steps = torch.arange(q.shape[2], device=q.device)[:, None]
        mask = (steps >= steps.T) & (steps < death.to(q.device))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def soft_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, pairs: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Attention under soft gates, and how much was kept.

    q, k, v [B, H, T, d] of one dtype; gates with beta [1]; pairs [B, T, T] float32, 1 where a pair
    (t, j < t) counts, else 0; 1 <= alpha <= 16.
    Returns out [B, H, T, d] in v's dtype and kept [] float32, the sum of I over counted pairs.
    """
    log_i = log_interaction(gates.logits(), alpha)
    kept = (log_i.exp() * pairs).sum()
    scores = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    weights = torch.softmax(scores + attention_bias(log_i)[:, None], dim=-1)
    return weights.to(v.dtype) @ v, kept


def hard_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, price: Tensor, depth: float = math.inf
) -> tuple[Tensor, Tensor]:
    """Attention under hard gates, and how much was kept.

    q [B, H, T, d], k and v [B, H_kv, T, d] of one dtype, H a multiple of H_kv (queries that share
    keys lie together); gates with beta [B], a window's gate shift included; price [B, T] float32,
    what a pair of each query counts, 0 where the query is padding.

    A token whose margin is -``depth`` or less when a block of 128 queries begins is gone for good:
    it gets no gradient from them or from later ones. The result is the same at any depth (above 0);
    of the gradient are lost slopes below 1 / (2 (1 + depth)²).

    Returns out [B, H, T, d] in v's dtype and kept [B] float32, the sum of price[t] over each
    window's visible pairs j < t.
    """
    length = q.shape[2]
    past = torch.ones(length, length, device=q.device).tril(-1)
    margin = (gates.logits() + (1 - past) * _OPEN).cummin(1).values
    seen = (margin > 0).to(margin.dtype)
    soft = margin / (2 * (1 + margin.detach().abs()) ** 2) * _counts(margin.detach(), depth)
    visible = seen + soft - soft.detach()
    kept = (visible * past * price[:, :, None]).sum((1, 2))
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    scores = (q @ k.transpose(2, 3)).to(margin.dtype) * q.shape[-1] ** -0.5
    scores = scores + torch.full_like(past, -math.inf).triu(1)
    hidden = (1 - seen)[:, None]
    level = scores.masked_fill(hidden.bool(), -math.inf).logsumexp(-1, keepdim=True)
    ratio = (scores - level).exp()
    out = (ratio * seen[:, None]).to(v.dtype) @ v
    # What each pair adds to the output, times a zero whose gradient is the gate's.
    gain = (ratio / (1 + ratio * hidden)).detach() * (visible - visible.detach())[:, None]
    total, mixed = gain.sum(-1, keepdim=True), out.detach().to(gain.dtype)
    straight = gain @ v.detach().to(gain.dtype) - total * mixed
    return out + straight.to(v.dtype), kept


def _counts(margin: Tensor, depth: float) -> Tensor:
    """[B, T, T] float: 1 where a pair's margin has a gradient, the margin ahead of its block being
    above -depth."""
    ahead = torch.full_like(margin, _OPEN)
    for first in range(BLOCK, margin.shape[1], BLOCK):
        ahead[:, first : first + BLOCK] = margin[:, first - 1, None]
    return (ahead > -depth).to(margin.dtype)

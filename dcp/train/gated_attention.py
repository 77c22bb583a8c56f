"""Soft-gated attention with its gradient written out: the same result as the plain autograd form
in `dcp.train.objective`, one window at a time so that the [T, T] intermediates stay in cache.

out = softmax(Q Kᵀ / sqrt(d) + log I) V,  log I[t, j] = sum over n = j+1 … t of log σ_α(z[n, j]),
z = q_int k_intᵀ / sqrt(r) + β  (arXiv 2305.15805, equations 4-6).
Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcp.train.alpha_sigmoid import AlphaSigmoid, attention_bias, log_gate_and_slope, sum_later

__all__ = ["gated_attention"]


def gated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_int: Tensor,
    k_int: Tensor,
    beta: Tensor,
    pairs: Tensor,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """Attention under soft gates, and how much was kept.

    q, k, v [B, H, T, d] float32 or bfloat16; q_int, k_int [B, T, r] float32; beta [1] float32;
    pairs [B, T, T] float32, 1 where a pair (t, j < t) counts, else 0.
    Returns out [B, H, T, d] in v's dtype and kept [] float32, the sum of I over counted pairs.
    """
    return _GatedAttention.apply(q, k, v, q_int, k_int, beta, pairs, alpha)  # type: ignore[no-any-return, no-untyped-call]


class _GatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor,
        k_int: Tensor,
        beta: Tensor,
        pairs: Tensor,
        alpha: float,
    ) -> tuple[Tensor, Tensor]:
        sigmoid = AlphaSigmoid.of(alpha)
        batch, heads, length, width = q.shape
        weights = torch.empty(batch, heads, length, length, dtype=v.dtype, device=q.device)
        slopes = torch.empty(batch, length, length, device=q.device)
        shares = torch.empty(batch, length, length, device=q.device)
        out = torch.empty_like(v)
        future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu()
        scale, r = width**-0.5, q_int.shape[-1]
        for b in range(batch):
            z = torch.addmm(beta, q_int[b], k_int[b].t(), alpha=r**-0.5)
            log_i, slope = log_gate_and_slope(z, sigmoid, future)
            slopes[b] = slope
            log_i = log_i.cumsum(dim=0)
            torch.mul(log_i.exp(), pairs[b], out=shares[b])
            scores = ((q[b] * scale) @ k[b].transpose(1, 2)).float().add_(attention_bias(log_i))
            weights[b] = torch.softmax(scores, dim=-1)
            torch.bmm(weights[b], v[b], out=out[b])
        ctx.save_for_backward(q, k, v, q_int, k_int, weights, slopes, shares, out)
        return out, shares.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, weights, slopes, shares, out = ctx.saved_tensors
        scale, root = q.shape[-1] ** -0.5, q_int.shape[-1] ** -0.5
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        dq_int, dk_int = torch.empty_like(q_int), torch.empty_like(k_int)
        dbeta = torch.zeros(1, device=q.device)
        grad = grad.to(v.dtype)
        for b in range(q.shape[0]):
            torch.bmm(weights[b].transpose(1, 2), grad[b], out=dv[b])
            # d scores = w (d w - sum(w d w)), and sum(w d w) = <grad, out>.
            d_scores = (grad[b] @ v[b].transpose(1, 2)).float()
            d_scores -= (grad[b].float() * out[b].float()).sum(-1, keepdim=True)
            d_scores *= weights[b]
            d_log_i = torch.addcmul(d_scores.sum(0), shares[b], grad_kept)
            low = d_scores.to(q.dtype)
            torch.bmm(low, k[b], out=dq[b])
            torch.bmm(low.transpose(1, 2), q[b], out=dk[b])
            dz = sum_later(d_log_i).mul_(slopes[b])
            dbeta += dz.sum()
            torch.mm(dz, k_int[b], out=dq_int[b])
            torch.mm(dz.t(), q_int[b], out=dk_int[b])
        return (
            dq.mul_(scale),
            dk.mul_(scale),
            dv,
            dq_int.mul_(root),
            dk_int.mul_(root),
            dbeta,
            None,
            None,
        )

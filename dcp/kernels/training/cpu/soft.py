"""Soft-gated attention, its gradient written out; defined by `dcp.kernels.training.reference`.

One window at a time and 128 queries at a time, so that intermediates stay in cache and the future,
half of every [T, T], is not computed.

out = softmax(Q Kᵀ / sqrt(d) + log I) V,  log I[t, j] = sum over n = j+1 … t of log σ_α(z[n, j]),
z = q_int k_intᵀ / sqrt(r) + β  (arXiv 2305.15805, equations 4-6).
Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training.alpha_sigmoid import (
    AlphaSigmoid,
    attention_bias,
    exp_,
    log_gate_and_slope,
    sum_later,
)
from dcp.kernels.training.cpu.blocks import blocks

__all__ = ["soft_attention"]


def soft_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, pairs: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """As `dcp.kernels.training.reference.soft_attention`; q, k, v float32 or bfloat16."""
    return _SoftAttention.apply(  # type: ignore[no-any-return, no-untyped-call]
        q, k, v, gates.q_int, gates.k_int, gates.beta, pairs, alpha
    )


class _SoftAttention(torch.autograd.Function):
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
        out, kept = torch.empty_like(v), torch.zeros((), device=q.device)
        scale, root = q.shape[-1] ** -0.5, q_int.shape[-1] ** -0.5
        cut = [
            (rows, last, torch.ones(last - rows.start, last, device=q.device).tril(rows.start - 1))
            for rows, last in blocks(q.shape[2])
        ]
        saved = []
        for b in range(q.shape[0]):
            so_far = torch.zeros(q.shape[2], device=q.device)
            for rows, last, past in cut:
                z = torch.addmm(beta, q_int[b, rows], k_int[b, :last].t(), alpha=root)
                log_p, slope = log_gate_and_slope(z, sigmoid, past)
                log_i = log_p.cumsum(dim=0).add_(so_far[:last])
                so_far[:last] = log_i[-1]
                share = exp_(log_i.clone()).mul_(pairs[b, rows, :last])
                kept += share.sum()
                scores = ((q[b, :, rows] * scale) @ k[b, :, :last].transpose(1, 2)).float()
                weights = torch.softmax(scores.add_(attention_bias(log_i)), dim=-1).to(v.dtype)
                out[b, :, rows] = weights @ v[b, :, :last]
                saved.append((weights, slope, share))
        ctx.save_for_backward(q, k, v, q_int, k_int, out)
        ctx.saved = saved
        return out, kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, out = ctx.saved_tensors
        scale, root = q.shape[-1] ** -0.5, q_int.shape[-1] ** -0.5
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        dq_int, dk_int = torch.empty_like(q_int), torch.zeros_like(k_int)
        dbeta = torch.zeros(1, device=q.device)
        grad = grad.to(v.dtype)
        cut, saved = list(blocks(q.shape[2])), ctx.saved
        for b in reversed(range(q.shape[0])):
            later = torch.zeros(q.shape[2], device=q.device)
            for rows, last in reversed(cut):
                weights, slope, share = saved.pop()
                above = grad[b, :, rows]
                dv[b, :, :last] += weights.transpose(1, 2) @ above
                # d scores = w (d w - sum(w d w)), and sum(w d w) = <grad, out>.
                d_scores = (above @ v[b, :, :last].transpose(1, 2)).float()
                d_scores -= (above.float() * out[b, :, rows].float()).sum(-1, keepdim=True)
                d_scores *= weights
                d_log_i = torch.addcmul(d_scores.sum(0), share, grad_kept)
                low = d_scores.to(q.dtype)
                dq[b, :, rows] = low @ k[b, :, :last]
                dk[b, :, :last] += low.transpose(1, 2) @ q[b, :, rows]
                d_log_p = sum_later(d_log_i).add_(later[:last])
                later[:last] = d_log_p[0]
                dz = d_log_p.mul_(slope)
                dbeta += dz.sum()
                dq_int[b, rows] = dz @ k_int[b, :last]
                dk_int[b, :last].addmm_(dz.t(), q_int[b, rows])
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

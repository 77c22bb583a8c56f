"""Causal attention for training on a CPU: the result of `scaled_dot_product_attention`, several
times as fast in bfloat16.

torch's own kernel multiplies small float32 tiles. Here a block of 128 queries is three matrix
products over a few windows at once, in the type that they come in, and the future, half of every
[T, T], is not computed. Knows nothing of gates, layers or data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcp.kernels.training.cpu.blocks import blocks, causal_mask, groups

__all__ = ["causal_attention"]


def causal_attention(q: Tensor, k: Tensor, v: Tensor, death: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / sqrt(d) + causal mask) V, in bfloat16 or float32.

    q, k, v [B, H, T, d] of one type -> [B, H, T, d] of that type. Scores and weights are held in
    that type, sums inside the products and the softmax are float32. ``death`` [T] int64,
    death[j] > j: token j is visible at steps j <= t < death[j].
    """
    return _CausalAttention.apply(q, k, v, death)  # type: ignore[no-any-return, no-untyped-call]


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, death: Tensor | None) -> Tensor:
        q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.contiguous()
        out = torch.empty_like(v)
        saved = []
        for some in groups(q.shape[0], q.shape[1]):
            for rows, last in blocks(q.shape[2]):
                scores = q[some, :, rows] @ k[some, :, :last].transpose(2, 3)
                scores[..., rows.start :] += causal_mask(rows, scores)
                if death is not None:
                    steps = torch.arange(rows.start, last, device=q.device)[:, None]
                    scores.masked_fill_(steps >= death[:last], -torch.inf)
                weights = torch.softmax(scores, dim=-1)
                out[some, :, rows] = weights @ v[some, :, :last]
                saved.append(weights)
        ctx.save_for_backward(q, k, v)
        ctx.saved = saved
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v = ctx.saved_tensors
        grad = grad.to(v.dtype).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        saved = iter(ctx.saved)
        for some in groups(q.shape[0], q.shape[1]):
            for rows, last in blocks(q.shape[2]):
                weights = next(saved)
                above = grad[some, :, rows]
                dv[some, :, :last] += weights.transpose(2, 3) @ above
                d_weights = above @ v[some, :, :last].transpose(2, 3)
                d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
                dq[some, :, rows] = d_scores @ k[some, :, :last]
                dk[some, :, :last] += d_scores.transpose(2, 3) @ q[some, :, rows]
        ctx.saved = None
        return dq.mul_(q.shape[-1] ** -0.5), dk, dv, None

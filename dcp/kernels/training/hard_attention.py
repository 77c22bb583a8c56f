"""Attention under hard gates in training: what is dropped is gone, and the gates learn even so.

Forward, exactly the gates of inference: token j is visible at t while every gate since its birth is
open, min over n = j+1 … t of z[n, j] > 0, z = q_int k_intᵀ / sqrt(r) + β + δ. The minimum stands in
for the product of soft gates (arXiv 2305.15805, equation 5): one token has one margin, the same
gates as in use, and no window that shrinks with each step as a product of numbers below 1 does.

Backward, straight through: the step's slope in the margin m is taken as 1 / (2 (1 + |m|)²), which
never vanishes, so a layer that has closed can open again. What a visible pair is worth is the
gradient of its weight; what a dropped one would be worth, the gradient of the weight that it would
get beside the visible ones. Both reach the one gate that set the minimum.

128 queries at a time, a few windows at once. Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcp.kernels.training.causal_attention import blocks, causal_mask, groups

__all__ = ["hard_gated_attention"]

_OPEN = 1e4  # the gate of a pair that has none: the token itself, and the future
_LEAST = 1e-30


def hard_gated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_int: Tensor,
    k_int: Tensor,
    beta: Tensor,
    real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attention under hard gates, and how much was kept.

    q, k, v [B, H, T, d] float32 or bfloat16; q_int, k_int [B, T, r] float32; beta [B] float32, a
    window's gate shift included; real [B, T] bool, False where a query is padding.
    Returns out [B, H, T, d] in v's dtype and kept [B] float32, each window's number of visible
    pairs j < t, t real.
    """
    return _HardGatedAttention.apply(q, k, v, q_int, k_int, beta, real)  # type: ignore[no-any-return, no-untyped-call]


class _HardGatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor,
        k_int: Tensor,
        beta: Tensor,
        real: Tensor,
    ) -> tuple[Tensor, Tensor]:
        q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.contiguous()
        root = q_int.shape[-1] ** -0.5
        out, kept = torch.empty_like(v), torch.zeros_like(beta)
        least = torch.full_like(q_int[..., 0], _OPEN)  # [B, T], each token's margin so far
        margins, ratios = [], []
        for rows, last in blocks(q.shape[2]):
            z = torch.baddbmm(
                beta[:, None, None], q_int[:, rows], k_int[:, :last].transpose(1, 2), alpha=root
            )
            own = torch.ones(last - rows.start, last - rows.start, device=z.device).triu()
            z[..., rows.start :] += own * _OPEN
            margin = _running_minimum(z, least[:, :last])
            least[:, :last] = margin[:, -1]
            margins.append(margin)
            kept += ((margin > 0) & (margin < _OPEN / 2) & real[:, rows, None]).sum((1, 2))
            for some in groups(q.shape[0], q.shape[1]):
                scores = q[some, :, rows] @ k[some, :, :last].transpose(2, 3)
                scores[..., rows.start :] += causal_mask(rows, scores)
                whole = torch.softmax(scores, dim=-1)
                seen = (margin[some, None] > 0).to(v.dtype)
                share = (whole * seen).sum(-1, keepdim=True)
                ratio = whole.mul_(share.clamp_(min=_LEAST).reciprocal_())
                out[some, :, rows] = (ratio * seen) @ v[some, :, :last]
                ratios.append(ratio)
        ctx.save_for_backward(q, k, v, q_int, k_int, real, out)
        ctx.margins, ctx.ratios = margins, ratios
        return out, kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, real, out = ctx.saved_tensors
        root = q_int.shape[-1] ** -0.5
        grad = grad.to(v.dtype).contiguous()
        level = (grad * out).sum(-1, keepdim=True)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        dq_int, dk_int = torch.empty_like(q_int), torch.zeros_like(k_int)
        dbeta = torch.zeros_like(grad_kept)
        later: Tensor | None = None  # gradient of a margin that this block's minima pass on
        for rows, last in reversed(list(blocks(q.shape[2]))):
            margin = ctx.margins.pop()
            before = ctx.margins[-1][:, -1] if ctx.margins else margin.new_empty(len(margin), 0)
            before = torch.nn.functional.pad(before, (0, last - before.shape[1]), value=_OPEN)
            worth = (real[:, rows, None] & (margin < _OPEN / 2)) * grad_kept[:, None, None]
            for some in reversed(list(groups(q.shape[0], q.shape[1]))):
                ratio = ctx.ratios.pop()
                seen = (margin[some, None] > 0).to(v.dtype)
                weights = ratio * seen
                above = grad[some, :, rows]
                dv[some, :, :last] += weights.transpose(2, 3) @ above
                gain = above @ v[some, :, :last].transpose(2, 3)
                gain -= level[some, :, rows]
                d_scores = weights.mul_(gain)
                dq[some, :, rows] = d_scores @ k[some, :, :last]
                dk[some, :, :last] += d_scores.transpose(2, 3) @ q[some, :, rows]
                # A dropped token would get ratio / (1 + ratio) of the weight.
                would = ratio.div_((1 - seen).mul(ratio).add_(1)).mul_(gain)
                worth[some] += would.sum(1)
            d_margin = worth.div_(margin.abs().add_(1).square_().mul_(2))
            is_new, later = _to_the_minima(d_margin, margin, before, later)
            dz = d_margin.mul_(is_new)
            dbeta += dz.sum((1, 2))
            dq_int[:, rows] = dz @ k_int[:, :last]
            dk_int[:, :last] += dz.transpose(1, 2) @ q_int[:, rows]
        scale = q.shape[-1] ** -0.5
        return dq.mul_(scale), dk, dv, dq_int.mul_(root), dk_int.mul_(root), dbeta, None


def _running_minimum(z: Tensor, least: Tensor) -> Tensor:
    """z [B, R, N] -> in place, the minimum of ``least`` [B, N] and all rows up to each."""
    before = least
    for row in z.unbind(1):
        before = torch.minimum(before, row, out=row)
    return z


def _to_the_minima(
    d_margin: Tensor, margin: Tensor, before: Tensor, later: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum d_margin [B, R, N] in place from each row back to the row that set its minimum.

    before [B, N]: the margins ahead of the first row; later [B, N'], N' >= N: gradients that the
    rows after the last pass back. Returns is_new [B, R, N], 1 where a row sets a minimum, and what
    is passed on to the rows before.
    """
    ahead = torch.cat((before[:, None], margin[:, :-1]), dim=1)
    is_new = (margin < ahead).to(margin.dtype)
    passed = 1 - is_new
    rows, shares = d_margin.unbind(1), passed.unbind(1)
    if later is not None:
        rows[-1].add_(later[:, : margin.shape[2]])
    for i in range(len(rows) - 2, -1, -1):
        rows[i].addcmul_(rows[i + 1], shares[i + 1])
    return is_new, rows[0] * shares[0]

"""Attention under hard gates in training: what is dropped is gone, and the gates learn even so.

Forward, exactly the gates of inference: token j is visible at t while every gate since its birth is
open, min over n = j+1 … t of z[n, j] > 0, z = q_int k_intᵀ / sqrt(r) + β + δ. The minimum stands in
for the product of soft gates (arXiv 2305.15805, equation 5): one token has one margin, the same
gates as in use, and no window that shrinks with each step as a product of numbers below 1 does.

Backward, straight through: the step's slope in the margin m is taken as 1 / (2 (1 + |m|)²), which
never vanishes, so a layer that has closed can open again. What a visible pair is worth is the
gradient of its weight; what a dropped one would be worth, the gradient of the weight that it would
get beside the visible ones. Both reach the one gate that set the minimum.

128 queries of a window at a time, on the tokens that are not long gone: where most is dropped the
work is that of what is left. Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training.cpu.blocks import blocks, causal_mask

__all__ = ["hard_attention"]

_OPEN = 1e4  # the gate of a pair that has none: the token itself, and the future
_LEAST = 1e-30


def hard_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, price: Tensor, depth: float = math.inf
) -> tuple[Tensor, Tensor]:
    """As `dcp.kernels.training.reference.hard_attention`; q, k, v float32 or bfloat16.

    What ``depth`` leaves alone is not computed, so that it is also faster.
    """
    return _HardAttention.apply(  # type: ignore[no-any-return, no-untyped-call]
        q, k, v, gates.q_int, gates.k_int, gates.beta, price, depth
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """What the backward of R queries of one window needs: the n tokens they look at, the block's
    own last; margin [R, n] float32; ratio [H_kv, G R, n], each weight over those of the visible."""

    rows: slice
    at: Tensor
    margin: Tensor
    ratio: Tensor


class _HardAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor,
        k_int: Tensor,
        beta: Tensor,
        price: Tensor,
        depth: float,
    ) -> tuple[Tensor, Tensor]:
        q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.contiguous()
        out, kept = torch.empty_like(q), torch.zeros_like(beta)
        keeps = any(ctx.needs_input_grad)
        saved: list[list[_Block]] = [[] for _ in range(len(q))]
        for window in range(len(q)):
            least = torch.full_like(q_int[window, :, 0], _OPEN)  # [T], each token's margin so far
            for rows, last in blocks(q.shape[2]):
                own = torch.arange(rows.start, last, device=q.device)
                at = torch.cat(((least[: rows.start] > -depth).nonzero()[:, 0], own))
                margin = _margins(q_int[window, rows], k_int[window, at], beta[window], least[at])
                least[at] = margin[-1]
                pairs = (margin > 0) & (margin < _OPEN / 2)
                kept[window] += (pairs.sum(1) * price[window, rows]).sum()
                scores = _stacked(q[window, :, rows], k.shape[1]) @ k[window, :, at].transpose(1, 2)
                by_head = scores.view(q.shape[1], len(own), len(at))
                near = by_head[..., len(at) - len(own) :]
                near += causal_mask(slice(0, len(own)), near)
                ratio = torch.softmax(by_head, dim=-1)
                seen = (margin > 0).to(v.dtype)
                weights = ratio * seen
                over = weights.sum(-1, keepdim=True).clamp_(min=_LEAST).reciprocal_()
                mixed = weights.mul_(over).view_as(scores) @ v[window, :, at]
                out[window, :, rows] = mixed.view(q.shape[1], len(own), -1)
                if keeps:
                    saved[window].append(_Block(rows, at, margin, ratio.mul_(over).view_as(scores)))
        ctx.save_for_backward(q, k, v, q_int, k_int, price, out)
        ctx.saved = saved
        return out, kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, price, out = ctx.saved_tensors
        heads, kv_heads = q.shape[1], k.shape[1]
        grad = grad.to(v.dtype).contiguous()
        level = (grad * out).sum(-1, keepdim=True)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        dq_int, dk_int = torch.empty_like(q_int), torch.zeros_like(k_int)
        dbeta = torch.zeros_like(grad_kept)
        for window in reversed(range(len(q))):
            blocks_here = ctx.saved.pop()
            # Gradient of each token's margin that a block's minima pass on to the blocks before.
            later = torch.zeros_like(q_int[window, :, 0])
            while blocks_here:
                block: _Block = blocks_here.pop()
                rows, at, margin, ratio = block.rows, block.at, block.margin, block.ratio
                before = torch.full_like(margin[0], _OPEN)
                if blocks_here:
                    earlier = blocks_here[-1]
                    least = torch.full_like(later, _OPEN)
                    least[earlier.at] = earlier.margin[-1]
                    before = least[at]
                seen = (margin > 0).to(v.dtype)
                weights = (ratio.view(heads, *margin.shape) * seen).view_as(ratio)
                above = _stacked(grad[window, :, rows], kv_heads)
                dv[window].index_add_(1, at, weights.transpose(1, 2) @ above)
                gain = above @ v[window, :, at].transpose(1, 2)
                gain -= _stacked(level[window, :, rows], kv_heads)
                d_scores = weights.mul_(gain)
                d_q = d_scores @ k[window, :, at]
                dq[window, :, rows] = d_q.view(heads, len(margin), -1)
                d_k = d_scores.transpose(1, 2) @ _stacked(q[window, :, rows], kv_heads)
                dk[window].index_add_(1, at, d_k)
                # A dropped token would get ratio / (1 + ratio) of the weight.
                gain = gain.mul_(ratio).view(heads, *margin.shape)
                ratio = ratio.view(heads, *margin.shape).mul_(1 - seen).add_(1)
                worth = gain.div_(ratio).sum(0, dtype=torch.float32)
                worth += (margin < _OPEN / 2) * (price[window, rows, None] * grad_kept[window])
                d_margin = worth.div_(margin.abs().add_(1).square_().mul_(2))
                dz, passed = _to_the_minima(d_margin, margin, before, later[at])
                later[at] = passed
                dbeta[window] += dz.sum()
                dq_int[window, rows] = dz @ k_int[window, at]
                dk_int[window].index_add_(0, at, dz.T @ q_int[window, rows])
        root = q_int.shape[-1] ** -0.5
        scale = q.shape[-1] ** -0.5
        return dq.mul_(scale), dk, dv, dq_int.mul_(root), dk_int.mul_(root), dbeta, None, None


def _stacked(x: Tensor, kv_heads: int) -> Tensor:
    """[H, R, d] -> [H_kv, G R, d]: the queries that share keys in one product."""
    return x.reshape(kv_heads, -1, x.shape[-1])


def _margins(q_int: Tensor, k_int: Tensor, beta: Tensor, least: Tensor) -> Tensor:
    """The margins [R, n] of n tokens, the last R of them the queries' own, after each query;
    ``least`` [n] those before."""
    z = torch.addmm(beta, q_int, k_int.T, alpha=q_int.shape[-1] ** -0.5)
    z[:, len(least) - len(z) :] += torch.full_like(z[:, : len(z)], _OPEN).triu()
    step = 1
    while step < len(z):
        z = torch.cat((z[:step], torch.minimum(z[step:], z[:-step])))
        step *= 2
    return torch.minimum(z, least)


def _to_the_minima(
    d_margin: Tensor, margin: Tensor, before: Tensor, later: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum d_margin [R, n] from each row back to the row that set its minimum.

    before [n]: the margins ahead of the first row; later [n]: gradients that the rows after the
    last pass back. Returns dz [R, n], nonzero where a row sets a minimum, and what is passed on to
    the rows before.
    """
    ahead = torch.cat((before[None], margin[:-1]))
    is_new = (margin < ahead).to(margin.dtype)
    passed = 1 - is_new
    total = d_margin
    total[-1] += later
    # Row i sums itself and those after it up to the next minimum: twice as many at each turn.
    through = torch.cat((passed[1:], torch.zeros_like(passed[:1])))
    step = 1
    while step < len(total):
        total = torch.cat(
            (torch.addcmul(total[:-step], through[:-step], total[step:]), total[-step:])
        )
        through = torch.cat((through[:-step] * through[step:], torch.zeros_like(through[-step:])))
        step *= 2
    return total * is_new, total[0] * passed[0]

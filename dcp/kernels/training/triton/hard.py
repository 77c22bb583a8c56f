"""Attention under hard gates in training in Triton, its gradient straight through.

Forward it is attention beside a log I of 0 or, where a gate has closed, -inf. What each pair is
worth to the gates is one kernel; that the one gate which set a minimum gets it is a sum by index.
`dcp.kernels.training.cpu.hard` says what is computed. Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training.common import BLOCK
from dcp.kernels.training.triton.launch import attend, check, gradients, shape_of, tile
from dcp.kernels.triton.hard_attention import worth_kernel

__all__ = ["hard_attention"]

_OPEN = 1e4  # the gate of a pair that has none: the token itself, and the future
_SHUT = -100.0  # log I of a dropped pair, which the kernels take as out of reach


def hard_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, price: Tensor, depth: float = math.inf
) -> tuple[Tensor, Tensor]:
    """As `dcp.kernels.training.reference.hard_attention`.

    Raises DeviceError where `supports` says no: such tiles do not fit the registers.
    """
    check(q)
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    return _HardAttention.apply(  # type: ignore[no-any-return, no-untyped-call]
        q, k, v, gates.q_int, gates.k_int, gates.beta, price, depth
    )


class _HardAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, q_int: Tensor, k_int: Tensor, beta: Tensor,
        price: Tensor, depth: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        q, k, v = (x.contiguous() for x in (q, k, v))
        z = Gates(q_int, k_int, beta).logits()
        margin, at = z.add_(torch.full_like(z[0], _OPEN).triu()).cummin(dim=1)
        seen = (margin > 0).tril(-1).sum(2)
        kept = (seen * price).sum(1).to(margin.dtype)
        out, lse = attend(q, k, v, _log_i(margin))
        at = at.to(torch.int16 if len(z[0]) <= 2**15 else torch.int32)
        ctx.save_for_backward(q, k, v, q_int, k_int, price, out, lse, margin, at)
        ctx.depth = depth
        return out, kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, price, out, lse, margin, at = ctx.saved_tensors
        batch, heads, length, width = q.shape
        grad = grad.to(v.dtype).contiguous()
        delta = (grad.float() * out.float()).sum(dim=-1)
        log_i = _log_i(margin)
        dq, dk, dv = gradients(q, k, v, log_i, grad, lse, delta)
        paid = price.to(margin.dtype) * grad_kept[:, None]
        worth = paid[:, :, None].repeat(1, 1, length)
        sizes = tile("worth", width, q.element_size())
        keys, queries = (triton.cdiv(length, sizes[f"BLOCK_{side}"]) for side in "JT")
        worth_kernel[(keys, queries, batch)](
            q, k, v, log_i, grad, lse, delta, worth, heads, length,
            num_stages=2, **shape_of(q), **sizes,
        )  # fmt: skip
        d_margin = worth.div_(margin.abs().add_(1).square_().mul_(2)).tril_(-1)
        if ctx.depth < math.inf:
            d_margin.masked_fill_(_long_gone(margin, ctx.depth), 0.0)
        dz = torch.zeros_like(margin).scatter_add_(1, at.long(), d_margin)
        root = q_int.shape[-1] ** -0.5
        dq_int = torch.bmm(dz, k_int).mul_(root)
        dk_int = torch.bmm(dz.transpose(1, 2), q_int).mul_(root)
        return dq, dk, dv, dq_int, dk_int, dz.sum((1, 2)), None, None


def _log_i(margin: Tensor) -> Tensor:
    """[B, T, T] float32: 0 where a token is visible, else out of reach."""
    return (margin <= 0).float().mul_(_SHUT)


def _long_gone(margin: Tensor, depth: float) -> Tensor:
    """[B, T, T] bool: pairs of a token whose margin was -depth or less as the block of 128 queries
    began; they are left alone."""
    ahead = torch.cat((torch.full_like(margin[:, :1], _OPEN), margin[:, BLOCK - 1 :: BLOCK]), 1)
    gone = (ahead <= -depth).repeat_interleave(BLOCK, dim=1)
    return gone[:, : margin.shape[1]]

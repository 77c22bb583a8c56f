"""Soft-gated attention of training in Triton, forward and backward.

log I is one [B, T, T] for all heads, made again in the backward pass instead of kept, and there
overwritten by the gate logits' gradient. Defined by `dcp.kernels.training.reference`. Knows nothing
of layers, data or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.kernels.training.triton.launch import attend, check, gradients, shape_of, tile
from dcp.kernels.triton.soft_attention import logits_kernel
from dcp.kernels.triton.soft_gate import log_interaction_kernel

__all__ = ["soft_attention"]


def soft_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, pairs: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """As `dcp.kernels.training.reference.soft_attention`.

    Raises DeviceError where `supports` says no: such tiles do not fit the registers.
    """
    check(q)
    return _SoftAttention.apply(  # type: ignore[no-any-return, no-untyped-call]
        q, k, v, gates.q_int, gates.k_int, gates.beta, pairs, alpha
    )


class _SoftAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, q_int: Tensor, k_int: Tensor, beta: Tensor,
        pairs: Tensor, alpha: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        q, k, v, q_int, k_int = (x.contiguous() for x in (q, k, v, q_int, k_int))
        log_i, kept = _log_interaction(q_int, k_int, beta, pairs, alpha)
        out, lse = attend(q, k, v, log_i)
        ctx.save_for_backward(q, k, v, q_int, k_int, beta, pairs, out, lse)
        ctx.alpha = alpha
        return out, kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, q_int, k_int, beta, pairs, out, lse = ctx.saved_tensors
        batch, heads, length, width = q.shape
        grad = grad.to(v.dtype).contiguous()
        delta = (grad.float() * out.float()).sum(dim=-1)
        log_i, _ = _log_interaction(q_int, k_int, beta, pairs, ctx.alpha)
        dq, dk, dv = gradients(q, k, v, log_i, grad, lse, delta)
        r = q_int.shape[-1]
        sizes = tile("logits", width, q.element_size())
        # One stage: it writes the tiles of log I that it reads.
        logits_kernel[(triton.cdiv(length, sizes["BLOCK_J"]), batch)](
            q, k, v, q_int, k_int, beta, pairs, log_i, grad, grad_kept.float(), lse, delta,
            heads, length, ctx.alpha - 1.0,
            R=r, SLICE=16, NEAR_ONE=ctx.alpha < 1.5, num_stages=1, **shape_of(q), **sizes,
        )  # fmt: skip
        dz = log_i
        dq_int = torch.bmm(dz, k_int).mul_(r**-0.5)
        dk_int = torch.bmm(dz.transpose(1, 2), q_int).mul_(r**-0.5)
        return dq, dk, dv, dq_int, dk_int, dz.sum().view_as(beta), None, None


def _log_interaction(
    q_int: Tensor, k_int: Tensor, beta: Tensor, pairs: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """log I [B, T, T], 0 above the diagonal, and the sum of I over the counted pairs."""
    batch, length, r = q_int.shape
    log_i = torch.zeros(batch, length, length, device=q_int.device)
    block = 32
    columns = triton.cdiv(length, block)
    kept = torch.empty(batch, columns, device=q_int.device)
    log_interaction_kernel[(columns, batch)](
        q_int, k_int, beta, pairs, log_i, kept, length, alpha - 1.0,
        R=r, SLICE=16, BLOCK_T=block, BLOCK_J=block, NEAR_ONE=alpha < 1.5, num_warps=4,
    )  # fmt: skip
    return log_i, kept.sum()

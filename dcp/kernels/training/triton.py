"""Soft-gated attention of training in Triton, forward and backward, no T x T matrix per head.

out = softmax(Q K^T / sqrt(d) + log I) V (arXiv 2305.15805, equation 4). log I is one [B, T, T] for
all heads, made again in the backward pass instead of kept, and there overwritten by the gate
logits' gradient. Defined by `dcp.kernels.training.reference`. Knows nothing of layers, data or
schedules.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.gates import Gates
from dcp.kernels.triton.common import exact, padded
from dcp.kernels.triton.soft_attention import (
    forward_kernel,
    keys_kernel,
    logits_kernel,
    queries_kernel,
)
from dcp.kernels.triton.soft_gate import log_interaction_kernel

__all__ = ["soft_attention", "supports"]


def tile(kernel: str, width: int, element: int) -> dict[str, int]:
    """Block sizes that spill no registers (see the compiled table)."""
    wide = padded(width)
    sizes = (_HALF if element == 2 else _FULL)[kernel]
    queries, keys, warps = sizes[0 if wide <= 64 else 1 if wide <= 128 else 2]
    return {"BLOCK_T": queries, "BLOCK_J": keys, "num_warps": warps}


# Queries, keys and warps of a tile for heads of up to 64, 128 and 256 elements.
_Tiles = tuple[tuple[int, int, int], ...]
_HALF: dict[str, _Tiles] = {
    "forward": ((64, 64, 4), (64, 32, 4), (64, 32, 8)),
    "keys": ((64, 64, 4), (64, 32, 4), (32, 32, 8)),
    "queries": ((64, 64, 4), (64, 32, 4), (64, 32, 8)),
    "logits": ((64, 32, 8), (64, 16, 8), (16, 16, 4)),
}
_FULL: dict[str, _Tiles] = {
    "forward": ((32, 32, 4), (32, 32, 8)),
    "keys": ((32, 32, 8), (16, 16, 8)),
    "queries": ((32, 32, 4), (32, 32, 8)),
    "logits": ((32, 32, 4), (32, 16, 8)),
}


class _SoftAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, q_int: Tensor, k_int: Tensor, beta: Tensor,
        pairs: Tensor, alpha: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        q, k, v, q_int, k_int = (x.contiguous() for x in (q, k, v, q_int, k_int))
        batch, heads, length, width = q.shape
        log_i, kept = _log_interaction(q_int, k_int, beta, pairs, alpha)
        out = torch.empty_like(v)
        lse = torch.empty(batch, heads, length, device=q.device)
        sizes = tile("forward", width, q.element_size())
        forward_kernel[(triton.cdiv(length, sizes["BLOCK_T"]), batch * heads)](
            q, k, v, log_i, out, lse, heads, length,
            WIDTH=width, WIDTH_PAD=padded(width), PRECISION=exact(q), num_stages=2, **sizes,
        )  # fmt: skip
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
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        shape = {"WIDTH": width, "WIDTH_PAD": padded(width), "PRECISION": exact(q)}
        sizes = tile("keys", width, q.element_size())
        keys_kernel[(triton.cdiv(length, sizes["BLOCK_J"]), batch * heads)](
            q, k, v, log_i, grad, lse, delta, dk, dv, heads, length,
            num_stages=2, **shape, **sizes,
        )  # fmt: skip
        sizes = tile("queries", width, q.element_size())
        queries_kernel[(triton.cdiv(length, sizes["BLOCK_T"]), batch * heads)](
            q, k, v, log_i, grad, lse, delta, dq, heads, length,
            num_stages=2, **shape, **sizes,
        )  # fmt: skip
        r = q_int.shape[-1]
        sizes = tile("logits", width, q.element_size())
        # One stage: it writes the tiles of log I that it reads.
        logits_kernel[(triton.cdiv(length, sizes["BLOCK_J"]), batch)](
            q, k, v, q_int, k_int, beta, pairs, log_i, grad, grad_kept.float(), lse, delta,
            heads, length, ctx.alpha - 1.0,
            R=r, SLICE=16, NEAR_ONE=ctx.alpha < 1.5, num_stages=1, **shape, **sizes,
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


def supports(width: int, element: int) -> bool:
    """Whether heads of ``width`` elements of ``element`` bytes have a tile: float32 up to 128."""
    return width <= (256 if element == 2 else 128)


def soft_attention(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, pairs: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """As `dcp.kernels.training.reference.soft_attention`.

    Raises DeviceError where `supports` says no: such tiles do not fit the registers.
    """
    if not supports(q.shape[-1], q.element_size()):
        raise DeviceError(
            f"{q.dtype} heads of {q.shape[-1]} elements cannot be trained in Triton; "
            f"use bfloat16 and at most 256"
        )
    return _SoftAttention.apply(  # type: ignore[no-any-return]
        q, k, v, gates.q_int, gates.k_int, gates.beta, pairs, alpha
    )

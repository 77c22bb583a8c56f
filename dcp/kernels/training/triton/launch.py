"""What soft and hard gates share: attention beside a log I [B, T, T], forward and backward.

out = softmax(Q K^T / sqrt(d) + log I) V (arXiv 2305.15805, equation 4), no T x T matrix per head.
Knows nothing of where log I comes from.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.triton.common import exact, padded
from dcp.kernels.triton.soft_attention import forward_kernel, keys_kernel, queries_kernel

__all__ = ["attend", "check", "gradients", "shape_of", "supports", "tile"]

# Queries, keys and warps of a tile for heads of up to 64, 128 and 256 elements.
_Tiles = tuple[tuple[int, int, int], ...]
_HALF: dict[str, _Tiles] = {
    "forward": ((64, 64, 4), (64, 32, 4), (64, 32, 8)),
    "keys": ((64, 64, 4), (64, 32, 4), (32, 32, 8)),
    "queries": ((64, 64, 4), (64, 32, 4), (64, 32, 8)),
    "logits": ((64, 32, 8), (64, 16, 8), (16, 16, 4)),
    "worth": ((64, 32, 4), (64, 32, 4), (32, 32, 4)),
}
_FULL: dict[str, _Tiles] = {
    "forward": ((32, 32, 4), (32, 32, 8)),
    "keys": ((32, 32, 8), (16, 16, 8)),
    "queries": ((32, 32, 4), (32, 32, 8)),
    "logits": ((32, 32, 4), (32, 16, 8)),
    "worth": ((32, 32, 4), (32, 32, 8)),
}


def tile(kernel: str, width: int, element: int) -> dict[str, int]:
    """Block sizes that spill no registers (see the compiled table)."""
    wide = padded(width)
    sizes = (_HALF if element == 2 else _FULL)[kernel]
    queries, keys, warps = sizes[0 if wide <= 64 else 1 if wide <= 128 else 2]
    return {"BLOCK_T": queries, "BLOCK_J": keys, "num_warps": warps}


def supports(width: int, element: int) -> bool:
    """Whether heads of ``width`` elements of ``element`` bytes have a tile: float32 up to 128."""
    return width <= (256 if element == 2 else 128)


def check(q: Tensor) -> None:
    """Raise DeviceError where `supports` says no: such tiles do not fit the registers."""
    if not supports(q.shape[-1], q.element_size()):
        raise DeviceError(
            f"{q.dtype} heads of {q.shape[-1]} elements cannot be trained in Triton; "
            f"use bfloat16 and at most 256"
        )


def shape_of(q: Tensor) -> dict[str, Any]:
    """The constants of every kernel that reads heads like q [B, H, T, d]."""
    width = q.shape[-1]
    return {"WIDTH": width, "WIDTH_PAD": padded(width), "PRECISION": exact(q)}


def attend(q: Tensor, k: Tensor, v: Tensor, log_i: Tensor) -> tuple[Tensor, Tensor]:
    """out [B, H, T, d] and the logarithm of each query's sum of weights [B, H, T], over ln 2.

    q, k, v [B, H, T, d] of one dtype and log_i [B, T, T] float32, all contiguous.
    """
    batch, heads, length, width = q.shape
    out = torch.empty_like(v)
    lse = torch.empty(batch, heads, length, device=q.device)
    sizes = tile("forward", width, q.element_size())
    forward_kernel[(triton.cdiv(length, sizes["BLOCK_T"]), batch * heads)](
        q, k, v, log_i, out, lse, heads, length, num_stages=2, **shape_of(q), **sizes,
    )  # fmt: skip
    return out, lse


def gradients(
    q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, grad: Tensor, lse: Tensor, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v [B, H, T, d], of their dtype.

    grad [B, H, T, d]: that of out, contiguous and of v's dtype; lse [B, H, T] as from `attend`;
    delta [B, H, T] float32: grad · out.
    """
    batch, heads, length, width = q.shape
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    shape = shape_of(q)
    sizes = tile("keys", width, q.element_size())
    keys_kernel[(triton.cdiv(length, sizes["BLOCK_J"]), batch * heads)](
        q, k, v, log_i, grad, lse, delta, dk, dv, heads, length, num_stages=2, **shape, **sizes,
    )  # fmt: skip
    sizes = tile("queries", width, q.element_size())
    queries_kernel[(triton.cdiv(length, sizes["BLOCK_T"]), batch * heads)](
        q, k, v, log_i, grad, lse, delta, dq, heads, length, num_stages=2, **shape, **sizes,
    )  # fmt: skip
    return dq, dk, dv

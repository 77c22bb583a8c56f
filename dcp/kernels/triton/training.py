"""Soft-gated attention of training, forward and backward, without a T x T matrix per head.

out = softmax(Q K^T / sqrt(d) + log I) V (arXiv 2305.15805, equation 4). log I is one [B, T, T] for
all heads, made again in the backward pass instead of kept, and there overwritten by the gate
logits' gradient. Takes the place of `kernels.training.gated_attention.gated_attention`; its oracle
is `dcp.train.objective.plain_gated_attention`. Knows nothing of layers, data or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.triton.common import FAR, LOG2E, exact, padded
from dcp.kernels.triton.soft_gate import gate, log_interaction_kernel, logit_tile

__all__ = ["gated_attention", "supports"]

CLOSED = tl.constexpr(-20.0)


@triton.jit
def _load(x, rows, length, WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr):
    """Rows [M, WIDTH] of one head [length, WIDTH], zeros past its end."""
    e = tl.arange(0, WIDTH_PAD)
    return tl.load(x + rows[:, None] * WIDTH + e, (rows < length)[:, None] & (e < WIDTH), 0.0)


@triton.jit
def _scores(
    q, k, log_i, t, j, length, WIDTH: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """(q k^T / sqrt(WIDTH) + log I) / ln 2 [M, N] of one window, -inf above the diagonal and, as
    in `dcp.kernels.training.alpha_sigmoid.attention_bias`, where a gate has closed."""
    visible = (t[:, None] >= j[None, :]) & (t < length)[:, None]
    bias = tl.load(log_i + t.to(tl.int64)[:, None] * length + j[None, :], visible, CLOSED)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) / tl.sqrt(WIDTH * 1.0)
    return tl.where(bias > CLOSED, (scores + bias) * LOG2E, -FAR)


@triton.jit
def forward_kernel(
    q, k, v, log_i, out, lse, heads, length,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head; lse [B, H, T] in units of ln 2."""
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    own = head * length * WIDTH
    log_i += head // heads * length * length
    t = block * BLOCK_T + tl.arange(0, BLOCK_T)
    query = _load(q + own, t, length, WIDTH, WIDTH_PAD)
    acc = tl.zeros([BLOCK_T, WIDTH_PAD], tl.float32)
    top = tl.full([BLOCK_T], -FAR, tl.float32)
    total = tl.zeros([BLOCK_T], tl.float32)
    for start in range(0, tl.minimum((block + 1) * BLOCK_T, length), BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        key = _load(k + own, j, length, WIDTH, WIDTH_PAD)
        value = _load(v + own, j, length, WIDTH, WIDTH_PAD)
        scores = _scores(query, key, log_i, t, j, length, WIDTH, PRECISION)
        higher = tl.maximum(top, tl.max(scores, axis=1))
        base = tl.where(higher == -FAR, 0.0, higher)
        weights = tl.exp2(scores - base[:, None])
        shrink = tl.exp2(top - base)
        total = total * shrink + tl.sum(weights, axis=1)
        weighed = tl.dot(weights.to(value.dtype), value, input_precision=PRECISION)
        acc = acc * shrink[:, None] + weighed
        top = higher
    total = tl.where(total == 0.0, 1.0, total)
    e = tl.arange(0, WIDTH_PAD)
    inside = (t < length)[:, None] & (e < WIDTH)
    place = out + own + t[:, None] * WIDTH + e
    tl.store(place, (acc / total[:, None]).to(out.dtype.element_ty), inside)
    tl.store(lse + head * length + t, top + tl.log2(total), t < length)


@triton.jit
def keys_kernel(
    q, k, v, log_i, grad, lse, delta, dk, dv, heads, length,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of keys and values of one head."""
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    own = head * length * WIDTH
    log_i += head // heads * length * length
    j = block * BLOCK_J + tl.arange(0, BLOCK_J)
    key = _load(k + own, j, length, WIDTH, WIDTH_PAD)
    value = _load(v + own, j, length, WIDTH, WIDTH_PAD)
    d_key = tl.zeros([BLOCK_J, WIDTH_PAD], tl.float32)
    d_value = tl.zeros([BLOCK_J, WIDTH_PAD], tl.float32)
    for start in range(block * BLOCK_J // BLOCK_T * BLOCK_T, length, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        query = _load(q + own, t, length, WIDTH, WIDTH_PAD)
        d_out = _load(grad + own, t, length, WIDTH, WIDTH_PAD)
        size = tl.load(lse + head * length + t, t < length, 0.0)
        scores = _scores(query, key, log_i, t, j, length, WIDTH, PRECISION)
        weights = tl.exp2(scores - size[:, None])
        d_value += tl.dot(tl.trans(weights.to(d_out.dtype)), d_out, input_precision=PRECISION)
        d_weights = tl.dot(d_out, tl.trans(value), input_precision=PRECISION)
        mean = tl.load(delta + head * length + t, t < length, 0.0)
        d_scores = weights * (d_weights - mean[:, None])
        d_key += tl.dot(tl.trans(d_scores.to(query.dtype)), query, input_precision=PRECISION)
    e = tl.arange(0, WIDTH_PAD)
    inside = (j < length)[:, None] & (e < WIDTH)
    place = own + j[:, None] * WIDTH + e
    d_key = d_key / tl.sqrt(WIDTH * 1.0)
    tl.store(dk + place, d_key.to(dk.dtype.element_ty), inside)
    tl.store(dv + place, d_value.to(dv.dtype.element_ty), inside)


@triton.jit
def queries_kernel(
    q, k, v, log_i, grad, lse, delta, dq, heads, length,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradient of one block of queries of one head."""
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    own = head * length * WIDTH
    log_i += head // heads * length * length
    t = block * BLOCK_T + tl.arange(0, BLOCK_T)
    query = _load(q + own, t, length, WIDTH, WIDTH_PAD)
    d_out = _load(grad + own, t, length, WIDTH, WIDTH_PAD)
    size = tl.load(lse + head * length + t, t < length, 0.0)
    mean = tl.load(delta + head * length + t, t < length, 0.0)
    d_query = tl.zeros([BLOCK_T, WIDTH_PAD], tl.float32)
    for start in range(0, tl.minimum((block + 1) * BLOCK_T, length), BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        key = _load(k + own, j, length, WIDTH, WIDTH_PAD)
        value = _load(v + own, j, length, WIDTH, WIDTH_PAD)
        scores = _scores(query, key, log_i, t, j, length, WIDTH, PRECISION)
        weights = tl.exp2(scores - size[:, None])
        d_weights = tl.dot(d_out, tl.trans(value), input_precision=PRECISION)
        d_scores = weights * (d_weights - mean[:, None])
        d_query += tl.dot(d_scores.to(key.dtype), key, input_precision=PRECISION)
    e = tl.arange(0, WIDTH_PAD)
    inside = (t < length)[:, None] & (e < WIDTH)
    d_query = d_query / tl.sqrt(WIDTH * 1.0)
    tl.store(dq + own + t[:, None] * WIDTH + e, d_query.to(dq.dtype.element_ty), inside)


@triton.jit
def logits_kernel(
    q, k, v, q_int, k_int, beta, pairs, log_i, grad, grad_kept, lse, delta, heads, length, a,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, R: tl.constexpr, SLICE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr, NEAR_ONE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradient of the gate logits of one block of columns, all heads, in the place of log I.

    Gate n of a column reaches every t >= n: the sum runs from the last query up.
    """
    block = tl.program_id(0)
    window = tl.program_id(1).to(tl.int64)
    q_int += window * length * R
    k_int += window * length * R
    square = window * length * length
    log_i += square
    j = block * BLOCK_J + tl.arange(0, BLOCK_J)
    shift = tl.load(beta)
    d_kept = tl.load(grad_kept)
    after = tl.zeros([BLOCK_J], tl.float32)
    first = block * BLOCK_J // BLOCK_T
    steps = tl.cdiv(length, BLOCK_T)
    for back in range(steps - first):
        t = (steps - 1 - back) * BLOCK_T + tl.arange(0, BLOCK_T)
        inside = (t < length)[:, None] & (j < length)[None, :]
        later = inside & (t[:, None] > j[None, :])
        place = t.to(tl.int64)[:, None] * length + j[None, :]
        share = tl.exp2(tl.load(log_i + place, later, 0.0) * LOG2E)
        d_log = share * tl.load(pairs + square + place, later, 0.0) * d_kept
        for h in range(heads):
            head = window * heads + h
            own = head * length * WIDTH
            query = _load(q + own, t, length, WIDTH, WIDTH_PAD)
            key = _load(k + own, j, length, WIDTH, WIDTH_PAD)
            value = _load(v + own, j, length, WIDTH, WIDTH_PAD)
            d_out = _load(grad + own, t, length, WIDTH, WIDTH_PAD)
            size = tl.load(lse + head * length + t, t < length, 0.0)
            mean = tl.load(delta + head * length + t, t < length, 0.0)
            scores = _scores(query, key, log_i, t, j, length, WIDTH, PRECISION)
            weights = tl.exp2(scores - size[:, None])
            d_weights = tl.dot(d_out, tl.trans(value), input_precision=PRECISION)
            d_log += weights * (d_weights - mean[:, None])
        d_log = tl.where(later, d_log, 0.0)
        reaching = after[None, :] + tl.cumsum(d_log, axis=0, reverse=True)
        after += tl.sum(d_log, axis=0)
        z = logit_tile(q_int, k_int, shift, t, j, length, R, SLICE, BLOCK_T, BLOCK_J)
        _log_p, slope = gate(z, a, NEAR_ONE)
        # All threads have read this tile of log I.
        tl.debug_barrier()
        tl.store(log_i + place, tl.where(later, reaching * slope, 0.0), inside)


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


class _GatedAttention(torch.autograd.Function):
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


def gated_attention(
    q: Tensor, k: Tensor, v: Tensor, q_int: Tensor, k_int: Tensor, beta: Tensor, pairs: Tensor,
    alpha: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attention under soft gates, and how much was kept.

    q, k, v [B, H, T, d] of one dtype; q_int, k_int [B, T, r] float32; beta [1] float32;
    pairs [B, T, T] float32, 1 where a pair (t, j < t) counts, else 0; 1 <= alpha <= 16.
    Returns out [B, H, T, d] in v's dtype and kept [] float32, the sum of I over counted pairs.
    Raises DeviceError where `supports` says no: such tiles do not fit the registers.
    """
    if not supports(q.shape[-1], q.element_size()):
        raise DeviceError(
            f"{q.dtype} heads of {q.shape[-1]} elements cannot be trained in Triton; "
            f"use bfloat16 and at most 256"
        )
    return _GatedAttention.apply(q, k, v, q_int, k_int, beta, pairs, alpha)  # type: ignore[no-any-return]

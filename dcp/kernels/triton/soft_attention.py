"""The kernels of soft-gated attention: forward, and the gradients of keys, queries and gates.

out = softmax(Q K^T / sqrt(d) + log I) V (arXiv 2305.15805, equation 4), one program a block of one
head; log I [B, T, T] is one for all heads. `dcp.kernels.training.triton` launches them. Knows
nothing of autograd.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import FAR, LOG2E
from dcp.kernels.triton.soft_gate import gate, logit_tile

__all__ = [
    "CLOSED",
    "forward_kernel",
    "keys_kernel",
    "load_rows",
    "logits_kernel",
    "queries_kernel",
]

CLOSED = tl.constexpr(-20.0)


@triton.jit
def load_rows(x, rows, length, WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr):
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
    query = load_rows(q + own, t, length, WIDTH, WIDTH_PAD)
    acc = tl.zeros([BLOCK_T, WIDTH_PAD], tl.float32)
    top = tl.full([BLOCK_T], -FAR, tl.float32)
    total = tl.zeros([BLOCK_T], tl.float32)
    for start in range(0, tl.minimum((block + 1) * BLOCK_T, length), BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        key = load_rows(k + own, j, length, WIDTH, WIDTH_PAD)
        value = load_rows(v + own, j, length, WIDTH, WIDTH_PAD)
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
    key = load_rows(k + own, j, length, WIDTH, WIDTH_PAD)
    value = load_rows(v + own, j, length, WIDTH, WIDTH_PAD)
    d_key = tl.zeros([BLOCK_J, WIDTH_PAD], tl.float32)
    d_value = tl.zeros([BLOCK_J, WIDTH_PAD], tl.float32)
    for start in range(block * BLOCK_J // BLOCK_T * BLOCK_T, length, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        query = load_rows(q + own, t, length, WIDTH, WIDTH_PAD)
        d_out = load_rows(grad + own, t, length, WIDTH, WIDTH_PAD)
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
    query = load_rows(q + own, t, length, WIDTH, WIDTH_PAD)
    d_out = load_rows(grad + own, t, length, WIDTH, WIDTH_PAD)
    size = tl.load(lse + head * length + t, t < length, 0.0)
    mean = tl.load(delta + head * length + t, t < length, 0.0)
    d_query = tl.zeros([BLOCK_T, WIDTH_PAD], tl.float32)
    for start in range(0, tl.minimum((block + 1) * BLOCK_T, length), BLOCK_J):
        j = start + tl.arange(0, BLOCK_J)
        key = load_rows(k + own, j, length, WIDTH, WIDTH_PAD)
        value = load_rows(v + own, j, length, WIDTH, WIDTH_PAD)
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
            query = load_rows(q + own, t, length, WIDTH, WIDTH_PAD)
            key = load_rows(k + own, j, length, WIDTH, WIDTH_PAD)
            value = load_rows(v + own, j, length, WIDTH, WIDTH_PAD)
            d_out = load_rows(grad + own, t, length, WIDTH, WIDTH_PAD)
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

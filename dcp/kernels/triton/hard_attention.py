"""What each pair is worth to the gates in training, all heads: the kernel of the gates' gradient.

A visible pair is worth the gradient of its weight, a dropped one that of the weight it would get
beside the visible ones (`dcp.kernels.training.cpu.hard`). Knows nothing of autograd.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import LOG2E
from dcp.kernels.triton.soft_attention import CLOSED, load_rows

__all__ = ["worth_kernel"]

# Binary logarithm of a share that is as good as none: its inverse is still a number.
FAINT = tl.constexpr(-100.0)


@triton.jit
def worth_kernel(
    q, k, v, log_i, grad, lse, delta, worth, heads, length,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds to one tile of ``worth`` [B, T, T], where j < t, the sum over heads of
    (grad · v_j - delta) · r / (1 + r [j is dropped]), r the pair's weight over the sum of those
    that are visible; lse in units of ln 2."""
    window = tl.program_id(2).to(tl.int64)
    j = tl.program_id(0) * BLOCK_J + tl.arange(0, BLOCK_J)
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    if tl.program_id(0) * BLOCK_J < (tl.program_id(1) + 1) * BLOCK_T:
        pair = (t[:, None] > j[None, :]) & (t < length)[:, None]
        place = window * length * length + t.to(tl.int64)[:, None] * length + j[None, :]
        dropped = tl.load(log_i + place, pair, 0.0) <= CLOSED
        total = tl.load(worth + place, pair, 0.0)
        for h in range(heads):
            head = window * heads + h
            own = head * length * WIDTH
            query = load_rows(q + own, t, length, WIDTH, WIDTH_PAD)
            key = load_rows(k + own, j, length, WIDTH, WIDTH_PAD)
            value = load_rows(v + own, j, length, WIDTH, WIDTH_PAD)
            d_out = load_rows(grad + own, t, length, WIDTH, WIDTH_PAD)
            size = tl.load(lse + head * length + t, t < length, 0.0)
            mean = tl.load(delta + head * length + t, t < length, 0.0)
            scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) / tl.sqrt(WIDTH * 1.0)
            over = tl.where(pair, tl.maximum(scores * LOG2E - size[:, None], FAINT), 0.0)
            # A dropped token may outweigh all that are left: r / (1 + r) without r.
            share = 1.0 / (tl.exp2(-over) + tl.where(dropped, 1.0, 0.0))
            gain = tl.dot(d_out, tl.trans(value), input_precision=PRECISION) - mean[:, None]
            total += gain * share
        tl.store(worth + place, total, pair)

"""The soft gate in registers: log σ_α(z) and its slope, and log I by columns.

σ_α(z) = p solves p^a - (1-p)^a = a z with a = α - 1 (arXiv 2305.15805, section 3.1). The unknown
here is the log-odds s = ln(p / (1-p)) of the larger side: both p and 1-p keep their digits in
float32, and at α = 1 the equation is s = |z| itself. Eight bisections bring s within 0.11, three
Newton steps inside the bracket finish: p within 2e-7 of float64 for 1 <= α <= 16.
Knows nothing of attention.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import LOG2E

__all__ = ["gate", "log_interaction_kernel", "logit_tile"]

# Log-odds past which p counts as 1e-12, the floor of a closed gate.
FARTHEST = tl.constexpr(28.0)
FLOOR = tl.constexpr(-27.631021115928547)
BISECTIONS = tl.constexpr(8)
NEWTON_STEPS = tl.constexpr(3)


@triton.jit
def _exp(x):
    return tl.exp2(x * LOG2E)


@triton.jit
def _log1p(x):
    """ln(1 + x) for 0 <= x <= 1, by 2 artanh(x / (2 + x)): small x keeps its digits."""
    y = x / (2.0 + x)
    square = y * y
    total = square * (1.0 / 17) + 1.0 / 15
    total = total * square + 1.0 / 13
    total = total * square + 1.0 / 11
    total = total * square + 1.0 / 9
    total = total * square + 1.0 / 7
    total = total * square + 1.0 / 5
    total = total * square + 1.0 / 3
    return 2.0 * y * (total * square + 1.0)


@triton.jit
def _expm1(x):
    """exp(x) - 1 for x <= 0."""
    near = x * (1.0 / 5040) + 1.0 / 720
    near = near * x + 1.0 / 120
    near = near * x + 1.0 / 24
    near = near * x + 1.0 / 6
    near = near * x + 0.5
    near = near * x + 1.0
    return tl.where(x > -0.5, near * x, _exp(x) - 1.0)


@triton.jit
def _excess(s, target, a, NEAR_ONE: tl.constexpr):
    """p^a - q^a - target and its derivative in s, at log-odds s >= 0."""
    x = _exp(-s)
    log_p = -_log1p(x)
    log_q = log_p - s
    p = 1.0 / (1.0 + x)
    p_a, q_a = _exp(a * log_p), _exp(a * log_q)
    if NEAR_ONE:  # noqa: SIM108 -- two lines each to read
        # The powers are near 1 and their difference would cancel.
        value = _expm1(a * log_p) - _expm1(a * log_q) - target
    else:
        value = p_a - q_a - target
    return value, a * p * (p_a * x + q_a)


@triton.jit
def gate(z, a, NEAR_ONE: tl.constexpr):
    """log σ_α(z), not under ln 1e-12, and its derivative in z (0 outside the live band)."""
    target = tl.abs(z) * a
    low = tl.zeros_like(z)
    high = low + FARTHEST
    s = low + FARTHEST / 2
    for _ in tl.static_range(BISECTIONS):
        value, _slope = _excess(s, target, a, NEAR_ONE)
        low = tl.where(value < 0, s, low)
        high = tl.where(value < 0, high, s)
        s = 0.5 * (low + high)
    for _ in tl.static_range(NEWTON_STEPS):
        value, slope = _excess(s, target, a, NEAR_ONE)
        low = tl.where(value < 0, s, low)
        high = tl.where(value < 0, high, s)
        s = tl.minimum(tl.maximum(s - value / tl.maximum(slope, 1e-30), low), high)
    larger = -_log1p(_exp(-s))
    smaller = larger - s
    inside = target < 1.0
    log_gate = tl.where(z < 0, tl.maximum(smaller, FLOOR), larger)
    log_gate = tl.where(inside, log_gate, tl.where(z < 0, FLOOR, 0.0))
    slope = 1.0 / (_exp((a - 1.0) * larger) + _exp((a - 1.0) * smaller))
    return log_gate, tl.where(inside, slope * _exp(-log_gate), 0.0)


@triton.jit
def logit_tile(
    q_int, k_int, beta, t, j, length,
    R: tl.constexpr, SLICE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """z [BLOCK_T, BLOCK_J] of the queries t and keys j of one window [length, R]."""
    z = tl.zeros([BLOCK_T, BLOCK_J], tl.float32)
    for part in range(0, R, SLICE):
        e = part + tl.arange(0, SLICE)
        q = tl.load(q_int + t[:, None] * R + e, (t < length)[:, None] & (e < R), 0.0)
        k = tl.load(k_int + j[None, :] * R + e[:, None], (j < length) & (e < R)[:, None], 0.0)
        z += tl.dot(q, k, input_precision="ieee")
    return z / tl.sqrt(R * 1.0) + beta


@triton.jit
def log_interaction_kernel(
    q_int, k_int, beta, pairs, log_i, kept, length, a,
    R: tl.constexpr, SLICE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_J: tl.constexpr,
    NEAR_ONE: tl.constexpr,
):  # fmt: skip
    """log I [B, T, T] of one block of columns on and below the diagonal, and the share kept there.

    kept [B, column blocks] float32 = sum of I * pairs over the columns.
    """
    block = tl.program_id(0)
    window = tl.program_id(1).to(tl.int64)
    q_int += window * length * R
    k_int += window * length * R
    square = window * length * length
    j = block * BLOCK_J + tl.arange(0, BLOCK_J)
    shift = tl.load(beta)
    so_far = tl.zeros([BLOCK_J], tl.float32)
    share = 0.0
    for start in range(block * BLOCK_J, length, BLOCK_T):
        t = start + tl.arange(0, BLOCK_T)
        z = logit_tile(q_int, k_int, shift, t, j, length, R, SLICE, BLOCK_T, BLOCK_J)
        log_p, _slope = gate(z, a, NEAR_ONE)
        later = t[:, None] > j[None, :]
        log_p = tl.where(later, log_p, 0.0)
        tile = so_far[None, :] + tl.cumsum(log_p, axis=0)
        inside = (t < length)[:, None] & (j < length)[None, :]
        place = square + t.to(tl.int64)[:, None] * length + j[None, :]
        tl.store(log_i + place, tile, inside)
        weight = tl.load(pairs + place, inside & later, 0.0)
        share += tl.sum(tl.sum(_exp(tile) * weight, axis=1), axis=0)
        so_far += tl.sum(log_p, axis=0)
    tl.store(kept + window * tl.num_programs(0) + block, share)

"""Attention of a chunk of queries under the death mask, by blocks of keys in three classes.

For each block of queries the keys' blocks are skipped (nothing visible), open (all visible to all:
no mask is made) or mixed. A first kernel writes down, per block of queries, which open and which
mixed blocks to visit; the attention kernel then loops over two lists and never branches around a
load. Query heads that share a key head are packed into one tile. Keys come in any order.
Says the same as `dcp.kernels.reference.extend_attention` (arXiv 2305.15805, equation 4).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from dcp.kernels.triton.common import ALIVE, FAR, LOG2E, Paged, exact, padded, places

__all__ = ["extend_attention", "launch_extend"]


@triton.jit
def classify_kernel(
    q_pos, k_pos, death, visits, counts, live, table, queries, keys, blocks,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, AT_ONCE: tl.constexpr,
    PAGE: tl.constexpr, PAGED: tl.constexpr,
):  # fmt: skip
    """Lists the blocks of keys that one block of queries must visit.

    visits [query blocks, 2, blocks] int32: row 0 the open blocks, row 1 the mixed ones;
    counts [query blocks, 2] int32.
    """
    own = tl.program_id(0)
    if PAGED:
        keys = tl.load(live)
    c = own * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < queries
    step = tl.load(q_pos + c, inside, 0).to(tl.int32)
    first = tl.min(tl.where(inside, step, ALIVE), axis=0)
    last = tl.max(tl.where(inside, step, -1), axis=0)
    opened = visits + own.to(tl.int64) * 2 * blocks
    n_open = 0
    n_mixed = 0
    total = tl.cdiv(keys, BLOCK_N)
    for start in range(0, total, AT_ONCE):
        block = start + tl.arange(0, AT_ONCE)
        n = block[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
        here = n < keys
        born = tl.load(k_pos + places(n, here, table, PAGE, PAGED), here, 0).to(tl.int32)
        dies = tl.load(death + n, here, 0)
        seen = here & (born <= last) & (dies > first)
        throughout = here & (born <= first) & (dies > last)
        whole = tl.sum(throughout.to(tl.int32), axis=1) == BLOCK_N
        some = (tl.max(seen.to(tl.int32), axis=1) > 0) & (whole == 0)
        rank = n_open + tl.cumsum(whole.to(tl.int32), axis=0) - 1
        tl.store(opened + rank, block, whole)
        n_open += tl.sum(whole.to(tl.int32), axis=0)
        rank = n_mixed + tl.cumsum(some.to(tl.int32), axis=0) - 1
        tl.store(opened + blocks + rank, block, some)
        n_mixed += tl.sum(some.to(tl.int32), axis=0)
    tl.store(counts + own * 2, n_open)
    tl.store(counts + own * 2 + 1, n_mixed)


@triton.jit
def _fold(scores, v, acc, top, total, PRECISION: tl.constexpr):
    """One block into the running softmax; scores [M, N] are in units of ln 2, -inf where hidden."""
    higher = tl.maximum(top, tl.max(scores, axis=1))
    # A row that has seen nothing yet has top -inf, and -inf minus -inf is no number.
    base = tl.where(higher == -FAR, 0.0, higher)
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(top - base)
    total = total * shrink + tl.sum(weights, axis=1)
    acc = acc * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    return acc, higher, total


@triton.jit
def extend_kernel(
    q, k, v, q_pos, k_pos, death, visits, counts, live, table, out, queries, keys, blocks,
    q_row, q_head, k_row, k_head, v_row, v_head, o_row, o_head,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr,
    BLOCK_C: tl.constexpr, GROUP_PAD: tl.constexpr, BLOCK_N: tl.constexpr,
    PAGE: tl.constexpr, PAGED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Queries BLOCK_C x heads of one key head, as one tile of BLOCK_C * GROUP_PAD rows."""
    own = tl.program_id(0)
    kv_head = tl.program_id(1)
    if PAGED:
        keys = tl.load(live)
    m = tl.arange(0, BLOCK_C * GROUP_PAD)
    c = own * BLOCK_C + m // GROUP_PAD
    g = m % GROUP_PAD
    real = (c < queries) & (g < GROUP)
    e = tl.arange(0, WIDTH_PAD)
    within = e < WIDTH
    c64 = c.to(tl.int64)[:, None]
    head = (kv_head * GROUP + g)[:, None]
    query = tl.load(q + c64 * q_row + head * q_head + e, real[:, None] & within, 0.0)
    step = tl.load(q_pos + c, real, -1).to(tl.int32)
    scale = LOG2E / tl.sqrt(WIDTH * 1.0)
    acc = tl.zeros([BLOCK_C * GROUP_PAD, WIDTH_PAD], tl.float32)
    top = tl.full([BLOCK_C * GROUP_PAD], -FAR, tl.float32)
    total = tl.zeros([BLOCK_C * GROUP_PAD], tl.float32)
    k += kv_head * k_head
    v += kv_head * v_head
    visits += own.to(tl.int64) * 2 * blocks

    for i in range(tl.load(counts + own * 2)):
        n = tl.load(visits + i) * BLOCK_N + tl.arange(0, BLOCK_N)
        place = places(n, n < keys, table, PAGE, PAGED)
        key = tl.load(k + place[None, :] * k_row + e[:, None], within[:, None], 0.0)
        value = tl.load(v + place[:, None] * v_row + e, within, 0.0)
        scores = tl.dot(query, key, input_precision=PRECISION) * scale
        acc, top, total = _fold(scores, value, acc, top, total, PRECISION)

    for i in range(tl.load(counts + own * 2 + 1)):
        n = tl.load(visits + blocks + i) * BLOCK_N + tl.arange(0, BLOCK_N)
        here = n < keys
        place = places(n, here, table, PAGE, PAGED)
        born = tl.load(k_pos + place, here, ALIVE).to(tl.int32)
        dies = tl.load(death + n, here, 0)
        key = tl.load(k + place[None, :] * k_row + e[:, None], within[:, None] & here, 0.0)
        value = tl.load(v + place[:, None] * v_row + e, here[:, None] & within, 0.0)
        visible = (born <= step[:, None]) & (step[:, None] < dies)
        scores = tl.dot(query, key, input_precision=PRECISION) * scale
        scores = tl.where(visible, scores, -FAR)
        acc, top, total = _fold(scores, value, acc, top, total, PRECISION)

    acc = acc / tl.where(total == 0.0, 1.0, total)[:, None]
    place = out + c64 * o_row + head * o_head + e
    tl.store(place, acc.to(out.dtype.element_ty), real[:, None] & within)


class Tile(NamedTuple):
    """A tile of ``queries`` x ``group`` (a power of two) rows against ``keys`` keys."""

    queries: int
    group: int
    keys: int
    warps: int


def tile(group: int, width: int, element: int) -> Tile:
    """The largest tile that spills no registers on sm_80 and sm_90 (see the compiled table)."""
    wide = padded(width)
    if element == 2:
        rows, keys, warps = (128, 64, 4 if wide <= 64 else 8) if wide <= 128 else (64, 32, 8)
    elif wide <= 64:
        rows, keys, warps = 64, 32, 8
    else:
        rows, keys, warps = 32, 16, 8
    group_pad = triton.next_power_of_2(group)
    return Tile(max(1, rows // group_pad), group_pad, keys, warps)


def extend_attention(
    q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor, death: Tensor
) -> Tensor:
    """q [C, H, d] attends to k, v [N, H_kv, d] where k_pos <= q_pos < death -> [C, H, d].

    d from 1 to 256; float32, bfloat16 or float16, elements of a head contiguous.
    """
    return launch_extend(q, k, v, q_pos, k_pos, death, len(k))


def launch_extend(
    q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor, death: Tensor,
    keys: int, paged: Paged | None = None,
) -> Tensor:  # fmt: skip
    """``extend_attention`` over ``keys`` rows. With ``paged``, k, v and k_pos are the pool's, death
    is by row of the sequence, and ``keys`` is the most rows there can be."""
    queries, heads, width = q.shape
    kv_heads = k.shape[1]
    count, table, page = paged or (death, death, 1)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    size = tile(heads // kv_heads, width, q.element_size())
    parts, blocks = triton.cdiv(queries, size.queries), triton.cdiv(keys, size.keys)
    visits = torch.empty(parts, 2, blocks, dtype=torch.int32, device=q.device)
    counts = torch.empty(parts, 2, dtype=torch.int32, device=q.device)
    classify_kernel[(parts,)](
        q_pos, k_pos, death, visits, counts, count, table, queries, keys, blocks,
        BLOCK_C=size.queries, BLOCK_N=size.keys, AT_ONCE=16,
        PAGE=page, PAGED=paged is not None, num_warps=4,
    )  # fmt: skip
    extend_kernel[(parts, kv_heads)](
        q, k, v, q_pos, k_pos, death, visits, counts, count, table, out, queries, keys, blocks,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        out.stride(0), out.stride(1),
        GROUP=heads // kv_heads, WIDTH=width, WIDTH_PAD=padded(width),
        BLOCK_C=size.queries, GROUP_PAD=size.group, BLOCK_N=size.keys,
        PAGE=page, PAGED=paged is not None, PRECISION=exact(q),
        num_warps=size.warps, num_stages=2,
    )  # fmt: skip
    return out

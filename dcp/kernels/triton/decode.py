"""Attention of one query per sequence over its live rows, split over many programs.

All rows are visible, so there is no mask. The rows lie either in one tensor or in pages of the
pool; how many there are is read on the device, so the same launch serves every length and a CUDA
graph can hold it. Each split leaves an unfinished softmax, a second kernel joins them; a split
without rows counts for nothing. Says the same as `dcp.kernels.reference.decode_attention`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dcp.kernels.triton.common import BLOCK, FAR, INTERPRETED, LOG2E, exact, padded, places

__all__ = ["decode_attention", "paged_decode_attention"]


@triton.jit
def split_kernel(
    q, k, v, rows, counts, table, partial, lse,
    q_batch, q_head, k_row, k_head, v_row, v_head, table_row,
    GROUP: tl.constexpr, GROUP_PAD: tl.constexpr, WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr,
    BLOCK_N: tl.constexpr, PAGE: tl.constexpr, PAGED: tl.constexpr, SPLITS: tl.constexpr,
    STAGES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One (query, key head, split): its share of the blocks of live rows.

    partial [queries, H, SPLITS, WIDTH] float32, lse [queries, H, SPLITS] float32 in units of ln 2.
    """
    item = tl.program_id(0)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    row = tl.load(rows + item)
    live = tl.load(counts + row, row >= 0, 0)
    blocks = tl.cdiv(live, BLOCK_N)
    share = tl.cdiv(blocks, SPLITS)
    e = tl.arange(0, WIDTH_PAD)
    within = e < WIDTH
    g = tl.arange(0, GROUP_PAD)
    real = g < GROUP
    head = kv_head * GROUP + g
    query = tl.load(
        q + item.to(tl.int64) * q_batch + head[:, None] * q_head + e, real[:, None] & within, 0.0
    )
    scale = LOG2E / tl.sqrt(WIDTH * 1.0)
    acc = tl.zeros([GROUP_PAD, WIDTH_PAD], tl.float32)
    top = tl.full([GROUP_PAD], -FAR, tl.float32)
    total = tl.zeros([GROUP_PAD], tl.float32)
    k += kv_head * k_head
    v += kv_head * v_head
    pages = table + row.to(tl.int64) * table_row
    # Said here, stages hold for products that are sums too.
    for block in tl.range(
        split * share, tl.minimum((split + 1) * share, blocks), num_stages=STAGES
    ):
        n = block * BLOCK_N + tl.arange(0, BLOCK_N)
        here = n < live
        place = places(n, here, pages, PAGE, PAGED)
        key = tl.load(k + place[:, None] * k_row + e, here[:, None] & within, 0.0)
        value = tl.load(v + place[:, None] * v_row + e, here[:, None] & within, 0.0)
        if GROUP == 1:
            products = key.to(tl.float32) * query.to(tl.float32)
            scores = tl.sum(products, axis=1)[None, :] * scale
        else:
            scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * scale
        scores = tl.where(here[None, :], scores, -FAR)
        higher = tl.maximum(top, tl.max(scores, axis=1))
        weights = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(weights, axis=1)
        if GROUP == 1:
            weighed = tl.sum(tl.trans(weights) * value.to(tl.float32), axis=0)[None, :]
        else:
            weighed = tl.dot(weights.to(value.dtype), value, input_precision=PRECISION)
        acc = acc * shrink[:, None] + weighed
        top = higher
    empty = total == 0.0
    heads = tl.num_programs(1) * GROUP
    slot = (item.to(tl.int64) * heads + head) * SPLITS + split
    acc = acc / tl.where(empty, 1.0, total)[:, None]
    tl.store(partial + slot[:, None] * WIDTH + e, acc, real[:, None] & within)
    tl.store(lse + slot, tl.where(empty, -FAR, top + tl.log2(tl.where(empty, 1.0, total))), real)


@triton.jit
def join_kernel(
    partial, lse, out, o_batch, o_head,
    WIDTH: tl.constexpr, WIDTH_PAD: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """out [queries, H, WIDTH]: the splits of one (query, head), each weighed by its total."""
    item = tl.program_id(0)
    head = tl.program_id(1)
    s = tl.arange(0, SPLITS)
    e = tl.arange(0, WIDTH_PAD)
    slot = (item.to(tl.int64) * tl.num_programs(1) + head) * SPLITS + s
    sizes = tl.load(lse + slot)
    top = tl.max(sizes, axis=0)
    weights = tl.exp2(sizes - tl.where(top == -FAR, 0.0, top))
    parts = tl.load(partial + slot[:, None] * WIDTH + e, e[None, :] < WIDTH, 0.0)
    total = tl.sum(weights, axis=0)
    joined = tl.sum(parts * weights[:, None], axis=0) / tl.where(total == 0.0, 1.0, total)
    place = out + item.to(tl.int64) * o_batch + head * o_head + e
    tl.store(place, joined.to(out.dtype.element_ty), e < WIDTH)


def splits_for(queries: int, kv_heads: int, most: int, processors: int) -> int:
    """Programs per (query, key head), a power of two: enough to fill the device about twice, and
    never more than there can be blocks of rows. Fixed by shapes alone, so a graph can keep it."""
    wanted = 2 * processors // max(1, queries * kv_heads)
    wanted = min(wanted, triton.cdiv(most, BLOCK), 64)
    return int(1 << max(0, wanted.bit_length() - 1))


def _block(group: int, width: int, element: int) -> int:
    """Rows at a time: exact float32 products of wide heads keep few of them in registers."""
    return 16 if group > 1 and padded(width) * element > 512 else BLOCK


def _attend(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, counts: Tensor, table: Tensor | None,
    page: int, splits: int, out: Tensor,
) -> Tensor:  # fmt: skip
    queries, heads, width = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    partial = torch.empty(queries, heads, splits, width, device=q.device)
    lse = torch.empty(queries, heads, splits, device=q.device)
    split_kernel[(queries, kv_heads, splits)](
        q, k, v, rows, counts, rows if table is None else table, partial, lse,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        0 if table is None else table.stride(0),
        GROUP=group, GROUP_PAD=1 if group == 1 else padded(group),
        WIDTH=width, WIDTH_PAD=padded(width), BLOCK_N=_block(group, width, q.element_size()),
        PAGE=page, PAGED=table is not None, SPLITS=splits, PRECISION=exact(q),
        STAGES=3, num_warps=4,
    )  # fmt: skip
    join_kernel[(queries, heads)](
        partial, lse, out, out.stride(0), out.stride(1),
        WIDTH=width, WIDTH_PAD=padded(width), SPLITS=splits,
        num_warps=2 if splits * padded(width) <= 8192 else 8,
    )  # fmt: skip
    return out


def decode_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One query q [H, d] over rows k, v [N, H_kv, d] that are all visible to it -> [H, d]."""
    zero = torch.zeros(1, dtype=torch.int32, device=q.device)
    out = torch.empty_like(q)[None]
    splits = splits_for(1, k.shape[1], len(k), processors(q.device))
    return _attend(q[None], k, v, zero, zero + len(k), None, 1, splits, out)[0]


def paged_decode_attention(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, counts: Tensor, table: Tensor, page: int,
    splits: int,
) -> Tensor:  # fmt: skip
    """q [n, H, d] -> [n, H, d]: query i attends to all live rows of sequence rows[i]; zeros where
    that is -1.

    k, v [pages * page, H_kv, d]; rows [n] int32; counts [B] int32 live rows; table [B, most pages]
    int32, the pages of each sequence in order.
    """
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    return _attend(q, k, v, rows, counts, table, page, splits, out)


def processors(device: torch.device) -> int:
    """Multiprocessors of a GPU; 1 for the interpreter, which runs programs one after another.
    A process that only compiles is told of an H200's."""
    if device.type != "cuda":
        return 1 if INTERPRETED else 132
    return int(torch.cuda.get_device_properties(device).multi_processor_count)

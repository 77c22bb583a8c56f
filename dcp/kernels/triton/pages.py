"""Pages taken and given outside a decoding step: room for a chunk of a prompt, its rows, an end.

The ring of free pages is that of `dcp.kernels.triton.manage`. Nothing leaves the device.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import copy_rows, places

__all__ = ["fill_kernel", "release_kernel", "reserve_kernel"]


@triton.jit(do_not_specialize=["layer", "row", "tokens"])
def reserve_kernel(
    counts, table, ring, ends, layer, row, tokens, sequences, most_pages, ring_mask,
    PAGE: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Take the pages that ``tokens`` more rows of one sequence need, and count the rows."""
    owner = (layer * sequences + row).to(tl.int64)
    live = tl.load(counts + owner)
    held = tl.cdiv(live, PAGE)
    wanted = tl.cdiv(live + tokens, PAGE)
    taken = tl.atomic_add(ends, tl.cast(wanted - held, tl.int64))
    for start in range(held, wanted, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        page = tl.load(ring + ((taken + p - held) & ring_mask), p < wanted, 0)
        tl.store(table + owner * most_pages + p, page, p < wanted)
    tl.debug_barrier()
    tl.store(counts + owner, live + tokens)


@triton.jit(do_not_specialize=["index"])
def release_kernel(
    counts, table, ring, ends, index, sequences, most_pages, ring_mask,
    PAGE: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Give back all pages of one sequence, a layer a program."""
    owner = (tl.program_id(0) * sequences + index).to(tl.int64)
    held = tl.cdiv(tl.load(counts + owner), PAGE)
    given = tl.atomic_add(ends + 1, tl.cast(held, tl.int64))
    for start in range(0, held, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        page = tl.load(table + owner * most_pages + p, p < held, 0)
        tl.store(ring + ((given + p) & ring_mask), page, p < held)
    tl.debug_barrier()
    tl.store(counts + owner, 0)


@triton.jit(do_not_specialize=["layer", "row", "tokens", "first"])
def fill_kernel(
    counts, table, k, v, k_int, positions, margins, k_new, v_new, k_int_new,
    layer, row, tokens, first, sequences, most_pages, k_new_row, v_new_row, k_int_row,
    WIDTH: tl.constexpr, R: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr,
    SLICE: tl.constexpr, R_PAD: tl.constexpr, GATED: tl.constexpr,
):  # fmt: skip
    """Write the last ``tokens`` rows of a sequence, a block a program: positions first, first+1…"""
    owner = (layer * sequences + row).to(tl.int64)
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    here = i < tokens
    n = tl.load(counts + owner) - tokens + i
    place = places(n, here, table + owner * most_pages, PAGE, True)
    i64 = i.to(tl.int64)
    copy_rows(k_new + i64 * k_new_row, k + place * WIDTH, here, WIDTH, SLICE)
    copy_rows(v_new + i64 * v_new_row, v + place * WIDTH, here, WIDTH, SLICE)
    if GATED:
        copy_rows(k_int_new + i64 * k_int_row, k_int + place * R, here, R, R_PAD)
    tl.store(positions + place, first + i, here)
    tl.store(margins + place, tl.full([BLOCK_M], float("nan"), tl.float32), here)

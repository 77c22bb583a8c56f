"""One decoding step of the cache: score, drop, fill, free, record, before attention looks.

One program settles one sequence of one layer. The gates of the new query mark rows dead; the new
token takes the first freed row, the last rows move into the other holes, so live rows stay the
first ones; pages left empty go back to the pool; deaths go to a log. Nothing leaves the device.
A chunk of a prompt is settled by the same program once `deaths` has marked its rows.

Pages come from and go to a ring, a power of two long, by two counters that only grow: a page given
back in a launch is never taken in the same launch, as long as the free pages before it cover all
it can take.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import ALIVE, places

__all__ = ["fill_kernel", "reserve_kernel", "score_kernel", "settle_kernel"]

GATE = tl.constexpr(-1)


@triton.jit
def _lower(margins, z, here):
    """margins = the smaller of itself and z, where not-a-number stands for none yet."""
    so_far = tl.load(margins, here, float("nan"))
    tl.store(margins, tl.where((z < so_far) | (so_far != so_far), z, so_far), here)


@triton.jit
def _judge(
    n, live, at, query, k_int, positions, margins, pages, orders, death, low, beta,
    R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr,
    GATED: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """Score rows n of a sequence against its query; leaves death and logit of each in scratch.
    Returns which die."""
    here = n < live
    place = places(n, here, pages, PAGE, True)
    z = tl.full(n.shape, float("nan"), tl.float32)
    if GATED:
        e = tl.arange(0, R_PAD)
        keys = tl.load(k_int + place[:, None] * R + e, here[:, None] & (e < R), 0.0)
        z = tl.sum(keys * query[None, :], axis=1) / tl.sqrt(R * 1.0) + beta
    dies = z <= 0.0
    if FORCED:
        order = tl.load(orders + tl.load(positions + place, here, 0), here, GATE)
        z = tl.where(order == GATE, z, float("nan"))
        dies = (dies & (order == GATE)) | ((order != GATE) & (order <= at))
    dies = dies & here
    _lower(margins + place, z, here)
    tl.store(death + n, tl.where(dies, at, ALIVE), here)
    tl.store(low + n, z, here)
    return dies


@triton.jit(do_not_specialize=["layer"])
def score_kernel(
    rows, steps, counts, table, q_int, k_int, positions, margins, orders, death, low, layer, beta,
    q_row, sequences, most_pages, orders_row, scratch_row,
    R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr,
    GATED: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """Score one block of rows of one sequence: for sequences too long for one program."""
    item = tl.program_id(0)
    row = tl.load(rows + item)
    owner = (layer * sequences + row).to(tl.int64)
    live = tl.load(counts + owner)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    e = tl.arange(0, R_PAD)
    query = tl.load(q_int + item.to(tl.int64) * q_row + e, e < R, 0.0)
    scratch = item.to(tl.int64) * scratch_row
    _judge(
        n, live, tl.load(steps + item), query, k_int, positions, margins,
        table + owner * most_pages, orders + owner * orders_row, death + scratch, low + scratch,
        beta, R, R_PAD, PAGE, GATED, FORCED,
    )  # fmt: skip


@triton.jit
def _copy(source, target, mask, WIDTH: tl.constexpr, SLICE: tl.constexpr):
    """Rows of WIDTH elements from pointers source [m] to target [m], where mask."""
    for start in range(0, WIDTH, SLICE):
        e = start + tl.arange(0, SLICE)
        inside = mask[:, None] & (e < WIDTH)
        tl.store(target[:, None] + e, tl.load(source[:, None] + e, inside), inside)


@triton.jit(do_not_specialize=["layer"])
def settle_kernel(
    rows, steps, counts, table, ring, ends, log, log_margins, logged,
    k, v, k_int, positions, margins, q_int, k_new, v_new, k_int_new, orders,
    death, low, holes, layer, beta,
    q_row, k_int_row, k_new_row, v_new_row, sequences, most_pages, orders_row, scratch_row,
    ring_mask, log_mask,
    WIDTH: tl.constexpr, R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr, SLICE: tl.constexpr, R_SLICE: tl.constexpr,
    NEW: tl.constexpr, JUDGE: tl.constexpr, MARKED: tl.constexpr,
    GATED: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """NEW: each sequence gains the token of its query. JUDGE: score here. MARKED: death and low
    were filled by a kernel before this one."""
    item = tl.program_id(0)
    row = tl.load(rows + item)
    at = tl.load(steps + item)
    owner = (layer * sequences + row).to(tl.int64)
    live = tl.load(counts + owner)
    pages = table + owner * most_pages
    scratch = item.to(tl.int64) * scratch_row
    death += scratch
    low += scratch
    holes += scratch
    r = tl.arange(0, R_PAD)
    dead = 0
    if JUDGE:
        query = tl.load(q_int + item.to(tl.int64) * q_row + r, r < R, 0.0)
        for start in range(0, live, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            dies = _judge(
                n, live, at, query, k_int, positions, margins, pages,
                orders + owner * orders_row, death, low, beta,
                R, R_PAD, PAGE, GATED, FORCED,
            )  # fmt: skip
            dead += tl.sum(dies.to(tl.int32), axis=0)
    elif MARKED:
        for start in range(0, live, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            here = n < live
            dies = tl.load(death + n, here, ALIVE) != ALIVE
            place = places(n, here, pages, PAGE, True)
            _lower(margins + place, tl.load(low + n, here, float("nan")), here)
            dead += tl.sum(dies.to(tl.int32), axis=0)
    left = live - dead + NEW
    held = tl.cdiv(live, PAGE)
    kept = tl.cdiv(left, PAGE)
    target = live
    if dead > 0:
        # Scratch written by some threads is read by others.
        tl.debug_barrier()
        entry = tl.atomic_add(logged, tl.cast(dead, tl.int64))
        hole_count = 0
        for start in range(0, live, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            here = n < live
            when = tl.load(death + n, here, ALIVE)
            dies = when != ALIVE
            hole = dies & (n < left)
            rank = hole_count + tl.cumsum(hole.to(tl.int32), axis=0) - 1
            tl.store(holes + rank, n, hole)
            hole_count += tl.sum(hole.to(tl.int32), axis=0)
            slot = (entry + tl.cumsum(dies.to(tl.int32), axis=0) - 1) & log_mask
            token = tl.load(positions + places(n, here, pages, PAGE, True), dies, 0)
            tl.store(log + slot * 4, tl.zeros_like(n) + layer, dies)
            tl.store(log + slot * 4 + 1, tl.zeros_like(n) + row, dies)
            tl.store(log + slot * 4 + 2, token, dies)
            tl.store(log + slot * 4 + 3, when, dies)
            tl.store(log_margins + slot, tl.load(low + n, dies, 0.0), dies)
            entry += tl.sum(dies.to(tl.int32), axis=0)
        tl.debug_barrier()
        moved = NEW
        for start in range(left, live, BLOCK_M):
            n = start + tl.arange(0, BLOCK_M)
            moves = tl.load(death + n, n < live, 0) == ALIVE
            rank = moved + tl.cumsum(moves.to(tl.int32), axis=0) - 1
            source = places(n, moves, pages, PAGE, True)
            goal = places(tl.load(holes + rank, moves, 0), moves, pages, PAGE, True)
            _copy(k + source * WIDTH, k + goal * WIDTH, moves, WIDTH, SLICE)
            _copy(v + source * WIDTH, v + goal * WIDTH, moves, WIDTH, SLICE)
            if GATED:
                _copy(k_int + source * R, k_int + goal * R, moves, R, R_SLICE)
            tl.store(positions + goal, tl.load(positions + source, moves, 0), moves)
            tl.store(margins + goal, tl.load(margins + source, moves, 0.0), moves)
            moved += tl.sum(moves.to(tl.int32), axis=0)
        if kept < held:
            free = tl.atomic_add(ends + 1, tl.cast(held - kept, tl.int64))
            for start in range(kept, held, BLOCK_N):
                p = start + tl.arange(0, BLOCK_N)
                page = tl.load(pages + p, p < held, 0)
                tl.store(ring + ((free + p - kept) & ring_mask), page, p < held)
        if NEW:
            target = tl.load(holes)
    if NEW:
        if kept > held:
            slot = tl.atomic_add(ends, 1) & ring_mask
            page = tl.load(ring + slot)
            tl.store(pages + held, page)
        else:
            page = tl.load(pages + target // PAGE)
        place = page.to(tl.int64) * PAGE + target % PAGE
        for start in range(0, WIDTH, SLICE):
            e = start + tl.arange(0, SLICE)
            inside = e < WIDTH
            own = item.to(tl.int64)
            tl.store(k + place * WIDTH + e, tl.load(k_new + own * k_new_row + e, inside), inside)
            tl.store(v + place * WIDTH + e, tl.load(v_new + own * v_new_row + e, inside), inside)
        if GATED:
            gate = tl.load(k_int_new + item.to(tl.int64) * k_int_row + r, r < R, 0.0)
            tl.store(k_int + place * R + r, gate, r < R)
        tl.store(positions + place, at)
        tl.store(margins + place, float("nan"))
    # Every thread has read the count by now.
    tl.debug_barrier()
    tl.store(counts + owner, left)


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


@triton.jit(do_not_specialize=["layer", "row", "tokens", "first"])
def fill_kernel(
    counts, table, k, v, k_int, positions, margins, k_new, v_new, k_int_new,
    layer, row, tokens, first, sequences, most_pages, k_new_row, v_new_row, k_int_row,
    WIDTH: tl.constexpr, R: tl.constexpr, PAGE: tl.constexpr, BLOCK_M: tl.constexpr,
    SLICE: tl.constexpr, R_SLICE: tl.constexpr, GATED: tl.constexpr,
):  # fmt: skip
    """Write the last ``tokens`` rows of a sequence, a block a program: positions first, first+1…"""
    owner = (layer * sequences + row).to(tl.int64)
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    here = i < tokens
    n = tl.load(counts + owner) - tokens + i
    place = places(n, here, table + owner * most_pages, PAGE, True)
    i64 = i.to(tl.int64)
    _copy(k_new + i64 * k_new_row, k + place * WIDTH, here, WIDTH, SLICE)
    _copy(v_new + i64 * v_new_row, v + place * WIDTH, here, WIDTH, SLICE)
    if GATED:
        _copy(k_int_new + i64 * k_int_row, k_int + place * R, here, R, R_SLICE)
    tl.store(positions + place, first + i, here)
    tl.store(margins + place, tl.full([BLOCK_M], float("nan"), tl.float32), here)

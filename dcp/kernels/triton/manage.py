"""One decoding step of the cache: score, drop, fill, free, record, before attention looks.

Many programs score the rows of each sequence under the gates of its new query and mark the dead.
Then one program settles one sequence: the new token takes the first freed row, the last rows move
into the other holes, so live rows stay the first ones; pages left empty go back to the pool; deaths
go to a log. Nothing leaves the device. A chunk of a prompt is settled by the same program once
`deaths` has marked its rows; there the moves are only listed, and many programs make them.

Pages come from and go to a ring, a power of two long, by two counters that only grow: a page given
back in a launch is never taken in the same launch, as long as the free pages before it cover all
it can take.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcp.kernels.triton.common import ALIVE, GATE, copy_rows, places

__all__ = ["move_kernel", "score_kernel", "settle_kernel"]


@triton.jit
def _lower(margins, z, here):
    """margins = the smaller of itself and z, where not-a-number stands for none yet."""
    so_far = tl.load(margins, here, float("nan"))
    tl.store(margins, tl.where((z < so_far) | (so_far != so_far), z, so_far), here)


@triton.jit(do_not_specialize=["layer"])
def score_kernel(
    rows, steps, counts, table, q_int, k_int, positions, margins, orders, death, low, layer, beta,
    q_row, sequences, most_pages, orders_row, scratch_row,
    R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr,
    GATED: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """Score one block of rows of one sequence against its query: death and logit go to scratch,
    margins are lowered. A row of -1 is nobody's: nothing happens."""
    item = tl.program_id(0)
    row = tl.load(rows + item)
    if row < 0:
        return
    owner = (layer * sequences + row).to(tl.int64)
    live = tl.load(counts + owner)
    first = tl.program_id(1) * BLOCK_N
    if first >= live:
        return
    at = tl.load(steps + item)
    n = first + tl.arange(0, BLOCK_N)
    here = n < live
    place = places(n, here, table + owner * most_pages, PAGE, True)
    z = tl.full([BLOCK_N], float("nan"), tl.float32)
    if GATED:
        e = tl.arange(0, R_PAD)
        query = tl.load(q_int + item.to(tl.int64) * q_row + e, e < R, 0.0)
        keys = tl.load(k_int + place[:, None] * R + e, here[:, None] & (e < R), 0.0)
        z = tl.sum(keys * query[None, :], axis=1) / tl.sqrt(R * 1.0) + beta
    dies = z <= 0.0
    if FORCED:
        orders += owner * orders_row
        order = tl.load(orders + tl.load(positions + place, here, 0), here, GATE)
        z = tl.where(order == GATE, z, float("nan"))
        dies = (dies & (order == GATE)) | ((order != GATE) & (order <= at))
    _lower(margins + place, z, here)
    scratch = item.to(tl.int64) * scratch_row
    tl.store(death + scratch + n, tl.where(dies & here, at, ALIVE), here)
    tl.store(low + scratch + n, z, here)


@triton.jit(do_not_specialize=["layer"])
def settle_kernel(
    rows, steps, counts, table, ring, ends, log, log_margins, logged,
    k, v, k_int, positions, margins, k_new, v_new, k_int_new,
    death, low, holes, moves, layer,
    k_int_row, k_new_row, v_new_row, sequences, most_pages, scratch_row, ring_mask, log_mask,
    WIDTH: tl.constexpr, R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr,
    BLOCK_W: tl.constexpr, BLOCK_M: tl.constexpr, SLICE: tl.constexpr,
    NEW: tl.constexpr, MARKED: tl.constexpr, GATED: tl.constexpr,
):  # fmt: skip
    """Settle one sequence. MARKED: death and low were filled by a kernel before this one.

    NEW: each sequence gains the token of its query, and this program moves what must move. Without,
    low goes to margins, moves [items] int32 says how many rows must move, and death and holes then
    name where from and where to: `move_kernel` goes on. A row of -1 is nobody's.
    """
    item = tl.program_id(0)
    row = tl.load(rows + item)
    if row < 0:
        return
    at = tl.load(steps + item)
    owner = (layer * sequences + row).to(tl.int64)
    live = tl.load(counts + owner)
    pages = table + owner * most_pages
    scratch = item.to(tl.int64) * scratch_row
    death += scratch
    low += scratch
    holes += scratch
    dead = 0
    if MARKED:
        for start in range(0, live, BLOCK_W):
            n = start + tl.arange(0, BLOCK_W)
            here = n < live
            dies = tl.load(death + n, here, ALIVE) != ALIVE
            if not NEW:
                place = places(n, here, pages, PAGE, True)
                _lower(margins + place, tl.load(low + n, here, float("nan")), here)
            dead += tl.sum(dies.to(tl.int32), axis=0)
    left = live - dead + NEW
    held = tl.cdiv(live, PAGE)
    kept = tl.cdiv(left, PAGE)
    target = live
    # A number of the device from the start: a loop counts it up.
    moved = dead * 0 + NEW
    if dead > 0:
        entry = tl.atomic_add(logged, tl.cast(dead, tl.int64))
        hole_count = 0
        for start in range(0, live, BLOCK_W):
            n = start + tl.arange(0, BLOCK_W)
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
        # Holes written by some threads are read by others, and death is overwritten below.
        tl.debug_barrier()
        for start in range(left, live, BLOCK_M):
            n = start + tl.arange(0, BLOCK_M)
            stays = tl.load(death + n, n < live, 0) == ALIVE
            rank = moved + tl.cumsum(stays.to(tl.int32), axis=0) - 1
            if NEW:
                source = places(n, stays, pages, PAGE, True)
                goal = places(tl.load(holes + rank, stays, 0), stays, pages, PAGE, True)
                copy_rows(k + source * WIDTH, k + goal * WIDTH, stays, WIDTH, SLICE)
                copy_rows(v + source * WIDTH, v + goal * WIDTH, stays, WIDTH, SLICE)
                if GATED:
                    copy_rows(k_int + source * R, k_int + goal * R, stays, R, R_PAD)
                tl.store(positions + goal, tl.load(positions + source, stays, 0), stays)
                tl.store(margins + goal, tl.load(margins + source, stays, 0.0), stays)
            else:
                # Ranks end below left, so no source overwrites a mark that is still to be read.
                tl.store(death + rank, n, stays)
            moved += tl.sum(stays.to(tl.int32), axis=0)
        if kept < held:
            free = tl.atomic_add(ends + 1, tl.cast(held - kept, tl.int64))
            for start in range(kept, held, BLOCK_W):
                p = start + tl.arange(0, BLOCK_W)
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
        own = item.to(tl.int64)
        for start in range(0, WIDTH, SLICE):
            e = start + tl.arange(0, SLICE)
            inside = e < WIDTH
            key = tl.load(k_new + own * k_new_row + e, inside)
            value = tl.load(v_new + own * v_new_row + e, inside)
            tl.store(k + place * WIDTH + e, key, inside)
            tl.store(v + place * WIDTH + e, value, inside)
        if GATED:
            r = tl.arange(0, R_PAD)
            gate = tl.load(k_int_new + own * k_int_row + r, r < R, 0.0)
            tl.store(k_int + place * R + r, gate, r < R)
        tl.store(positions + place, at)
        tl.store(margins + place, float("nan"))
    else:
        tl.store(moves + item, moved)
    # Every thread has read the count by now.
    tl.debug_barrier()
    tl.store(counts + owner, left)


@triton.jit(do_not_specialize=["layer", "index"])
def move_kernel(
    table, k, v, k_int, positions, margins, sources, holes, moves, layer, index,
    sequences, most_pages,
    WIDTH: tl.constexpr, R: tl.constexpr, R_PAD: tl.constexpr, PAGE: tl.constexpr,
    BLOCK_M: tl.constexpr, SLICE: tl.constexpr, GATED: tl.constexpr,
):  # fmt: skip
    """Make a block of the moves that `settle_kernel` listed for sequence ``index``, item 0.

    The pages that the sources leave have been given back: nobody takes them before this is over.
    """
    total = tl.load(moves)
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    pages = table + (layer * sequences + index).to(tl.int64) * most_pages
    here = i < total
    source = places(tl.load(sources + i, here, 0), here, pages, PAGE, True)
    goal = places(tl.load(holes + i, here, 0), here, pages, PAGE, True)
    copy_rows(k + source * WIDTH, k + goal * WIDTH, here, WIDTH, SLICE)
    copy_rows(v + source * WIDTH, v + goal * WIDTH, here, WIDTH, SLICE)
    if GATED:
        copy_rows(k_int + source * R, k_int + goal * R, here, R, R_PAD)
    tl.store(positions + goal, tl.load(positions + source, here, 0), here)
    tl.store(margins + goal, tl.load(margins + source, here, 0.0), here)

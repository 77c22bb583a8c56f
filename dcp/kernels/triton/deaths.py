"""Death times of keys under a chunk of queries, without a chunk x keys matrix.

One program takes a block of keys through the queries in rising order and stops once all of its
keys are dead. Scores are float32 without TF32: a death hangs on their sign. Says the same as
`dcp.kernels.reference.death_times` (arXiv 2305.15805, equations 5-6 with the hard gate).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from dcp.kernels.triton.common import ALIVE, BLOCK, FAR, Paged, places

__all__ = ["death_times", "gate_scores", "launch_deaths"]


@triton.jit
def scores_kernel(
    q_int, k_int, z, queries, keys, beta,
    q_stride, k_stride,
    R: tl.constexpr, SLICE: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """z [queries, keys] = q_int k_int^T / sqrt(R) + beta, one tile a program."""
    c = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    c64, n64 = c.to(tl.int64), n.to(tl.int64)
    tile = tl.zeros([BLOCK_Q, BLOCK_N], tl.float32)
    for part in range(0, R, SLICE):
        e = part + tl.arange(0, SLICE)
        q = tl.load(q_int + c64[:, None] * q_stride + e, (c[:, None] < queries) & (e < R), 0.0)
        k = tl.load(
            k_int + n64[None, :] * k_stride + e[:, None], (n < keys) & (e < R)[:, None], 0.0
        )
        tile += tl.dot(q, k, input_precision="ieee")
    tile = tile / tl.sqrt(R * 1.0) + beta
    inside = (c[:, None] < queries) & (n < keys)
    tl.store(z + c64[:, None] * keys + n64, tile, inside)


@triton.jit
def deaths_kernel(
    q_int, k_int, q_pos, k_pos, death, margin, counts, table, queries, keys, beta,
    q_stride, k_stride,
    R: tl.constexpr, SLICE: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_N: tl.constexpr,
    PAGE: tl.constexpr, PAGED: tl.constexpr,
):  # fmt: skip
    """death and margin of one block of keys; in pages, counts says how many keys there are."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    if PAGED:
        keys = tl.load(counts)
    here = n < keys
    place = places(n, here, table, PAGE, PAGED)
    born = tl.load(k_pos + place, here, ALIVE).to(tl.int32)
    root = 1.0 / tl.sqrt(R * 1.0)
    died = tl.full([BLOCK_N], ALIVE, tl.int32)
    low = tl.full([BLOCK_N], FAR, tl.float32)
    start = 0
    left = tl.sum(here.to(tl.int32), axis=0)
    while (start < queries) & (left > 0):
        c = start + tl.arange(0, BLOCK_Q)
        asking = c < queries
        step = tl.load(q_pos + c, asking, -1).to(tl.int32)
        z = tl.zeros([BLOCK_N, BLOCK_Q], tl.float32)
        # A slice at a time: a float32 product keeps its operands in registers.
        for part in range(0, R, SLICE):
            e = part + tl.arange(0, SLICE)
            q = tl.load(
                q_int + c.to(tl.int64)[None, :] * q_stride + e[:, None],
                asking[None, :] & (e < R)[:, None],
                0.0,
            )
            k = tl.load(k_int + place[:, None] * k_stride + e, here[:, None] & (e < R), 0.0)
            z += tl.dot(k, q, input_precision="ieee")
        z = z * root + beta
        asked = (step[None, :] > born[:, None]) & (died == ALIVE)[:, None]
        first = tl.min(tl.where(asked & (z <= 0.0), step[None, :], ALIVE), axis=1)
        counted = asked & (step[None, :] <= first[:, None])
        low = tl.minimum(low, tl.min(tl.where(counted, z, FAR), axis=1))
        died = tl.minimum(died, first)
        left = tl.sum(((died == ALIVE) & here).to(tl.int32), axis=0)
        start += BLOCK_Q
    tl.store(death + n, died, here)
    # A key that no query was asked about has no margin.
    tl.store(margin + n, tl.where(low == FAR, float("nan"), low), here)


def gate_scores(q_int: Tensor, k_int: Tensor, beta: float) -> Tensor:
    """q_int [C, r] and k_int [N, r] float32 -> gate logits z [C, N] float32."""
    queries, r = q_int.shape
    keys = len(k_int)
    z = torch.empty(queries, keys, device=q_int.device)
    block_q = 16
    grid = (triton.cdiv(queries, block_q), triton.cdiv(keys, BLOCK))
    scores_kernel[grid](
        q_int, k_int, z, queries, keys, beta, q_int.stride(0), k_int.stride(0),
        R=r, SLICE=16, BLOCK_Q=block_q, BLOCK_N=BLOCK, num_warps=4,
    )  # fmt: skip
    return z


def death_times(
    q_int: Tensor, k_int: Tensor, q_pos: Tensor, k_pos: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """death [N] int32 and margin [N] float32 of keys k_pos [N] under rising queries q_pos [C].

    q_int [C, r] and k_int [N, r] float32, rows of contiguous elements.
    """
    keys = len(k_pos)
    death = torch.empty(keys, dtype=torch.int32, device=q_int.device)
    margin = torch.empty(keys, dtype=torch.float32, device=q_int.device)
    launch_deaths(q_int, k_int, q_pos, k_pos, beta, death, margin, keys)
    return death, margin


def launch_deaths(
    q_int: Tensor, k_int: Tensor, q_pos: Tensor, k_pos: Tensor, beta: float,
    death: Tensor, margin: Tensor, keys: int, paged: Paged | None = None,
) -> None:  # fmt: skip
    """``death_times`` into death, margin [at least keys]. With ``paged``, k_int and k_pos are the
    pool's and ``keys`` is the most there can be."""
    count, table, page = paged or (death, death, 1)
    deaths_kernel[(triton.cdiv(keys, BLOCK),)](
        q_int, k_int, q_pos, k_pos, death, margin, count, table, len(q_int), keys, beta,
        q_int.stride(0), k_int.stride(0),
        R=q_int.shape[1], SLICE=16, BLOCK_Q=32, BLOCK_N=BLOCK,
        PAGE=page, PAGED=paged is not None, num_warps=4,
    )  # fmt: skip

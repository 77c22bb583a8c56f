"""The keys and values that live, in pages of one pool shared by all layers and sequences.

All tables are on the device and no operation waits for it: a step's work is launched with sizes
that are known beforehand, and counts are read where they are used. Only `state` and `drained` bring
numbers to the host. Knows nothing of models or of how deaths are decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.triton.common import BLOCK, padded
from dcp.kernels.triton.deaths import launch_deaths
from dcp.kernels.triton.decode import paged_decode_attention, processors, splits_for
from dcp.kernels.triton.extend import launch_extend
from dcp.kernels.triton.manage import fill_kernel, reserve_kernel, score_kernel, settle_kernel

__all__ = ["Deaths", "Pool", "PoolShape", "make_pool"]

_ALONE = 4096
"""Rows up to which one program scores a sequence while it settles it."""
_SLICE = 64


class Deaths(NamedTuple):
    """Entries of the log: layer, sequence, position, step int32 [n], margin float32 [n]."""

    layer: Tensor
    sequence: Tensor
    position: Tensor
    step: Tensor
    margin: Tensor


@dataclass(frozen=True)
class PoolShape:
    """pages of ``page`` rows for ``layers`` x ``sequences``, of at most ``most`` rows each."""

    layers: int
    sequences: int
    kv_heads: int
    head_dim: int
    interaction: int
    most: int
    pages: int
    page: int = 32

    @property
    def most_pages(self) -> int:
        return -(-self.most // self.page)


class Pool:
    """The pool and what can be done to it.

    k, v        [pages * page, H_kv, d]           keys and values
    k_int       [pages * page, r] float32         gate keys
    positions   [pages * page] int32              the token in each row
    margins     [pages * page] float32            its smallest gate logit so far, nan before any
    table       [L, B, most pages] int32          the pages of each sequence, in order
    counts      [L, B] int32                      live rows of each; the first ones of its pages
    ring, ends  [a power of two] int32, [2] int64  free pages lie at ends[0] … ends[1], around
    """

    def __init__(self, shape: PoolShape, dtype: torch.dtype, device: torch.device) -> None:
        s = shape
        self.shape, self.device = shape, device
        rows = s.pages * s.page
        self.k = torch.empty(rows, s.kv_heads, s.head_dim, dtype=dtype, device=device)
        self.v = torch.empty_like(self.k)
        self.k_int = torch.empty(rows, s.interaction, device=device)
        self.positions = torch.empty(rows, dtype=torch.int32, device=device)
        self.margins = torch.empty(rows, device=device)
        self.table = torch.zeros(
            s.layers, s.sequences, s.most_pages, dtype=torch.int32, device=device
        )
        self.counts = torch.zeros(s.layers, s.sequences, dtype=torch.int32, device=device)
        self.ring = torch.arange(triton.next_power_of_2(s.pages), dtype=torch.int32, device=device)
        self.ends = torch.tensor([0, s.pages], device=device)
        # A row dies once: twice the rows is more than can die between two drainings a step apart.
        entries = triton.next_power_of_2(2 * rows)
        self.log = torch.empty(entries, 4, dtype=torch.int32, device=device)
        self.log_margins = torch.empty(entries, device=device)
        self.logged = torch.zeros(1, dtype=torch.int64, device=device)
        self._drained = 0
        scratch = (s.sequences, s.most)
        self._death = torch.empty(scratch, dtype=torch.int32, device=device)
        self._low = torch.empty(scratch, device=device)
        self._holes = torch.empty(scratch, dtype=torch.int32, device=device)
        self._splits = splits_for(s.sequences, s.kv_heads, s.most, processors(device))

    @property
    def gated(self) -> bool:
        return self.shape.interaction > 0

    @property
    def page_bytes(self) -> int:
        """Bytes of one page, gate keys and tables included."""
        row = 2 * self.k[0].nbytes + 4 * self.shape.interaction + 4 + 4
        return self.shape.page * row

    @property
    def row_bytes(self) -> int:
        """Bytes of the key and value of one row."""
        return 2 * int(self.k[0].nbytes)

    def state(self) -> tuple[Tensor, int]:
        """counts [L, B] int32 on the host, and free pages. Waits for the device."""
        taken, given = self.ends.tolist()
        return self.counts.cpu(), given - taken

    def require(self, counts: Tensor, free: int, more: Tensor) -> None:
        """Raises DeviceError unless ``free`` pages do for ``more`` [B] rows in every layer on top
        of ``counts`` [L, B], should nothing die."""
        page = self.shape.page
        wanted = int(((counts + more + page - 1) // page - (counts + page - 1) // page).sum())
        if wanted > free:
            raise DeviceError(
                f"the pool for keys and values is full: the next step can need {wanted} pages of "
                f"{page} rows and {free} are free; use a smaller batch, shorter texts or more pages"
            )

    def decode(
        self, layer: int, rows: Tensor, steps: Tensor, q: Tensor, k: Tensor, v: Tensor,
        q_int: Tensor | None, k_int: Tensor | None, beta: float, orders: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """One token of each of n sequences: who dies, then its own row, then attention.

        rows, steps [n] int32; q [n, H, d], k and v [n, H_kv, d], q_int and k_int [n, r] float32;
        orders [L, B, tokens] int32 overrule the gates where not -1. Returns [n, H, d].
        """
        s = self.shape
        gated = q_int is not None
        judged = gated or orders is not None
        alone = s.most <= _ALONE
        q_int = self.k_int if q_int is None else q_int
        k_int = self.k_int if k_int is None else k_int
        orders = self.counts if orders is None else orders
        forced = orders is not self.counts
        if judged and not alone:
            score_kernel[(len(rows), triton.cdiv(s.most, BLOCK))](
                rows, steps, self.counts, self.table, q_int, self.k_int, self.positions,
                self.margins, orders, self._death, self._low, layer, beta,
                q_int.stride(0), s.sequences, s.most_pages, orders.shape[-1], s.most,
                R=s.interaction, R_PAD=padded(s.interaction), PAGE=s.page, BLOCK_N=BLOCK,
                GATED=gated, FORCED=forced, num_warps=4,
            )  # fmt: skip
        self._settle(
            layer, rows, steps, q_int, k, v, k_int, beta, orders,
            NEW=1, JUDGE=judged and alone, MARKED=judged and not alone, GATED=gated, FORCED=forced,
        )  # fmt: skip
        return paged_decode_attention(
            q, self.k, self.v, rows, self.counts[layer], self.table[layer], s.page, self._splits
        )

    def extend(
        self, layer: int, row: Tensor, index: int, first: int, steps: Tensor, q: Tensor, k: Tensor,
        v: Tensor, q_int: Tensor | None, k_int: Tensor | None, beta: float, orders: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """A chunk of C tokens of sequence ``index``: its rows join, attention obeys deaths inside
        the chunk, and only then do the dead leave.

        row [1] int32 holds ``index``; first is the position of the chunk and steps [C] int32 its
        positions; q [C, H, d], k and v [C, H_kv, d], q_int and k_int [C, r] float32.
        """
        s = self.shape
        tokens = len(steps)
        keys = min(s.most, first + tokens)
        self._append(layer, index, first, k, v, k_int)
        count, table = self.counts[layer, index : index + 1], self.table[layer, index]
        paged = (count, table, s.page)
        death, low = self._death[0], self._low[0]
        if q_int is None:
            death[:keys] = 2**31 - 1
            low[:keys] = torch.nan
        else:
            launch_deaths(q_int, self.k_int, steps, self.positions, beta, death, low, keys, paged)
        if orders is not None:
            self._order(table, orders[layer, index], keys, first + tokens, death, low)
        out = launch_extend(q, self.k, self.v, steps, self.positions, death, keys, paged)
        self._settle(
            layer, row, row, self.k_int, self.k, self.v, self.k_int, 0.0, self.counts,
            NEW=0, JUDGE=False, MARKED=True, GATED=self.gated, FORCED=False,
        )  # fmt: skip
        return out

    def _order(
        self, table: Tensor, orders: Tensor, keys: int, end: int, death: Tensor, low: Tensor
    ) -> None:
        """Overrule death and low [keys] of one sequence; rows past its count do not matter."""
        n = torch.arange(keys, device=self.device)
        place = table[n // self.shape.page].long() * self.shape.page + n % self.shape.page
        order = orders[self.positions[place].long().clamp(0, len(orders) - 1)]
        free = order == -1
        ordered = torch.where(order < end, order, 2**31 - 1)
        death[:keys] = torch.where(free, death[:keys], ordered)
        low[:keys] = torch.where(free, low[:keys], torch.nan)

    def _append(
        self, layer: int, index: int, first: int, k: Tensor, v: Tensor, k_int: Tensor | None
    ) -> None:
        s = self.shape
        tokens, block = len(k), 16
        reserve_kernel[(1,)](
            self.counts, self.table, self.ring, self.ends, layer, index, tokens,
            s.sequences, s.most_pages, len(self.ring) - 1, PAGE=s.page, BLOCK_P=BLOCK, num_warps=1,
        )  # fmt: skip
        gates = self.k_int if k_int is None else k_int
        fill_kernel[(triton.cdiv(tokens, block),)](
            self.counts, self.table, self.k, self.v, self.k_int, self.positions, self.margins,
            k, v, gates, layer, index, tokens, first, s.sequences, s.most_pages,
            k.stride(0), v.stride(0), gates.stride(0),
            WIDTH=s.kv_heads * s.head_dim, R=s.interaction, PAGE=s.page, BLOCK_M=block,
            SLICE=_SLICE, R_SLICE=16, GATED=k_int is not None, num_warps=4,
        )  # fmt: skip

    def _settle(
        self, layer: int, rows: Tensor, steps: Tensor, q_int: Tensor, k: Tensor, v: Tensor,
        k_int: Tensor, beta: float, orders: Tensor, **switches: int,
    ) -> None:  # fmt: skip
        s = self.shape
        settle_kernel[(len(rows),)](
            rows, steps, self.counts, self.table, self.ring, self.ends,
            self.log, self.log_margins, self.logged,
            self.k, self.v, self.k_int, self.positions, self.margins, q_int, k, v, k_int, orders,
            self._death, self._low, self._holes, layer, float(beta),
            q_int.stride(0), k_int.stride(0), k.stride(0), v.stride(0),
            s.sequences, s.most_pages, orders.shape[-1], s.most,
            len(self.ring) - 1, len(self.log) - 1,
            WIDTH=s.kv_heads * s.head_dim, R=s.interaction, R_PAD=padded(s.interaction),
            PAGE=s.page, BLOCK_N=BLOCK, BLOCK_M=16, SLICE=_SLICE, R_SLICE=16,
            num_warps=4, **switches,
        )  # fmt: skip

    def release(self, index: int) -> None:
        """Give the pages of sequence ``index`` back. Between steps; waits for the device."""
        page = self.shape.page
        given = int(self.ends[1])
        for layer, count in enumerate(self.counts[:, index].tolist()):
            held = -(-count // page)
            slots = (given + torch.arange(held, device=self.device)) % len(self.ring)
            self.ring[slots] = self.table[layer, index, :held]
            given += held
        self.ends[1] = given
        self.counts[:, index] = 0

    def drained(self) -> Deaths:
        """What died since the last call. Waits for the device."""
        end = int(self.logged)
        slots = torch.arange(self._drained, end, device=self.device) % len(self.log)
        self._drained = end
        entries, margins = self.log[slots].cpu(), self.log_margins[slots].cpu()
        layer, sequence, position, step = entries.unbind(1)
        return Deaths(layer, sequence, position, step, margins)

    def margins_of(self, layer: int, index: int, count: int) -> tuple[Tensor, Tensor]:
        """positions [count] and margins [count] of the live rows of a sequence, on the host."""
        n = torch.arange(count, device=self.device)
        page = self.shape.page
        place = self.table[layer, index][n // page].long() * page + n % page
        return self.positions[place].cpu(), self.margins[place].cpu()


def make_pool(dtype: torch.dtype, device: torch.device, **shape: int) -> Pool:
    """A pool for rows of ``dtype``; ``shape`` as in `PoolShape`."""
    return Pool(PoolShape(**shape), dtype, device)

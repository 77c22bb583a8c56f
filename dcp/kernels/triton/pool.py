"""The keys and values that live, in pages of one pool shared by all layers and sequences, and what
a layer does with them: a decoding step, a chunk of a prompt.

No operation waits for the device: work is launched with sizes that are known beforehand, and counts
are read where they are used. Knows nothing of models.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from dcp.deaths import ALIVE, GATE
from dcp.kernels.triton.common import BLOCK, padded
from dcp.kernels.triton.deaths import launch_deaths
from dcp.kernels.triton.decode import paged_decode_attention, processors, splits_for
from dcp.kernels.triton.extend import launch_extend
from dcp.kernels.triton.manage import move_kernel, score_kernel, settle_kernel
from dcp.kernels.triton.pages import fill_kernel, reserve_kernel
from dcp.kernels.triton.store import Deaths, PoolShape, Store

__all__ = ["Deaths", "Pool", "PoolShape", "make_pool"]

# Rows that a program moves together; a row goes in pieces of at most so many elements.
_MOVED = 4
_PIECE = 1024
# Marks of the dead that a settling program looks at together.
_MARKS = 512


class Pool(Store):
    """A `Store` and the two operations on it."""

    def __init__(self, shape: PoolShape, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        scratch = (shape.sequences, shape.most)
        self._death = torch.empty(scratch, dtype=torch.int32, device=device)
        self._low = torch.empty(scratch, device=device)
        self._holes = torch.empty(scratch, dtype=torch.int32, device=device)
        self._moves = torch.empty(shape.sequences, dtype=torch.int32, device=device)
        self._processors = processors(device)
        width = shape.kv_heads * shape.head_dim
        self._rows = {
            "WIDTH": width,
            "R": shape.interaction,
            "PAGE": shape.page,
            "SLICE": min(_PIECE, padded(width)),
            "BLOCK_M": _MOVED,
            "R_PAD": padded(shape.interaction),
        }

    def decode(
        self, layer: int, rows: Tensor, steps: Tensor, q: Tensor, k: Tensor, v: Tensor,
        q_int: Tensor | None, k_int: Tensor | None, beta: float, orders: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """One token of each of n sequences: who dies, then its own row, then attention.

        rows, steps [n] int32, rows -1 where nobody reads; q [n, H, d], k and v [n, H_kv, d], q_int
        and k_int [n, r] float32; orders [L, B, tokens] int32 overrule the gates where not GATE.
        Returns [n, H, d], zeros where nobody reads.
        """
        s = self.shape
        judged = q_int is not None or orders is not None
        if judged:
            queries = self.k_int if q_int is None else q_int
            table = self.counts if orders is None else orders
            score_kernel[(len(rows), triton.cdiv(s.most, BLOCK))](
                rows, steps, self.counts, self.table, queries, self.k_int, self.positions,
                self.margins, table, self._death, self._low, layer, float(beta),
                queries.stride(0), s.sequences, s.most_pages, table.shape[-1], s.most,
                R=s.interaction, R_PAD=padded(s.interaction), PAGE=s.page, BLOCK_N=BLOCK,
                GATED=q_int is not None, FORCED=orders is not None, num_warps=4,
            )  # fmt: skip
        self._settle(layer, rows, steps, k, v, k_int, new=True, marked=judged)
        splits = splits_for(len(rows), s.kv_heads, s.most, self._processors)
        return paged_decode_attention(
            q, self.k, self.v, rows, self.counts[layer], self.table[layer], s.page, splits
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
            death[:keys] = ALIVE
            low[:keys] = torch.nan
        else:
            launch_deaths(q_int, self.k_int, steps, self.positions, beta, death, low, keys, paged)
        if orders is not None:
            self._order(table, orders[layer, index], keys, first + tokens, death, low)
        out = launch_extend(q, self.k, self.v, steps, self.positions, death, keys, paged)
        if q_int is not None or orders is not None:
            self._settle(layer, row, row, self.k, self.v, None, new=False, marked=True)
            # Every hole that is filled and every row that moves is one of the living.
            move_kernel[(triton.cdiv(max(1, keys // 2), _MOVED),)](
                self.table, self.k, self.v, self.k_int, self.positions, self.margins,
                death, self._holes, self._moves, layer, index, s.sequences, s.most_pages,
                GATED=self.gated, num_warps=4, **self._rows,
            )  # fmt: skip
        return out

    def take_over(self, layer: int, index: int, source: Store, taken: int, count: int) -> None:
        """Give the empty sequence ``index`` the ``count`` rows of sequence ``taken`` of ``source``,
        in their order. The pool must have room."""
        there = source.places_of(layer, taken, count)
        k_int = source.k_int[there] if self.gated else None
        self._append(layer, index, 0, source.k[there], source.v[there], k_int)
        here = self.places_of(layer, index, count)
        self.positions[here] = source.positions[there]
        self.margins[here] = source.margins[there]

    def _order(
        self, table: Tensor, orders: Tensor, keys: int, end: int, death: Tensor, low: Tensor
    ) -> None:
        """Overrule death and low [keys] of one sequence; rows past its count do not matter."""
        n = torch.arange(keys, device=self.device)
        place = table[n // self.shape.page].long() * self.shape.page + n % self.shape.page
        order = orders[self.positions[place].long().clamp(0, len(orders) - 1)]
        free = order == GATE
        ordered = torch.where(order < end, order, ALIVE)
        death[:keys] = torch.where(free, death[:keys], ordered)
        low[:keys] = torch.where(free, low[:keys], torch.nan)

    def _append(
        self, layer: int, index: int, first: int, k: Tensor, v: Tensor, k_int: Tensor | None
    ) -> None:
        s = self.shape
        tokens = len(k)
        reserve_kernel[(1,)](
            self.counts, self.table, self.ring, self.ends, layer, index, tokens,
            s.sequences, s.most_pages, len(self.ring) - 1, PAGE=s.page, BLOCK_P=32, num_warps=1,
        )  # fmt: skip
        gates = self.k_int if k_int is None else k_int
        fill_kernel[(triton.cdiv(tokens, _MOVED),)](
            self.counts, self.table, self.k, self.v, self.k_int, self.positions, self.margins,
            k, v, gates, layer, index, tokens, first, s.sequences, s.most_pages,
            k.stride(0), v.stride(0), gates.stride(0),
            GATED=k_int is not None, num_warps=4, **self._rows,
        )  # fmt: skip

    def _settle(
        self, layer: int, rows: Tensor, steps: Tensor, k: Tensor, v: Tensor,
        k_int: Tensor | None, *, new: bool, marked: bool,
    ) -> None:  # fmt: skip
        s = self.shape
        gates = self.k_int if k_int is None else k_int
        settle_kernel[(len(rows),)](
            rows, steps, self.counts, self.table, self.ring, self.ends,
            self.log, self.log_margins, self.logged,
            self.k, self.v, self.k_int, self.positions, self.margins, k, v, gates,
            self._death, self._low, self._holes, self._moves, layer,
            gates.stride(0), k.stride(0), v.stride(0), s.sequences, s.most_pages, s.most,
            len(self.ring) - 1, len(self.log) - 1,
            BLOCK_W=_MARKS, NEW=int(new), MARKED=int(marked), GATED=k_int is not None,
            num_warps=4,
            **self._rows,
        )  # fmt: skip


def make_pool(dtype: torch.dtype, device: torch.device, **shape: int) -> Pool:
    """A pool for rows of ``dtype``; ``shape`` as in `PoolShape`."""
    return Pool(PoolShape(**shape), dtype, device)

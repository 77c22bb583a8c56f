"""The memory of the pool: pages of rows, who owns them, which are free, and the log of deaths.

All tables are on the device. Only `state`, `deaths` and `margins_of` bring numbers to the host.
Knows nothing of attention or of how deaths are decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.row_bytes import entry_bytes, row_bytes
from dcp.kernels.triton.pages import release_kernel

__all__ = ["Deaths", "PoolShape", "Store"]


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


class Store:
    """The tables of a pool.

    k, v        [pages * page, H_kv, d]           keys and values
    k_int       [pages * page, r] float32         gate keys
    positions   [pages * page] int32              the token in each row
    margins     [pages * page] float32            its smallest gate logit so far, nan before any
    table       [L, B, most pages] int32          the pages of each sequence, in order
    counts      [L, B] int32                      live rows of each; the first ones of its pages
    ring, ends  [a power of two] int32, [2] int64  free pages lie at ends[0] … ends[1], around
    log         [a power of two, 4] int32         layer, sequence, position, step of the dead
    log_margins [a power of two] float32          their gate logits
    logged      [1] int64                         how many died so far; entry i lies at i, around
    """

    def __init__(self, shape: PoolShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        s = shape
        self.table = torch.zeros(
            s.layers, s.sequences, s.most_pages, dtype=torch.int32, device=device
        )
        self.counts = torch.zeros(s.layers, s.sequences, dtype=torch.int32, device=device)
        self.ends = torch.tensor([0, s.pages], device=device)
        self.logged = torch.zeros(1, dtype=torch.int64, device=device)
        self._told = 0
        self._allocate()

    def _allocate(self) -> None:
        s, device = self.shape, self.device
        rows = s.pages * s.page
        self.k = torch.empty(rows, s.kv_heads, s.head_dim, dtype=self.dtype, device=device)
        self.v = torch.empty_like(self.k)
        self.k_int = torch.empty(rows, s.interaction, device=device)
        self.positions = torch.empty(rows, dtype=torch.int32, device=device)
        self.margins = torch.empty(rows, device=device)
        self.ring = torch.arange(triton.next_power_of_2(s.pages), dtype=torch.int32, device=device)
        # All rows and as many newcomers can die before the host has read the first of them: it
        # never lags by as many steps as a page has rows.
        entries = triton.next_power_of_2(2 * rows)
        self.log = torch.empty(entries, 4, dtype=torch.int32, device=device)
        self.log_margins = torch.empty(entries, device=device)

    @property
    def gated(self) -> bool:
        return self.shape.interaction > 0

    @property
    def page_bytes(self) -> int:
        """Bytes of one page, gate keys and tables included."""
        s = self.shape
        return s.page * row_bytes(s.kv_heads, s.head_dim, self.dtype, s.interaction)

    @property
    def entry_bytes(self) -> int:
        """Bytes of the key and value of one row."""
        return entry_bytes(self.shape.kv_heads, self.shape.head_dim, self.dtype)

    def state(self) -> tuple[Tensor, int]:
        """counts [L, B] int32 on the host, and free pages. Waits for the device."""
        taken, given = self.ends.tolist()
        return self.counts.to("cpu", copy=True), given - taken

    def wanted(self, counts: Tensor, more: Tensor) -> int:
        """Pages that ``more`` [B] rows in every layer need on top of ``counts`` [L, B], should
        nothing die."""
        page = self.shape.page
        return int(((counts + more + page - 1) // page - (counts + page - 1) // page).sum())

    def require(self, counts: Tensor, free: int, more: Tensor) -> None:
        """Raises DeviceError unless ``free`` pages do for what is `wanted`."""
        wanted = self.wanted(counts, more)
        if wanted > free:
            raise DeviceError(
                f"the pool for keys and values is full: the next step can need {wanted} pages of "
                f"{self.shape.page} rows and {free} are free; use a smaller batch, shorter texts "
                f"or more pages"
            )

    def grow(self, pages: int) -> None:
        """Go on with ``pages`` pages, more than now: every row keeps its place. Waits for the
        device, and for a moment holds both; the log must have been read to its end."""
        old, rows = self.shape, self.shape.pages * self.shape.page
        before = (self.k, self.v, self.k_int, self.positions, self.margins)
        taken, given = self.ends.tolist()
        free = self.ring[torch.arange(taken, given, device=self.device) % len(self.ring)]
        self.shape = replace(old, pages=pages)
        self._allocate()
        after = (self.k, self.v, self.k_int, self.positions, self.margins)
        for source, target in zip(before, after, strict=True):
            target[:rows] = source
        fresh = torch.arange(old.pages, pages, dtype=torch.int32, device=self.device)
        self.ring[: given - taken + len(fresh)] = torch.cat((free, fresh))
        self.ends.copy_(torch.tensor([0, given - taken + len(fresh)]))

    def release(self, index: int) -> None:
        """Give the pages of sequence ``index`` back. Between steps; waits for nobody."""
        s = self.shape
        release_kernel[(s.layers,)](
            self.counts, self.table, self.ring, self.ends, index, s.sequences, s.most_pages,
            len(self.ring) - 1, PAGE=s.page, BLOCK_P=128, num_warps=1,
        )  # fmt: skip

    def deaths(self, end: int) -> Deaths:
        """What died since the last call, up to entry ``end``, which the device must have passed.
        Does not wait for what the device does after that."""
        start, self._told = self._told, end
        parts, size = [], len(self.log)
        while start < end:
            first = start % size
            part = slice(first, min(size, first + end - start))
            parts.append((self.log[part], self.log_margins[part]))
            start += part.stop - part.start
        if not parts:
            none = torch.empty(0, dtype=torch.int32)
            return Deaths(none, none, none, none, torch.empty(0))
        if self.device.type == "cuda":
            parts = self._fetched(parts)
        entries, margins = (torch.cat(column) for column in zip(*parts, strict=True))
        layer, sequence, position, step = entries.unbind(1)
        return Deaths(layer, sequence, position, step, margins)

    def _fetched(self, parts: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """The same on the host, past the steps that are under way."""
        aside = torch.cuda.Stream(self.device)
        with torch.cuda.stream(aside):
            copies = [
                tuple(
                    torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
                    for x in pair
                )
                for pair in parts
            ]
        aside.synchronize()
        return [(entries, margins) for entries, margins in copies]

    def margins_of(self, layer: int, index: int, count: int) -> tuple[Tensor, Tensor]:
        """positions [count] and margins [count] of the live rows of a sequence, on the host."""
        place = self.places_of(layer, index, count)
        return self.positions[place].cpu(), self.margins[place].cpu()

    def places_of(self, layer: int, index: int, count: int) -> Tensor:
        """[count] int64: where the first ``count`` rows of a sequence lie in the tables."""
        n = torch.arange(count, device=self.device)
        page = self.shape.page
        return self.table[layer, index][n // page].long() * page + n % page

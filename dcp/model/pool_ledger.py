"""What the host knows of a GPU's pool: its counts as of the last step that it heard of.

Enough to report what died and what is held, and to grow the pool, or refuse a step, before it could
overflow, while the device is steps ahead. Knows no attention and no kernel; of `dcp.kernels` only
the methods of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.errors import DeviceError
from dcp.model.sequence_cache import CacheBytes, Drops

__all__ = ["PoolLedger"]


class PoolLedger:
    """The pool of B sequences, its counts [L, B] and free pages as the host last heard of them."""

    def __init__(self, pool: Any, most_pages: int) -> None:
        """``pool``: `dcp.kernels.triton.pool.Pool`; it may grow to ``most_pages``."""
        self.pool, self._most_pages = pool, most_pages
        self._counts, self._free = pool.state()
        self._peak = [0] * self.sequences
        self._log: list[list[tuple[npt.NDArray[np.generic], ...]]]
        self._log = [[] for _ in range(self.sequences)]
        self._stale = False
        self._released: list[int] = []

    @property
    def sequences(self) -> int:
        """B."""
        return int(self._counts.shape[1])

    def mark_stale(self) -> None:
        """The next forward pass makes what is known here out of date; `refresh` asks again."""
        self._stale = True

    def refresh(self) -> None:
        """Bring counts and deaths of the last forward pass to the host, once."""
        if self._stale:
            self._stale = False
            counts, free = self.pool.state()
            self.note(counts, free, int(self.pool.logged))

    def fits(self, more: Sequence[int]) -> bool:
        """Whether the pool, as of what the host knows, holds ``more`` [B] tokens of each sequence,
        should nothing die."""
        return bool(self.pool.wanted(self._counts, torch.tensor(more)) <= self._free)

    def make_room(self, more: Sequence[int]) -> bool:
        """See to it that the pool `fits` ``more``; whether it had to grow, which moves it.

        The host must know of every step of a graph; of a forward pass it asks here, because a pool
        that grows forgets its log. Raises DeviceError where there is no room to grow into.
        """
        self.refresh()
        wanted, pages = torch.tensor(more), self.pool.shape.pages
        short = self.pool.wanted(self._counts, wanted) - self._free
        if short <= 0:
            return False
        if pages + short > self._most_pages:
            self.pool.require(self._counts, self._free, wanted)
        grown = min(self._most_pages, max(2 * pages, pages + short))
        try:
            self.pool.grow(grown)
        except torch.OutOfMemoryError as wrong:
            raise DeviceError(
                f"the GPU has no room for {grown * self.pool.page_bytes} bytes of keys and values; "
                f"use a smaller batch or shorter texts"
            ) from wrong
        self._free += grown - pages
        return True

    def note(self, counts: Tensor, free: int, logged: int) -> None:
        """Take over what a step left: counts [L, B] int32, free pages, and how many died so far."""
        # A step that was under way when a row was released still counts it.
        counts[:, self._released] = 0
        self._counts, self._free = counts, free
        self._peak = [max(peak, self._held(row)) for row, peak in enumerate(self._peak)]
        deaths = self.pool.deaths(logged)
        for row in deaths.sequence.unique().tolist():
            own = deaths.sequence == row
            columns = (deaths.layer, deaths.position, deaths.step, deaths.margin)
            self._log[row].append(tuple(column[own].numpy() for column in columns))

    def take_drops(self, row: int) -> Drops:
        """What died in sequence ``row`` since the last call."""
        self.refresh()
        log, self._log[row] = self._log[row], []
        columns = [np.concatenate(c) for c in zip(*log, strict=True)] or [np.empty(0)] * 4
        return Drops(
            columns[0].astype(np.int32),
            columns[1].astype(np.int32),
            columns[2].astype(np.int32),
            columns[3].astype(np.float32),
        )

    def margins(self, row: int, into: npt.NDArray[np.float32]) -> None:
        """Write the smallest gate logit so far of every living token to ``into`` [L, T]."""
        self.refresh()
        for layer, count in enumerate(self._counts[:, row].tolist()):
            positions, margins = self.pool.margins_of(layer, row, count)
            into[layer, positions.numpy()] = margins.numpy()

    def memory(self, row: int) -> CacheBytes:
        self.refresh()
        live = int(self._counts[:, row].sum()) * self.pool.entry_bytes
        return CacheBytes(live, self._held(row), self._peak[row])

    def copy_row(self, row: int, source: PoolLedger, taken: int) -> None:
        """Make the empty sequence ``row`` what sequence ``taken`` of ``source`` is."""
        source.refresh()
        counts = source._counts[:, taken].tolist()
        self.make_room([max(counts) if i == row else 0 for i in range(self.sequences)])
        for layer, count in enumerate(counts):
            if count:
                self.pool.take_over(layer, row, source.pool, taken, count)
        self.mark_stale()

    def release(self, row: int) -> None:
        """Give the pages of sequence ``row`` back."""
        self.refresh()
        self.pool.release(row)
        page = self.pool.shape.page
        self._free += int(((self._counts[:, row] + page - 1) // page).sum())
        self._counts[:, row] = 0
        self._released.append(row)

    def _held(self, row: int) -> int:
        page = self.pool.shape.page
        pages = int(((self._counts[:, row] + page - 1) // page).sum())
        tables = int(self.pool.table[:, row].nbytes + self.pool.counts[:, row].nbytes)
        return pages * int(self.pool.page_bytes) + tables

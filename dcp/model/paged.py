"""Attention over the paged pool of a GPU: `CachedAttention`'s methods, every step in kernels.

The rows of a batch that read one token are settled and attended to in one launch a layer; prompt
chunks go row by row. The host keeps the counts as of the last step it heard of, for the counters
and to grow the pool, or refuse a step, before it could overflow. Knows nothing of sampling, text or
weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.deaths import GATE, ForcedDeaths
from dcp.errors import DeviceError
from dcp.kernels.api import Kernels
from dcp.kernels.gates import Gates
from dcp.model.config import ModelConfig
from dcp.model.sequence_cache import CacheBytes, Drops

__all__ = ["PagedAttention"]


class PagedAttention:
    """The pool of B sequences, and the attention of L layers over it."""

    def __init__(
        self,
        config: ModelConfig,
        kernels: Kernels,
        dtype: torch.dtype,
        device: torch.device,
        limits: Sequence[int],
        *,
        interaction: int,
        gate_shift: float = 0.0,
        deaths: Sequence[ForcedDeaths | None],
        pages: int | None = None,
        budget: int | None = None,
        page: int = 32,
    ) -> None:
        """``limits`` [B]: tokens each sequence can reach. interaction 0: the gates are off.

        The pool begins with an eighth of what could live at once, and doubles when that runs out,
        up to ``budget`` bytes of rows. ``pages`` fixes its size instead.
        """
        enough = config.layers * sum(-(-limit // page) for limit in limits)
        least = config.layers * len(limits)
        assert kernels.pool is not None
        self.pool = kernels.pool(
            dtype,
            device,
            layers=config.layers,
            sequences=len(limits),
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            interaction=interaction,
            most=max(limits),
            pages=max(least, enough // 8) if pages is None else pages,
            page=page,
        )
        self._most_pages = enough if pages is None else pages
        if budget is not None:
            self._most_pages = min(self._most_pages, budget // self.pool.page_bytes)
        if self._most_pages < self.pool.shape.pages:
            least = self.pool.shape.pages * self.pool.page_bytes
            raise DeviceError(
                f"a cache of {budget} bytes is too small to begin with: this batch takes {least}; "
                f"use a larger one, a smaller batch or shorter texts"
            )
        self.gated, self.gate_shift = interaction > 0, gate_shift
        self._device = device
        self.orders = _orders(deaths, config.layers, max(limits), device)
        self._betas: dict[int, float] = {}
        self._counts, self._free = self.pool.state()
        self._peak = [0] * len(limits)
        self._log: list[list[tuple[npt.NDArray[np.generic], ...]]] = [[] for _ in limits]
        self._stale = False
        self._released: list[int] = []
        self._chunks: list[tuple[slice, Tensor, int, int, Tensor]] = []
        self._single: tuple[slice | Tensor, Tensor, Tensor] | None = None

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Say what the next forward pass carries: (sequence, first position, past last), in order.

        Raises DeviceError, before anything happens, if the pool cannot hold it.
        """
        self._refresh()
        more = [0] * self._counts.shape[1]
        for row, first, stop in spans:
            more[row] += stop - first
        self.make_room(more)
        self._chunks, singles, start = [], [], 0
        for row, first, stop in spans:
            part = slice(start, start + stop - first)
            start = part.stop
            if stop - first == 1:
                singles.append((part.start, row, first))
            else:
                steps = torch.arange(first, stop, dtype=torch.int32, device=self._device)
                self._chunks.append((part, self._ints([row]), row, first, steps))
        self._single = None
        if singles:
            at, rows, positions = (list(column) for column in zip(*singles, strict=True))
            self._single = (self._ints(at).long(), self._ints(rows), self._ints(positions))
        self._stale = True

    def begin_step(self, rows: Tensor, steps: Tensor) -> None:
        """Say that the next forward pass reads one token of each sequence in ``rows`` [n] int32 on
        the device, at positions ``steps`` [n] int32; a row of -1 reads nothing. `make_room` comes
        before, `note` after it: here nothing waits for the device."""
        self._chunks, self._single = [], (slice(None), rows, steps)

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        """q [1, N, H, d], k and v [1, N, H_kv, d], gates of [1, N, r] -> [1, N, H, d]."""
        if self._single is not None and isinstance(self._single[0], slice):
            every, rows, steps = self._single
            alone: Tensor = self.pool.decode(
                layer, rows, steps, q[0], k[0], v[0],
                *self._judges(layer, gates, every), self.orders,
            )  # fmt: skip
            return alone[None]
        out = torch.empty_like(q)
        for part, row, index, first, steps in self._chunks:
            out[0, part] = self.pool.extend(
                layer, row, index, first, steps, q[0, part],
                k[0, part].contiguous(), v[0, part].contiguous(),
                *self._judges(layer, gates, part), self.orders,
            )  # fmt: skip
        if self._single is not None:
            at, rows, steps = self._single
            out[0, at] = self.pool.decode(
                layer, rows, steps, q[0, at], k[0, at], v[0, at],
                *self._judges(layer, gates, at), self.orders,
            )  # fmt: skip
        return out

    def _judges(
        self, layer: int, gates: Gates | None, at: slice | Tensor
    ) -> tuple[Tensor | None, Tensor | None, float]:
        """Of the tokens ``at``: q_int and k_int [n, r] or None, and the layer's shifted beta."""
        if gates is None or not self.gated:
            return None, None, 0.0
        if layer not in self._betas:
            self._betas[layer] = float(gates.beta) + self.gate_shift
        return gates.q_int[0, at], gates.k_int[0, at], self._betas[layer]

    def fits(self, more: Sequence[int]) -> bool:
        """Whether the pool, as of what the host knows, holds ``more`` [B] tokens of each sequence,
        should nothing die."""
        return bool(self.pool.wanted(self._counts, torch.tensor(more)) <= self._free)

    def make_room(self, more: Sequence[int]) -> bool:
        """See to it that the pool `fits` ``more``; whether it had to grow, which moves it.

        The host must know of every step. Raises DeviceError where there is no room to grow into.
        """
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
        self._refresh()
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
        self._refresh()
        for layer, count in enumerate(self._counts[:, row].tolist()):
            positions, margins = self.pool.margins_of(layer, row, count)
            into[layer, positions.numpy()] = margins.numpy()

    def memory(self, row: int) -> CacheBytes:
        self._refresh()
        live = int(self._counts[:, row].sum()) * self.pool.entry_bytes
        return CacheBytes(live, self._held(row), self._peak[row])

    def release(self, row: int) -> None:
        """Give the pages of sequence ``row`` back."""
        self._refresh()
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

    def _refresh(self) -> None:
        """Bring counts and deaths of the last forward pass to the host, once."""
        if self._stale:
            self._stale = False
            counts, free = self.pool.state()
            self.note(counts, free, int(self.pool.logged))

    def _ints(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self._device)


def _orders(
    deaths: Sequence[ForcedDeaths | None], layers: int, tokens: int, device: torch.device
) -> Tensor | None:
    """All orders as [L, B, tokens] int32, GATE where there is none; None without any."""
    if all(orders is None for orders in deaths):
        return None
    none = np.full((layers, tokens), GATE, dtype=np.int32)
    tables = [none if orders is None else orders.padded(tokens) for orders in deaths]
    return torch.from_numpy(np.stack(tables, axis=1)).to(device)

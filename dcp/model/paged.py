"""Attention over the paged pool of a GPU: `CachedAttention`'s methods, every step in kernels.

The rows of a batch that read one token are settled and attended to in one launch a layer; prompt
chunks go row by row. The host keeps the counts as of the last step, for the counters and to refuse
a step that the pool could not hold. Knows nothing of sampling, text or weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.config import ModelConfig
from dcp.forced import GATE, ForcedDeaths
from dcp.kernels.api import Kernels
from dcp.model.cached import CacheBytes, Drops

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
        forced: Sequence[ForcedDeaths | None],
        pages: int | None = None,
        page: int = 32,
    ) -> None:
        """``limits`` [B]: tokens each sequence can reach. interaction 0: the gates are off.
        ``pages`` in the pool; by default enough for all that can live."""
        enough = config.layers * sum(-(-limit // page) for limit in limits)
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
            pages=enough if pages is None else pages,
            page=page,
        )
        self.gated, self.gate_shift = interaction > 0, gate_shift
        self._device = device
        self.orders = _orders(forced, config.layers, max(limits), device)
        self._betas: dict[int, float] = {}
        self._counts, self._free = self.pool.state()
        self._peak = [0] * len(limits)
        self._log: list[list[tuple[npt.NDArray[np.generic], ...]]] = [[] for _ in limits]
        self._stale = False
        self._chunks: list[tuple[slice, Tensor, int, int, Tensor]] = []
        self._single: tuple[Tensor, Tensor, Tensor] | None = None

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Say what the next forward pass carries: (sequence, first position, past last), in order.

        Raises DeviceError, before anything happens, if the pool could not hold it.
        """
        self._refresh()
        more = torch.zeros(self._counts.shape[1], dtype=torch.int32)
        for row, first, stop in spans:
            more[row] += stop - first
        self.pool.require(self._counts, self._free, more)
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

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor | None,
        k_int: Tensor | None,
        beta: Tensor | None,
    ) -> Tensor:
        """q [1, N, H, d], k and v [1, N, H_kv, d], q_int and k_int [1, N, r] -> [1, N, H, d]."""
        if not self.gated:
            q_int = k_int = None
        elif beta is not None and layer not in self._betas:
            self._betas[layer] = float(beta) + self.gate_shift
        shifted = self._betas.get(layer, 0.0)
        out = torch.empty_like(q)
        for part, row, index, first, steps in self._chunks:
            out[0, part] = self.pool.extend(
                layer, row, index, first, steps, q[0, part],
                k[0, part].contiguous(), v[0, part].contiguous(),
                None if q_int is None else q_int[0, part],
                None if k_int is None else k_int[0, part],
                shifted, self.orders,
            )  # fmt: skip
        if self._single is not None:
            at, rows, steps = self._single
            out[0, at] = self.pool.decode(
                layer, rows, steps, q[0, at], k[0, at], v[0, at],
                None if q_int is None else q_int[0, at],
                None if k_int is None else k_int[0, at],
                shifted, self.orders,
            )  # fmt: skip
        return out

    def require(self, steps: int) -> None:
        """Raises DeviceError unless the pool can hold ``steps`` more tokens of every sequence,
        should nothing die. Waits for the device."""
        self._stale = True
        self._refresh()
        more = torch.full((self._counts.shape[1],), steps, dtype=torch.int32)
        self.pool.require(self._counts, self._free, more)

    def touched(self) -> None:
        """Say that the pool was changed without `begin`."""
        self._stale = True

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
        live = int(self._counts[:, row].sum()) * self.pool.row_bytes
        return CacheBytes(live, self._held(row), self._peak[row])

    def release(self, row: int) -> None:
        """Give the pages of sequence ``row`` back."""
        self._refresh()
        self.pool.release(row)
        self._counts, self._free = self.pool.state()

    def _held(self, row: int) -> int:
        page = self.pool.shape.page
        pages = int(((self._counts[:, row] + page - 1) // page).sum())
        tables = int(self.pool.table[:, row].nbytes + self.pool.counts[:, row].nbytes)
        return pages * int(self.pool.page_bytes) + tables

    def _refresh(self) -> None:
        """Bring counts and deaths of the last step to the host, once a step."""
        if not self._stale:
            return
        self._stale = False
        self._counts, self._free = self.pool.state()
        self._peak = [max(peak, self._held(row)) for row, peak in enumerate(self._peak)]
        deaths = self.pool.drained()
        for row in deaths.sequence.unique().tolist():
            own = deaths.sequence == row
            columns = (deaths.layer, deaths.position, deaths.step, deaths.margin)
            self._log[row].append(tuple(column[own].numpy() for column in columns))

    def _ints(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self._device)


def _orders(
    forced: Sequence[ForcedDeaths | None], layers: int, tokens: int, device: torch.device
) -> Tensor | None:
    """All orders as [L, B, tokens] int32, GATE where there is none; None without any."""
    if all(orders is None for orders in forced):
        return None
    table = np.full((layers, len(forced), tokens), GATE, dtype=np.int32)
    for row, orders in enumerate(forced):
        if orders is not None:
            told = orders.death[:, :tokens]
            table[:, row, : told.shape[1]] = told
    return torch.from_numpy(table).to(device)

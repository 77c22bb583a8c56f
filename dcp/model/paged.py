"""Attention over the paged pool of a GPU: `CachedAttention`'s methods, every step in kernels.

The rows of a batch that read one token are settled and attended to in one launch a layer; prompt
chunks go row by row. What the host knows of the pool is a `dcp.model.pool_ledger.PoolLedger`. Knows
nothing of sampling, text or weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dcp.deaths import GATE, ForcedDeaths
from dcp.errors import DeviceError
from dcp.kernels.api import Kernels
from dcp.kernels.gates import Gates
from dcp.model.config import ModelConfig
from dcp.model.pool_ledger import PoolLedger

__all__ = ["PagedAttention"]


class PagedAttention(PoolLedger):
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
        pool = kernels.pool(
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
        most_pages = enough if pages is None else pages
        if budget is not None:
            most_pages = min(most_pages, budget // pool.page_bytes)
        if most_pages < pool.shape.pages:
            least = pool.shape.pages * pool.page_bytes
            raise DeviceError(
                f"a cache of {budget} bytes is too small to begin with: this batch takes {least}; "
                f"use a larger one, a smaller batch or shorter texts"
            )
        super().__init__(pool, most_pages)
        self.gated, self.gate_shift = interaction > 0, gate_shift
        self._device = device
        self.orders = _orders(deaths, config.layers, max(limits), device)
        self._betas: dict[int, float] = {}
        self._chunks: list[tuple[slice, Tensor, int, int, Tensor]] = []
        self._single: tuple[slice | Tensor, Tensor, Tensor] | None = None

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Say what the next forward pass carries: (sequence, first position, past last), in order.

        Raises DeviceError, before anything happens, if the pool cannot hold it.
        """
        more = [0] * self.sequences
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
        self.mark_stale()

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

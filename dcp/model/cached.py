"""Attention over the cache: where a layer of the model loop meets the rows that live.

`CachedAttention` is the `dcp.model.sequence_cache.SequenceCache` of a CPU. Each call appends,
scores, drops and attends; the query that drops a token does not see it. Knows nothing of sampling,
text or weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.deaths import ALIVE, GATE, ForcedDeaths
from dcp.kernels.api import Kernels
from dcp.kernels.gates import Gates
from dcp.model.cache import Bits, HeldBytes, Slots, bits
from dcp.model.config import ModelConfig
from dcp.model.kv_rows import narrowed
from dcp.model.sequence_cache import CacheBytes, Drops

__all__ = ["CachedAttention"]

Indices = npt.NDArray[np.int64]
_NOBODY: Indices = np.empty(0, dtype=np.int64)

Rows = tuple[Bits, Bits, Bits | None]
"""New rows for the cache: k and v as it keeps them [C, H_kv, width], k_int [C, r]."""


_Deaths = tuple[
    int, npt.NDArray[np.int32], npt.NDArray[np.int32] | np.int32, npt.NDArray[np.float32]
]
"""Layer, positions, steps and margins of tokens that died together."""
_NONE = np.empty(0, dtype=np.int32)
_NO_DROPS = Drops(_NONE, _NONE, _NONE, np.empty(0, dtype=np.float32))


class CachedAttention:
    """Caches of B sequences, and the attention of L layers over them."""

    def __init__(
        self,
        config: ModelConfig,
        kernels: Kernels,
        dtype: torch.dtype,
        limits: Sequence[int],
        *,
        interaction: int,
        gate_shift: float = 0.0,
        deaths: Sequence[ForcedDeaths | None],
    ) -> None:
        """``limits`` [B]: tokens each sequence can reach. interaction 0: the gates are off.

        dtype: how keys and values are kept, `dcp.model.kv_rows`.
        """
        self._dtype = dtype
        self.kernels = kernels
        self.gate_shift = gate_shift
        self.gated = interaction > 0
        self._meters = [HeldBytes() for _ in limits]
        shape = (config.kv_heads, config.head_dim, interaction, dtype)
        self._slots = [
            [Slots(*shape, limit, meter) for _ in range(config.layers)]
            for limit, meter in zip(limits, self._meters, strict=True)
        ]
        self._orders = [
            None if orders is None else orders.padded(limit)
            for orders, limit in zip(deaths, limits, strict=True)
        ]
        # A full schedule leaves the gates nothing to say; their logits are still computed.
        self._mixed = [table is not None and bool((table == GATE).any()) for table in self._orders]
        self._log: list[list[_Deaths]] = [[] for _ in limits]
        self._segments: list[tuple[int, int, int]] = []

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Say what the next forward pass carries: (sequence, first position, past last), in order.

        The tokens of the spans lie one after another in the flat batch.
        """
        self._segments = [(row, first, stop - first) for row, first, stop in spans]

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        """q [1, N, H, d], k and v [1, N, H_kv, d], gates of [1, N, r] -> [1, N, H, d]."""
        queries, q_int, beta = q[0], None, 0.0
        new: Rows = (bits(narrowed(k[0], self._dtype)), bits(narrowed(v[0], self._dtype)), None)
        if gates is not None:
            q_int, beta = gates.q_int[0], float(gates.beta) + self.gate_shift
            new = (new[0], new[1], bits(gates.k_int[0]))
        out, start = [], 0
        for row, first, size in self._segments:
            part = slice(start, start + size)
            attend = self._decode if size == 1 else self._extend
            out.append(
                attend(
                    row,
                    layer,
                    first,
                    queries[part],
                    None if q_int is None else q_int[part],
                    beta,
                    (new[0][part], new[1][part], None if new[2] is None else new[2][part]),
                )
            )
            start += size
        return (out[0] if len(out) == 1 else torch.cat(out))[None]

    def take_drops(self, row: int) -> Drops:
        """What died in sequence ``row`` since the last call."""
        log, self._log[row] = self._log[row], []
        if not log:
            return _NO_DROPS
        layers, positions, steps, margins = zip(*log, strict=True)
        sizes = [len(p) for p in positions]
        return Drops(
            np.repeat(np.asarray(layers, dtype=np.int32), sizes),
            np.concatenate(positions),
            np.concatenate([np.broadcast_to(s, n) for s, n in zip(steps, sizes, strict=True)]),
            np.concatenate(margins),
        )

    def margins(self, row: int, into: npt.NDArray[np.float32]) -> None:
        """Write the smallest gate logit so far of every living token to ``into`` [L, T]."""
        for layer, slots in enumerate(self._slots[row]):
            n = slots.count
            into[layer, slots.positions[:n]] = slots.margins[:n]

    def memory(self, row: int) -> CacheBytes:
        live = sum(slots.live_bytes for slots in self._slots[row])
        return CacheBytes(live, self._meters[row].held, self._meters[row].peak)

    def copy_row(self, row: int, source: CachedAttention, taken: int) -> None:
        """Make the empty sequence ``row`` what sequence ``taken`` of ``source`` is."""
        for mine, theirs in zip(self._slots[row], source._slots[taken], strict=True):
            mine.fill(*theirs.filled())

    def rows(self, row: int) -> list[Slots]:
        """[L]: what each layer holds of a sequence."""
        return self._slots[row]

    def release(self, row: int) -> None:
        """Give the memory of sequence ``row`` back."""
        for slots in self._slots[row]:
            slots.clear()

    def _decode(
        self, row: int, layer: int, position: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        """One query: score and drop first, then its own row, then attention over what is left."""
        slots = self._slots[row][layer]
        n = slots.count
        dead = _NOBODY
        if n and q_int is not None:
            z = self.kernels.gate_scores(q_int, slots.k_int[:n], beta)[0].numpy()
            dead = self._judge(row, layer, position, slots, z)
        elif n and self._orders[row] is not None:
            dead = self._judge(row, layer, position, slots, np.full(n, np.nan, dtype=np.float32))
        k, v, k_int = new
        slots.replace(dead, k[0], v[0], None if k_int is None else k_int[0], position)
        return self.kernels.decode_attention(q[0], *slots.read(q.dtype))[None]

    def _judge(
        self, row: int, layer: int, step: int, slots: Slots, z: npt.NDArray[np.float32]
    ) -> Indices:
        """Rows that the query at ``step`` drops; notes margins and deaths."""
        positions, margins = slots.positions[: slots.count], slots.margins[: slots.count]
        table = self._orders[row]
        if table is None:
            dies = z <= 0
            np.fmin(margins, z, out=margins)
        else:
            orders = table[layer].take(positions)
            dies = orders <= step
            if self._mixed[row]:
                by_gate = orders == GATE
                dies = np.where(by_gate, z <= 0, dies)
                np.fmin(margins, z, out=margins, where=by_gate)
        dead = dies.nonzero()[0]
        if len(dead):
            # What dies by its gate has just had its smallest logit: margins hold it.
            self._log[row].append((layer, positions[dead], np.int32(step), margins[dead]))
        return dead

    def _extend(
        self, row: int, layer: int, first: int, q: Tensor, q_int: Tensor | None, beta: float,
        new: Rows,
    ) -> Tensor:  # fmt: skip
        """A chunk of queries: its rows join the survivors, attention obeys deaths inside the chunk,
        and only then do the dead leave."""
        slots = self._slots[row][layer]
        steps = torch.arange(first, first + len(q), dtype=torch.int32)
        slots.append(*new, first)
        n = slots.count
        positions = torch.from_numpy(slots.positions[:n])
        death = torch.full((n,), ALIVE, dtype=torch.int32)
        margin = torch.full((n,), torch.nan)
        if q_int is not None:
            death, margin = self.kernels.death_times(q_int, slots.k_int[:n], steps, positions, beta)
        table = self._orders[row]
        if table is not None:
            orders = torch.from_numpy(table[layer, slots.positions[:n]])
            ordered = torch.where(orders < first + len(q), orders, ALIVE)
            death = torch.where(orders == GATE, death, ordered)
            margin = torch.where(orders == GATE, margin, torch.nan)
        out = self.kernels.extend_attention(q, *slots.read(q.dtype), steps, positions, death)
        margins = slots.margins[:n]
        np.fmin(margins, margin.numpy(), out=margins)
        dead = np.flatnonzero(death.numpy() != ALIVE)
        if len(dead):
            self._log[row].append(
                (layer, slots.positions[dead], death.numpy()[dead], margin.numpy()[dead])
            )
            slots.drop(dead)
        return out

"""The compiled decode step for our models: its tables filled, and a cache whose rows it keeps.

Prompts are read as on every CPU (`CachedAttention`); from the first decoded token on, one call does
all layers. Knows nothing of sampling, text or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dcp.errors import DeviceError
from dcp.kernels.native import table
from dcp.kernels.native.decoder import Decoder, packed_low, packed_weight
from dcp.kernels.native.pack import pack_low, shortest
from dcp.model.blocks import BlockLinear
from dcp.model.cache import Slots, roomy
from dcp.model.cached import CachedAttention
from dcp.model.config import ModelConfig
from dcp.model.sequence_cache import CacheBytes, Drops
from dcp.model.transformer import Transformer

__all__ = ["NativeCache", "NativeModel", "why_not"]

_ACTIVATIONS = {"silu": 0, "gelu_new": 1, "gelu": 2}


def why_not(transformer: Transformer) -> str | None:
    """None where the native step runs this model, else the reason in one line."""
    for module in transformer.modules():
        if isinstance(module, nn.Linear) and module.weight.dtype != torch.float32:
            return f"impl native runs float32, int8 and q4 weights, not {module.weight.dtype}"
    if not isinstance(transformer.unembed, nn.Linear | BlockLinear):
        return "impl native does not run weights in int8 rows; use impl cpu"
    return None


class NativeModel:
    """A transformer as the structures of `table`, and the tensors that they point to."""

    def __init__(self, transformer: Transformer) -> None:
        """Raises DeviceError for a model that the native step does not run."""
        if reason := why_not(transformer):
            raise DeviceError(reason)
        self.config: ModelConfig = transformer.config
        self._kept: list[Any] = [transformer]
        c = self.config
        self._layers = (table.Layer * c.layers)(*map(self._layer, transformer.blocks))
        cos, sin = (None, None)
        if c.positions == "rope":
            cos, sin = transformer.rope_tables(torch.device("cpu"))
        learned = transformer.position.weight if c.positions == "learned" else None
        self.betas = np.zeros(c.layers, dtype=np.float32)
        if transformer.interaction:
            self.betas[:] = [float(block.beta) for block in transformer.blocks]  # type: ignore[arg-type]
        q_norm: Any = transformer.blocks[0].q_norm
        self.model = table.Model(
            layers=c.layers, width=c.width, heads=c.heads, kv_heads=c.kv_heads,
            head_dim=c.head_dim, ffn=c.ffn, vocab=c.vocab, interaction=transformer.interaction,
            activation=_ACTIVATIONS[c.activation],
            norm_eps=c.norm_eps, q_norm_eps=q_norm.eps if q_norm is not None else 0.0,
            embed=self._floats(transformer.embed.weight), position=self._floats(learned),
            cos=self._floats(cos), sin=self._floats(sin), layer=self._layers,
            norm=self._norm(transformer.norm), unembed=self._weight(transformer.unembed),
        )  # fmt: skip

    def _layer(self, block: Any) -> table.Layer:
        up, ffn = block.mlp.up, self.config.ffn
        gated = self.config.gated_mlp
        interaction = block.interaction
        gates = table.Weight()
        if interaction:
            gates = self._gates(torch.cat((block.q_int.weight, block.k_int.weight)))
        return table.Layer(
            attn_norm=self._norm(block.attn_norm), mlp_norm=self._norm(block.mlp_norm),
            q_norm=self._norm(block.q_norm), k_norm=self._norm(block.k_norm),
            qkv=self._weight(block.qkv), gates=gates, out=self._weight(block.out),
            gate=self._weight(up, 0, ffn) if gated else table.Weight(),
            up=self._weight(up, ffn, 2 * ffn) if gated else self._weight(up),
            down=self._weight(block.mlp.down),
        )  # fmt: skip

    def _gates(self, weight: Tensor) -> table.Weight:
        held = shortest(weight)
        self._kept.append(held)
        kind = table.BF16 if held.dtype == torch.bfloat16 else table.F32
        return table.Weight(kind, *held.shape, 0, held.data_ptr(), None)

    def _weight(self, linear: Any, first: int = 0, last: int | None = None) -> table.Weight:
        """Rows first … last - 1 of a linear layer, all by default."""
        bias = None if linear.bias is None else linear.bias[first:last]
        if isinstance(linear, BlockLinear):
            whole = packed_weight(linear.packed, None)
            last = whole.rows if last is None else last
            # Rows lie in groups of eight: a cut is made between groups.
            assert first % 8 == 0
            whole.data += first // 8 * whole.group_bytes
            whole.rows, whole.bias = last - first, self._floats(bias)
            whole.low = packed_low(linear.low, first)
            return whole
        weight = linear.weight[first:last]
        at = self._floats(weight)
        low = None if linear.low is None else pack_low(linear.low.a, linear.low.b[first:last])
        self._kept.append(low)
        return table.Weight(table.F32, *weight.shape, 0, at, self._floats(bias), packed_low(low))

    def _norm(self, norm: Any) -> table.Norm:
        if norm is None:
            return table.Norm()
        return table.Norm(self._floats(norm.weight), self._floats(getattr(norm, "bias", None)))

    def _floats(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        held = tensor.detach().float().contiguous()
        self._kept.append(held)
        return held.data_ptr()


class NativeCache(CachedAttention):
    """`CachedAttention` whose decode steps are one call each."""

    def __init__(self, model: NativeModel, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._native = model
        kept = str(self._dtype).removeprefix("torch.")
        self._decoder = Decoder(model.model, torch.get_num_threads(), kept)
        self._betas = model.betas + np.float32(self.gate_shift) if self.gated else None
        # Of the sequences that decode: the rows of each layer as the step sees them. While there
        # is a table, its counts are the truth and those of the slots are stale.
        self._tables: dict[int, npt.NDArray[np.void]] = {}
        self._told: dict[int, npt.NDArray[np.void]] = {}

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        for row, _, _ in spans:
            self.settle(row)
        super().begin(spans)

    def decode(
        self, rows: Sequence[int], tokens: Sequence[int], positions: Sequence[int]
    ) -> Tensor:
        """Read the next token of each sequence in ``rows`` -> logits [B, V] float32."""
        tables = [self._table(row) for row in rows]
        for row, found in zip(rows, tables, strict=True):
            for layer in np.flatnonzero(found["count"] == found["capacity"]):
                slots = self._slots[row][layer]
                slots.count = int(found["count"][layer])
                slots.reserve(slots.count + 1)
                self._enter(found, int(layer), slots)
        at = [found.ctypes.data for found in tables]
        logits = self._decoder.step(tokens, positions, at, self._betas)
        for b, row in enumerate(rows):
            dead = self._decoder.drops(b)
            if dead is not None:
                self._told[row] = dead
                self._shrink(row, tables[b])
        return logits

    def take_drops(self, row: int) -> Drops:
        dead = self._told.pop(row, None)
        if dead is None:
            return super().take_drops(row)
        assert not self._log[row], "a prompt's deaths were not taken before decoding"
        return Drops(*(dead[name] for name in ("layer", "position", "step", "margin")))

    def margins(self, row: int, into: npt.NDArray[np.float32]) -> None:
        self._copy_counts(row)
        super().margins(row, into)

    def memory(self, row: int) -> CacheBytes:
        found = self._tables.get(row)
        if found is None:
            return super().memory(row)
        meter = self._meters[row]
        live = int(found["count"].sum()) * self._slots[row][0].entry_bytes
        return CacheBytes(live, meter.held, meter.peak)

    def release(self, row: int) -> None:
        self._tables.pop(row, None)
        super().release(row)

    def seconds(self) -> dict[str, float]:
        """Where the time of the steps went, by `table.PHASES`."""
        return self._decoder.seconds()

    def _table(self, row: int) -> npt.NDArray[np.void]:
        if row not in self._tables:
            found = np.zeros(len(self._slots[row]), dtype=table.ROWS)
            for layer, slots in enumerate(self._slots[row]):
                self._enter(found, layer, slots)
            ordered = self._orders[row]
            if ordered is not None:
                found["orders"] = ordered.ctypes.data + np.arange(len(found)) * ordered.strides[0]
            self._tables[row] = found
        return self._tables[row]

    def _enter(self, found: npt.NDArray[np.void], layer: int, slots: Slots) -> None:
        for name, address in slots.addresses().items():
            found[name][layer] = address
        found["count"][layer], found["capacity"][layer] = slots.count, slots.capacity

    def _shrink(self, row: int, found: npt.NDArray[np.void]) -> None:
        spare = found["capacity"] > roomy(roomy(found["count"]))
        for layer in np.flatnonzero(spare):
            slots = self._slots[row][layer]
            slots.count = int(found["count"][layer])
            slots.shrink()
            self._enter(found, int(layer), slots)

    def _copy_counts(self, row: int) -> None:
        if row in self._tables:
            for slots, count in zip(self._slots[row], self._tables[row]["count"], strict=True):
                slots.count = int(count)

    def settle(self, row: int) -> None:
        """Hand the rows of a sequence back to the slots."""
        self._copy_counts(row)
        self._tables.pop(row, None)

"""The compiled step in use: `Decoder` runs it, `product` is one of its matrix products alone.

Knows a model as the structures of `table` alone; who fills them keeps the memory behind them.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels.native import table
from dcp.kernels.native.pack import Packed, PackedLow

__all__ = ["Decoder", "packed_low", "packed_weight", "product"]

_FORMATS = {8: table.Q8, 4: table.Q4}


class Decoder:
    """Decode steps of one model on ``threads`` threads of its own."""

    def __init__(self, model: table.Model, threads: int, kv: str = "float32") -> None:
        """``model`` and all it points to must outlive the decoder; ``kv`` of `table.KV_FORMATS`
        says how the rows of every cache given to it are kept.

        Raises DeviceError where there is no compiled step or no memory.
        """
        self._lib = table.functions()
        self._model = model
        self._handle = self._lib.dcp_open(ctypes.byref(model), threads, table.KV_FORMATS.index(kv))
        if not self._handle:
            raise DeviceError("there is not enough memory for the native decode step")
        weakref.finalize(self, self._lib.dcp_close, self._handle)
        self._found = ctypes.c_void_p()

    def step(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        rows: Sequence[int],
        betas: npt.NDArray[np.float32] | None,
    ) -> Tensor:
        """Read one token of each of B sequences -> logits [B, V] float32.

        rows    [B] addresses of `table.ROWS` arrays [L], each with room for one more row; counts
                are updated
        betas   [L] float32, gate shift included; None leaves the gates out
        """
        count = len(tokens)
        told = np.array((tokens, positions), dtype=np.int32)
        at = np.array(rows, dtype=np.uint64)
        logits = torch.empty(count, self._model.vocab)
        start = told.ctypes.data
        failed = self._lib.dcp_step(
            self._handle, count, start, start + 4 * count, at.ctypes.data,
            None if betas is None else betas.ctypes.data, betas is not None, logits.data_ptr(),
        )  # fmt: skip
        if failed:
            raise MemoryError("the native decode step ran out of memory")
        return logits

    def drops(self, b: int) -> npt.NDArray[np.void] | None:
        """Who died in sequence ``b`` of the last step, as `table.DROP`; None if nobody did."""
        count = self._lib.dcp_drops(self._handle, b, ctypes.byref(self._found))
        if not count:
            return None
        size = count * table.DROP.itemsize
        return np.frombuffer(ctypes.string_at(self._found.value or 0, size), dtype=table.DROP)

    def seconds(self) -> dict[str, float]:
        """Where the first thread's time went since the decoder was made, by `table.PHASES`."""
        found = (ctypes.c_double * len(table.PHASES))()
        self._lib.dcp_seconds(self._handle, found)
        return dict(zip(table.PHASES, found, strict=True))


def packed_weight(
    packed: Packed, bias: Tensor | None, low: PackedLow | None = None
) -> table.Weight:
    """The structure of a packed weight; the caller keeps what it is made of alive."""
    return table.Weight(
        _FORMATS[packed.bits], packed.rows, packed.columns, packed.group_bytes,
        packed.data.data_ptr(), None if bias is None else bias.data_ptr(), packed_low(low),
    )  # fmt: skip


def packed_low(low: PackedLow | None, first: int = 0) -> table.Low:
    """The structure of a change from row ``first`` of its matrix on, a multiple of 8."""
    if low is None:
        return table.Low()
    kind = table.BF16 if low.a.dtype == torch.bfloat16 else table.F32
    at = low.b.data_ptr() + first * low.b.element_size()
    return table.Low(kind, len(low.a), low.b.shape[1], 0, low.a.data_ptr(), at)


def product(x: Tensor, packed: Packed, bias: Tensor | None, low: PackedLow | None = None) -> Tensor:
    """x [..., K] float32 times packed W [N, K] transposed, plus bias [N] -> [..., N] float32;
    W + B A where there is a change ``low``."""
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    y = torch.empty(len(flat), packed.rows)
    failed = table.functions().dcp_product(
        ctypes.byref(packed_weight(packed, bias, low)), flat.data_ptr(), len(flat), y.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("a native product ran out of memory")
    return y.view(*x.shape[:-1], packed.rows)

"""The keys and values that live: one `Slots` per layer of one sequence, dense at every moment.

A new token overwrites a freed row, remaining holes take the last row, so the rows in use are always
the first ``count``. Row order is free; ``positions`` says which token a row holds. Buffers grow and
shrink with what lives, in pages mapped for each buffer alone, so that memory given up here leaves
the process at once instead of waiting in an allocator. Rows are moved by numpy, which takes a
fraction of the time that torch needs to start. Knows nothing of gates, models or attention.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.kernels.row_bytes import entry_bytes, kv_width, row_bytes
from dcp.model.kv_rows import widened

__all__ = ["Bits", "HeldBytes", "Slots", "bits", "roomy"]

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Floats32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.generic]
"""Keys, values or gate keys as numpy sees them: the bits, where it does not know the type."""

_ALIGN = 64
_SMALLEST = 16
# Moving few rows at a time keeps the copy in between small.
_MOVED_AT_ONCE = 64


class HeldBytes:
    """Bytes that the buffers of one sequence hold now, and the most they ever held."""

    def __init__(self) -> None:
        self.held = 0
        self.peak = 0

    def add(self, size: int) -> None:
        self.held += size
        self.peak = max(self.peak, self.held)


class Slots:
    """Rows of one layer of one sequence.

    k, v        [capacity, H_kv, width] keys and values as ``dtype`` keeps them (`kv_rows`), of
                width d or, in int8, d + 2; in memory the rows of a head lie together
    k_int       [capacity, r] float32, gate keys (r = 0 without gates)
    positions   [capacity] int32     the token in each row
    margins     [capacity] float32   its smallest gate logit so far, nan before any
    count       rows in use; only the first ``count`` of every table mean anything
    """

    def __init__(
        self,
        kv_heads: int,
        head_dim: int,
        interaction: int,
        dtype: torch.dtype,
        limit: int,
        meter: HeldBytes,
    ) -> None:
        """``limit`` is the largest number of rows that can ever live: capacity stops there.
        ``meter`` hears of every mapping made and given back."""
        self.shape = (kv_heads, head_dim, interaction)
        self.dtype = dtype
        self.limit = limit
        self.meter = meter
        self.count = 0
        self.row_bytes = row_bytes(kv_heads, head_dim, dtype, interaction)
        self._map(0)

    @property
    def entry_bytes(self) -> int:
        """Bytes of the key and the value of one token."""
        kv_heads, head_dim, _ = self.shape
        return entry_bytes(kv_heads, head_dim, self.dtype)

    @property
    def live_bytes(self) -> int:
        """Bytes of the keys and values that can be attended to."""
        return self.count * self.entry_bytes

    def addresses(self) -> dict[str, int]:
        """Where the tables begin, by name; until the next resize."""
        named = {"k": self.k, "v": self.v, "k_int": self.k_int}
        found = {name: tensor.data_ptr() for name, tensor in named.items()}
        found["positions"] = self.positions.ctypes.data
        found["margins"] = self.margins.ctypes.data
        return found

    def read(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values of the rows in use, [count, H_kv, d] each of ``dtype``: the rows
        themselves where they are kept so, else what they stand for."""
        n = self.count
        return widened(self.k[:n], dtype), widened(self.v[:n], dtype)

    def filled(self) -> tuple[Tensor, Tensor, Tensor, Ints32, Floats32]:
        """k, v, k_int, positions and margins of the rows in use, in their order; copies."""
        n = self.count
        return (
            self.k[:n].clone(), self.v[:n].clone(), self.k_int[:n].clone(),
            self.positions[:n].copy(), self.margins[:n].copy(),
        )  # fmt: skip

    def fill(
        self, k: Tensor, v: Tensor, k_int: Tensor, positions: Ints32, margins: Floats32
    ) -> None:
        """Make empty rows those that `filled` gave."""
        assert not self.count
        self.append(bits(k), bits(v), bits(k_int), 0)
        self.positions[: self.count] = positions
        self.margins[: self.count] = margins

    def append(self, k: Bits, v: Bits, k_int: Bits | None, first: int) -> None:
        """Add the tokens ``first`` and on: `bits` of k, v [C, H_kv, width] and k_int [C, r]."""
        start, stop = self.count, self.count + len(k)
        self.reserve(stop)
        self.count = stop
        self._kv[0, :, start:stop] = k.swapaxes(0, 1)
        self._kv[1, :, start:stop] = v.swapaxes(0, 1)
        if k_int is not None:
            self._k_int[start:stop] = k_int
        self.positions[start:stop] = np.arange(first, first + len(k))
        self.margins[start:stop] = np.nan

    def replace(self, dead: Ints, k: Bits, v: Bits, k_int: Bits | None, position: int) -> None:
        """Drop the rows ``dead`` and add one: `bits` of k, v [H_kv, width], k_int [r]. It takes
        a freed row."""
        if len(dead):
            row = int(dead[0])
        else:
            row = self.count
            self.reserve(row + 1)
            self.count = row + 1
        self._kv[0, :, row] = k
        self._kv[1, :, row] = v
        if k_int is not None:
            self._k_int[row] = k_int
        self.positions[row] = position
        self.margins[row] = np.nan
        if len(dead) > 1:
            self.drop(dead[1:])

    def drop(self, dead: Ints) -> None:
        """Free the rows ``dead`` (distinct): the last rows move into the holes."""
        left = self.count - len(dead)
        holes = dead[dead < left]
        if len(holes):
            stays = np.ones(len(dead), dtype=np.bool_)
            stays[dead[dead >= left] - left] = False
            movers = np.flatnonzero(stays) + left
            for some in range(0, len(holes), _MOVED_AT_ONCE):
                into, source = (part[some : some + _MOVED_AT_ONCE] for part in (holes, movers))
                self._kv[:, :, into] = self._kv.take(source, axis=2)
                self._k_int[into] = self._k_int[source]
            self.positions[holes] = self.positions[movers]
            self.margins[holes] = self.margins[movers]
        self.count = left
        self.shrink()

    def clear(self) -> None:
        """Drop everything and give the memory back."""
        held, self.count = self.held_bytes, 0
        self._map(0)
        self.meter.add(-held)

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` rows in all."""
        if rows > self.capacity:
            self._resize(roomy(rows))

    def shrink(self) -> None:
        """Give memory back when much more is held than is in use."""
        if self.capacity > roomy(roomy(self.count)):
            self._resize(roomy(self.count))

    def _resize(self, capacity: int) -> None:
        kv, k_int, positions, margins = self._kv, self._k_int, self.positions, self.margins
        held = self.held_bytes
        self._map(min(capacity, self.limit))
        n = self.count
        self._kv[:, :, :n] = kv[:, :, :n]
        self._k_int[:n] = k_int[:n]
        self.positions[:n] = positions[:n]
        self.margins[:n] = margins[:n]
        # The old buffer lives until here: a peak counts both.
        self.meter.add(-held)

    def _map(self, capacity: int) -> None:
        """Lay the five tables into one fresh mapping."""
        kv_heads, head_dim, interaction = self.shape
        shapes: tuple[tuple[tuple[int, ...], torch.dtype], ...] = (
            ((2, kv_heads, capacity, kv_width(head_dim, self.dtype)), self.dtype),
            ((capacity, interaction), torch.float32),
            ((capacity,), torch.int32),
            ((capacity,), torch.float32),
        )
        starts, end = [], 0
        for shape, dtype in shapes:
            starts.append(end)
            end += -(-int(np.prod(shape)) * dtype.itemsize // _ALIGN) * _ALIGN
        memory, self.held_bytes = _pages(end)
        self.meter.add(self.held_bytes)
        kv, self.k_int, positions, margins = (
            memory[start : start + int(np.prod(shape)) * dtype.itemsize].view(dtype).view(shape)
            for start, (shape, dtype) in zip(starts, shapes, strict=True)
        )
        self.k, self.v = kv.transpose(1, 2)
        self._kv, self._k_int = bits(kv), self.k_int.numpy()
        self.positions: npt.NDArray[np.int32] = positions.numpy()
        self.margins: npt.NDArray[np.float32] = margins.numpy()
        self.capacity = capacity


def bits(x: Tensor) -> Bits:
    """x as a numpy array over the same memory; 16-bit floats as int16, which numpy can move."""
    return (x.view(torch.int16) if x.dtype.itemsize == 2 else x).numpy()


def roomy(rows: Any) -> Any:
    """A capacity for ``rows`` with an eighth to spare: resizing then costs O(1) rows a step.

    rows is an int or an array of ints, and so is what comes back.
    """
    room = rows + np.maximum(_SMALLEST, rows // 8)
    return np.where(rows > 0, room, 0) if isinstance(rows, np.ndarray) else int(room) * (rows > 0)


def _pages(size: int) -> tuple[Tensor, int]:
    """uint8 tensor over an anonymous mapping of its own, and the bytes of its pages."""
    if not size:
        return torch.empty(0, dtype=torch.uint8), 0
    held = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    options: dict[str, Any] = {}
    if hasattr(mmap, "MAP_PRIVATE"):
        options["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANON
    return torch.frombuffer(mmap.mmap(-1, held, **options), dtype=torch.uint8), held

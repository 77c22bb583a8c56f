"""Weights in blocks of 32: 8 bits (llama.cpp's Q8_0) or 4 bits (Q4_1), laid out for the products.

    Q8  w = d q          q int8, d a half: the block's largest magnitude over 127
    Q4  w = d q + m      q in 0..15, m the smallest weight, d the range over 15, both halves

A model that was dequantised from a GGUF of the same format gets its very blocks back: their ends
are in them, so d and m come out the same (`widen` of `quantise` is then the identity). Blocks of
eight rows lie together as `weights.h` says. Knows nothing of models.
Source of the formats: ggml (quantize_row_q8_0_ref, quantize_row_q4_1_ref).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    *("BLOCK", "Blocks", "Packed", "PackedLow"),
    *("pack", "pack_low", "quantise", "shortest", "widen"),
]

BLOCK = 32
_ROWS = 8
_ALIGN = 64

Bits = Literal[4, 8]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A quantised matrix W [N, K]. Columns past K are padding, which every input meets with 0.

    bits   8 or 4
    q      [N, K/32 rounded up, 32] int8 (8 bits) or uint8 in 0..15 (4 bits)
    d      [N, K/32 rounded up] float16, step of a block
    m      [N, K/32 rounded up] float16, what q = 0 means; None for 8 bits
    columns  K
    """

    bits: Bits
    q: npt.NDArray[np.int8] | npt.NDArray[np.uint8]
    d: npt.NDArray[np.float16]
    m: npt.NDArray[np.float16] | None
    columns: int


@dataclass(frozen=True, eq=False)
class Packed:
    """`Blocks` as bytes for the products: ``group_bytes`` for each eight rows."""

    bits: Bits
    data: Tensor  # [groups * group_bytes] uint8
    group_bytes: int
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class PackedLow:
    """A change B A of a matrix [N, K], beside it: both of one type, as `shortest` says."""

    a: Tensor  # [rank, K]
    b: Tensor  # [rank, N rounded up to 8]: B transposed


def quantise(weight: Tensor, bits: Bits) -> Blocks:
    """W [N, K] float32 -> its nearest blocks."""
    rows, columns = weight.shape
    count = -(-columns // BLOCK)
    # Copies of the last column widen no block's range.
    padded = torch.nn.functional.pad(weight[None], (0, count * BLOCK - columns), mode="replicate")
    w = padded[0].numpy().reshape(rows, count, BLOCK).astype(np.float32)
    if bits == 8:
        step = np.abs(w).max(axis=2) / np.float32(127)
        q8 = np.rint(w * _inverse(step)[:, :, None]).astype(np.int8)
        return Blocks(8, q8, step.astype(np.float16), None, columns)
    low, high = w.min(axis=2), w.max(axis=2)
    step = (high - low) / np.float32(15)
    q4 = np.rint((w - low[:, :, None]) * _inverse(step)[:, :, None]).clip(0, 15).astype(np.uint8)
    return Blocks(4, q4, step.astype(np.float16), low.astype(np.float16), columns)


def widen(blocks: Blocks) -> Tensor:
    """The weights that the blocks stand for, [N, K] float32."""
    w = blocks.q.astype(np.float32) * blocks.d.astype(np.float32)[:, :, None]
    if blocks.m is not None:
        w += blocks.m.astype(np.float32)[:, :, None]
    return torch.from_numpy(w.reshape(len(w), -1)[:, : blocks.columns].copy())


def pack(blocks: Blocks) -> Packed:
    """Lay the blocks out as `products.h` reads them: of eight rows each block side by side, with
    its d and m."""
    rows, count, _ = blocks.q.shape
    groups = -(-rows // _ROWS)
    spare = groups * _ROWS - rows

    def grouped(x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        full = np.concatenate((x, np.zeros((spare, *x.shape[1:]), dtype=x.dtype)))
        return full.reshape(groups, _ROWS, *x.shape[1:])

    q = grouped(blocks.q)
    if blocks.bits == 8:
        # [group, row, block, pair, 2] -> pairs of columns of the eight rows side by side
        body = q.reshape(groups, _ROWS, count, BLOCK // 2, 2).transpose(0, 2, 3, 1, 4)
    else:
        # [group, row, block, vector, nibble, 2]: column 8 v + 2 n + s is nibble n of a word
        parts = q.reshape(groups, _ROWS, count, 4, 4, 2).astype(np.uint16)
        words = sum(parts[:, :, :, :, n] << (4 * n) for n in range(4))
        body = np.asarray(words, dtype=np.uint16).transpose(0, 2, 3, 1, 4)
    scales = [blocks.d] if blocks.m is None else [blocks.d, blocks.m]
    pieces = [body, *(grouped(s).transpose(0, 2, 1) for s in scales)]
    flat = np.concatenate(
        [np.ascontiguousarray(p).view(np.uint8).reshape(groups, count, -1) for p in pieces], axis=2
    ).reshape(groups, -1)
    data = torch.empty(flat.size + _ALIGN, dtype=torch.uint8)
    start = -data.data_ptr() % _ALIGN
    data = data[start : start + flat.size]
    data.numpy()[:] = flat.reshape(-1)
    return Packed(blocks.bits, data, flat.shape[1], rows, blocks.columns)


def _inverse(step: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.divide(1, step, out=np.zeros_like(step), where=step > 0)


def pack_low(a: Tensor, b: Tensor) -> PackedLow:
    """A [rank, K] and B [N, rank] float32 as the products want them."""
    turned = torch.nn.functional.pad(b.detach().T, (0, -len(b) % _ROWS)).contiguous()
    a = a.detach().contiguous()
    narrow = [shortest(each) for each in (a, turned)]
    if {each.dtype for each in narrow} == {torch.bfloat16}:
        a, turned = narrow
    return PackedLow(a, turned)


def shortest(weight: Tensor) -> Tensor:
    """In 16 bits where that is exactly what the checkpoint held, and half to read."""
    narrow = weight.to(torch.bfloat16)
    return narrow if torch.equal(narrow.float(), weight) else weight

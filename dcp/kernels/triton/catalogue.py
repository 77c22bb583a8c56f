"""Every launch that we make, by part: the shapes, types and widths whose machine code is checked.

Runs the operations on CPU tensors of the right shapes; `compile.caught` keeps them off any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from dcp.kernels import triton as ops
from dcp.kernels.gates import Gates
from dcp.kernels.training.triton import hard_attention, soft_attention

__all__ = ["CATALOGUE"]

HALF, FULL = torch.bfloat16, torch.float32
# name: query heads, key heads, head width, interaction width, dtype
SHAPES = {
    "gpt2-medium": (16, 16, 64, 64, HALF),
    "llama-1b": (32, 8, 64, 64, HALF),
    "wide": (8, 1, 256, 64, HALF),
    "odd": (6, 2, 80, 40, torch.float16),
    "llama-8b": (32, 8, 128, 128, HALF),
    "broad-full": (4, 2, 128, 64, FULL),
    "mini": (4, 4, 64, 64, FULL),
    "wide-full": (8, 1, 256, 64, FULL),
}


def _prompt(heads: int, kv_heads: int, width: int, r: int, dtype: torch.dtype) -> None:
    chunk, keys = 512, 4096
    q = torch.empty(chunk, heads, width, dtype=dtype)
    k = torch.empty(keys, kv_heads, width, dtype=dtype)
    q_pos, k_pos = torch.empty(chunk, dtype=torch.int32), torch.empty(keys, dtype=torch.int32)
    q_int, k_int = torch.empty(chunk, r), torch.empty(keys, r)
    death, _ = ops.death_times(q_int, k_int, q_pos, k_pos, 0.5)
    ops.extend_attention(q, k, k, q_pos, k_pos, death)


def _single(heads: int, kv_heads: int, width: int, r: int, dtype: torch.dtype) -> None:
    keys = 4096
    k = torch.empty(keys, kv_heads, width, dtype=dtype)
    ops.decode_attention(torch.empty(heads, width, dtype=dtype), k, k)
    ops.gate_scores(torch.empty(1, r), torch.empty(keys, r), 0.5)


def _pool(
    heads: int, kv_heads: int, width: int, r: int, dtype: torch.dtype, most: int = 4096
) -> None:
    """A step of 16 sequences and a chunk of 512 of one, in pages; gates and orders or not."""
    pool = ops.make_pool(
        dtype, torch.device("cpu"), layers=2, sequences=16, kv_heads=kv_heads, head_dim=width,
        interaction=r, most=most, pages=64, page=32,
    )  # fmt: skip
    rows = torch.empty(16, dtype=torch.int32)
    steps = torch.empty(512, dtype=torch.int32)
    q = torch.empty(512, heads, width, dtype=dtype)
    k, gates = torch.empty(512, kv_heads, width, dtype=dtype), torch.empty(512, r)
    orders = torch.empty(2, 16, most, dtype=torch.int32)
    for gate in (gates, None):
        short = None if gate is None else gate[:16]
        for order in (orders, None):
            pool.decode(0, rows, rows, q[:16], k[:16], k[:16], short, short, 0.5, order)
        pool.extend(0, rows[:1], 0, 0, steps, q, k, k, gate, gate, 0.5, None)
    pool.release(0)


def _training(heads: int, kv_heads: int, width: int, r: int, dtype: torch.dtype) -> None:
    """Steps of soft gates, near alpha 1 and far from it, and of hard gates."""
    q = torch.empty(2, heads, 128, width, dtype=dtype, requires_grad=True)
    q_int = torch.empty(2, 128, r, requires_grad=True)
    gates = Gates(q_int, q_int, torch.empty(1))
    pairs, price = torch.empty(2, 128, 128), torch.ones(2, 128)
    for out, kept in (
        soft_attention(q, q, q, gates, pairs, 1.0001),
        soft_attention(q, q, q, gates, pairs, 4.0),
        hard_attention(q, q, q, gates, price),
    ):
        (out.float().sum() + kept.sum()).backward()


CATALOGUE: Mapping[str, Callable[[], None]] = {
    f"{job.__name__.strip('_')}:{name}": partial(job, *shape)
    for job in (_prompt, _single, _pool, _training)
    for name, shape in SHAPES.items()
    if (job, name) != (_training, "wide-full")
} | {"pool:long": partial(_pool, *SHAPES["gpt2-medium"], most=16384)}

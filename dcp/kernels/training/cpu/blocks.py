"""How attention on a CPU is divided: blocks of queries, a few windows at a time, no later keys."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dcp.kernels.training.common import BLOCK

__all__ = ["blocks", "causal_mask", "groups"]

_HEADS = 16  # heads of a few windows at once: their scores stay in cache


def blocks(length: int) -> Iterator[tuple[slice, int]]:
    """Rows of queries, and how many keys they can reach."""
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, length)
        yield slice(first, last), last


def groups(batch: int, heads: int) -> Iterator[slice]:
    """Windows that are worked on at once."""
    size = max(1, _HEADS // heads)
    for first in range(0, batch, size):
        yield slice(first, min(first + size, batch))


def causal_mask(rows: slice, like: Tensor) -> Tensor:
    """[R, R] for R queries on their own tokens: 0 on and below the diagonal, -inf above."""
    size = like.shape[-1] - rows.start
    return torch.full((size, size), -torch.inf, dtype=like.dtype, device=like.device).triu(1)

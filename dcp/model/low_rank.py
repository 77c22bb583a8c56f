"""Low-rank changes of frozen matrices: W + B A, learned beside the gates and kept as A and B.

Method: Hu et al., arXiv 2106.09685, equation 3, with the scale in B. While it is trained the change
stays apart from W, and so beside weights of 4 bits, which are too coarse for it; other weights that
are loaded for use have it inside. Knows nothing of files or training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcp.errors import ModelError
from dcp.model.linear import Linear

__all__ = ["LowRank", "add_low_rank", "is_low_rank", "low_rank_names", "merge"]

_MATRICES = ("qkv", "out", "mlp.up", "mlp.down")


class LowRank(nn.Module):
    """x [..., K] -> B A x [..., N], of A [rank, K] and B [N, rank]."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.a), self.b)


def add_low_rank(transformer: Any, rank: int, seed: int = 0) -> None:
    """Give every matrix of the blocks a change of ``rank`` that is nothing yet: A drawn with the
    spread of its input's width, B zero. One that is there stays, whatever its rank."""
    generator = torch.Generator().manual_seed(seed)
    for _, linear in _linears(transformer):
        if linear.low is None:
            a = torch.randn(rank, linear.in_features, generator=generator)
            b = torch.zeros(linear.out_features, rank)
            linear.low = LowRank(a * linear.in_features**-0.5, b)


def low_rank_names(layers: int) -> Iterator[tuple[str, str]]:
    """(our parameter, name in dcp.safetensors) of every change that may be there."""
    for layer in range(layers):
        for matrix in _MATRICES:
            for part in ("a", "b"):
                yield f"blocks.{layer}.{matrix}.low.{part}", f"layers.{layer}.{matrix}.low_{part}"


def is_low_rank(name: str) -> bool:
    """Whether a tensor of that name, ours or in dcp.safetensors, is part of a low-rank change."""
    return ".low." in name or name.endswith((".low_a", ".low_b"))


def merge(transformer: Any, changes: Mapping[str, Tensor], *, apart: bool = False) -> None:
    """Add ``changes`` (names in dcp.safetensors) to the matrices; ``apart`` keeps them beside.

    Raises ModelError for a name that no matrix has, half a pair, or a shape that does not fit.
    """
    left = set(changes)
    for name, linear in _linears(transformer):
        a, b = (changes.get(f"{name}.low_{part}") for part in "ab")
        if a is None and b is None:
            continue
        left -= {f"{name}.low_a", f"{name}.low_b"}
        rank = 0 if a is None else len(a)
        if (
            a is None
            or b is None
            or tuple(a.shape) != (rank, linear.in_features)
            or tuple(b.shape) != (linear.out_features, rank)
        ):
            raise ModelError(f"the low-rank change of {name} does not fit its matrix")
        if apart:
            linear.low = LowRank(a, b)
        else:
            whole = linear.weight.float() + b @ a
            linear.weight = nn.Parameter(whole.to(linear.weight.dtype), requires_grad=False)
    if left:
        raise ModelError(f"{sorted(left)[0]!r} changes a matrix that the model has not")


def _linears(transformer: Any) -> Iterator[tuple[str, Linear]]:
    for layer, block in enumerate(transformer.blocks):
        for matrix in _MATRICES:
            linear = block.get_submodule(matrix)
            assert isinstance(linear, Linear)
            yield f"layers.{layer}.{matrix}", linear

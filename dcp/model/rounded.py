"""Keys and values rounded on their way to attention, as a cache of fewer bits would keep them.

What a whole masked forward needs to say what stepping with such a cache says. Knows no cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dcp.kernels.gates import Gates
from dcp.model.attend import Attend
from dcp.model.kv_rows import rounded

__all__ = ["RoundedAttend"]


class RoundedAttend:
    """``inner`` over keys and values as rows of ``dtype`` keep them (`dcp.model.kv_rows`)."""

    def __init__(self, inner: Attend, dtype: torch.dtype) -> None:
        self._inner, self._dtype = inner, dtype

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        """q [B, T, H, d], k and v [B, T, H_kv, d] -> [B, T, H, d]."""
        return self._inner(layer, q, rounded(k, self._dtype), rounded(v, self._dtype), gates)

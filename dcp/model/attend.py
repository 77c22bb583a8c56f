"""What the model loop and attention say to one another.

The one protocol of every way to attend: training, whole windows under a mask, decoding with a
cache. Knows no model, no cache and no kernel.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dcp.kernels.gates import Gates

__all__ = ["Attend"]


class Attend(Protocol):
    """What a layer asks of attention. Rotary positions are already applied to q and k."""

    def __call__(
        self,
        layer: int,
        q: Tensor,  # [B, T, H, d]
        k: Tensor,  # [B, T, H_kv, d]
        v: Tensor,  # [B, T, H_kv, d]
        gates: Gates | None,  # None for a model without gates, or where they are not asked
    ) -> Tensor:  # [B, T, H, d]
        ...

"""What the model loop and attention say to one another: `Attend`, and the `Gates` of a layer.

The one protocol of every way to attend: training, whole windows under a mask, decoding with a
cache. Knows no model, no cache and no kernel.

Method: Anagnostidis et al., arXiv 2305.15805, section 3.1, equation 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Attend", "Gates"]


@dataclass(frozen=True, eq=False)
class Gates:
    """The gate projections of one layer; they are never apart.

    q_int, k_int  [B, T, r] float32 — interaction queries and keys
    beta          [1] float32 — the layer's bias; below 0 gates are closed unless a query opens them
    """

    q_int: Tensor
    k_int: Tensor
    beta: Tensor

    def logits(self, shift: float = 0.0) -> Tensor:
        """z [B, T, T] float32 = q_int k_intᵀ / sqrt(r) + (beta + shift): row = query, column = key.

        Only entries below the diagonal mean anything.
        """
        products = self.q_int @ self.k_int.transpose(1, 2)
        return products / math.sqrt(self.q_int.shape[-1]) + (self.beta + shift)


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

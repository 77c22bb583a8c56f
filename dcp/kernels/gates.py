"""The gates of one layer, as tensors: what models make and attention reads.

Knows no model, no cache and no implementation.

Method: Anagnostidis et al., arXiv 2305.15805, section 3.1, equation 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Gates"]


@dataclass(frozen=True, eq=False)
class Gates:
    """The gate projections of one layer; they are never apart.

    q_int, k_int  [B, T, r] float32 — interaction queries and keys
    beta          [1] float32 — the layer's bias; below 0 gates are closed unless a query opens
                  them. [B] where each window has a gate shift of its own
    """

    q_int: Tensor
    k_int: Tensor
    beta: Tensor

    def logits(self, shift: float = 0.0) -> Tensor:
        """z [B, T, T] float32 = q_int k_intᵀ / sqrt(r) + (beta + shift): row = query, column = key.

        Only entries below the diagonal mean anything.
        """
        products = self.q_int @ self.k_int.transpose(1, 2)
        return products / math.sqrt(self.q_int.shape[-1]) + (self.beta + shift)[:, None, None]

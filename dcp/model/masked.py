"""The plain masked forward: every query of whole windows at once, the hard gate as a mask.

The fastest way to score text, and the equality that decoding with a cache must meet. It plugs into
`dcp.model.transformer` as its ``attend``. Knows nothing of caches, sampling or text.

Method: Anagnostidis et al., arXiv 2305.15805, equations 4-6 with p = [z > 0].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.kernels.gates import Gates

__all__ = ["MaskedAttend", "first_closed"]


class MaskedAttend:
    """Causal attention in which token j is visible at step t iff j <= t < death[j].

    gate_shift is added to every layer's β. ``deaths`` [L, T] or [L, B, T] int32, if given, are
    obeyed in place of the gates; ``prune=False`` keeps everything. After a forward ``deaths``
    holds what was used: [L, B, T] int32.
    """

    def __init__(
        self, gate_shift: float = 0.0, deaths: Tensor | None = None, prune: bool = True
    ) -> None:
        self._shift, self._prune, self._orders = gate_shift, prune, deaths
        self._used: list[Tensor] = []

    @property
    def deaths(self) -> Tensor:
        """[L, B, T] int32: the deaths of the last forward."""
        return torch.stack(self._used)

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        if layer == 0:
            self._used = []
        batch, length = q.shape[:2]
        if self._orders is not None:
            death = self._orders[layer].expand(batch, length)
        elif self._prune and gates is not None:
            death = first_closed(gates.logits(self._shift))
        else:
            death = torch.full((batch, length), ALIVE, dtype=torch.int32, device=q.device)
        self._used.append(death)
        steps = torch.arange(length, device=q.device)[:, None]
        visible = (steps >= steps.T) & (steps < death[:, None, :])
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=visible[:, None], enable_gqa=grouped
        )
        return out.transpose(1, 2)


def first_closed(z: Tensor) -> Tensor:
    """z [B, T, T] -> death [B, T] int32: the first t > j with z[t, j] <= 0, or ALIVE."""
    closed = (z <= 0).tril(-1)
    death = closed.to(torch.uint8).argmax(dim=1).to(torch.int32)
    return torch.where(closed.any(dim=1), death, ALIVE)

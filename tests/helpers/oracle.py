"""The plain forward that decoding must equal: explicit [T, T] masks, no cache, no chunks, no death.

p = (z > 0); I[t, j] = product of p[n, j] for n in j+1 .. t; I[t, t] = 1; attend where I is 1.
"""

import math

import torch
from torch import Tensor


class MaskedAttention:
    """An ``attend`` over one whole sequence; leaves z and I of every layer behind.

    ``visible`` [L, T, T] bool replaces the gates' own decisions.
    """

    def __init__(
        self, *, prune: bool = True, shift: float = 0.0, visible: Tensor | None = None
    ) -> None:
        self.prune, self.shift, self.visible = prune, shift, visible
        self.logits: list[Tensor] = []
        self.interactions: list[Tensor] = []

    def __call__(self, layer, q, k, v, gates):
        (q, k, v), T = (part[0].transpose(0, 1) for part in (q, k, v)), q.shape[1]
        causal = torch.ones(T, T, dtype=torch.bool).tril()
        interaction = causal
        if gates is not None:
            scale = math.sqrt(gates.q_int.shape[2])
            z = gates.q_int[0] @ gates.k_int[0].T / scale + gates.beta + self.shift
            self.logits.append(z)
            if self.prune:
                interaction = cumulative(z > 0)
        if self.visible is not None:
            interaction = self.visible[layer]
        self.interactions.append(interaction)
        group = len(q) // len(k)
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[2])
        scores = scores.masked_fill(~interaction, -math.inf)
        return (scores.softmax(-1) @ v).transpose(0, 1)[None]


def cumulative(keep: Tensor) -> Tensor:
    """keep [T, T] for j < t -> I [T, T]: the running product down each column, diagonal 1."""
    T = len(keep)
    p = torch.where(torch.ones(T, T, dtype=torch.bool).tril(-1), keep, True)
    return p.int().cumprod(0).bool() & torch.ones(T, T, dtype=torch.bool).tril()


def deaths(interaction: Tensor) -> Tensor:
    """The step at which each column of I turns to 0, or 2**31 - 1."""
    T = len(interaction)
    out = torch.full((T,), 2**31 - 1)
    for j in range(T):
        gone = [t for t in range(j + 1, T) if not interaction[t, j]]
        if gone:
            out[j] = gone[0]
    return out

"""Weights of a base moved along with its gates: norms, and every matrix by a low rank."""

from __future__ import annotations

import torch

from dcp.model.low_rank import add_low_rank
from dcp.model.transformer import Transformer


def tune_along(transformer: Transformer, norms: bool = True) -> None:
    """Move a model's low ranks, kept apart, and its ``norms`` by 0.1 at random."""
    add_low_rank(transformer, rank=2, seed=1)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in transformer.named_parameters():
            if name.endswith(".low.b") or (norms and "norm" in name):
                p += 0.1 * torch.randn(p.shape, generator=generator)

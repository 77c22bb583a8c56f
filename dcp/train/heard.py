"""What a model's gates read of given text, layer by layer, and least squares on it.

For changes to gates in closed form (`dcp.train.first_token`, `dcp.train.early_steps`). Knows no
files and no trainer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from dcp.model.masked import MaskedAttend
from dcp.model.transformer import Transformer

__all__ = ["heard", "ridge"]


@torch.inference_mode()
def heard(
    transformer: Transformer, readings: Iterable[tuple[Tensor, MaskedAttend]]
) -> list[list[Tensor]]:
    """For each layer, of each reading (ids [B, T] int64, how to attend), what the layer's gate
    projections read, after its norm: [B, T, d]."""
    found: list[list[Tensor]] = [[] for _ in transformer.blocks]

    def note(layer: int, module: nn.Module, read: object, given: Tensor) -> None:
        found[layer].append(given)

    hooks = [
        transformer.get_submodule(f"blocks.{layer}.attn_norm").register_forward_hook(
            partial(note, layer)
        )
        for layer in range(len(found))
    ]
    try:
        for ids, attend in readings:
            positions = torch.arange(ids.shape[1]).expand_as(ids)
            transformer(ids, positions, attend, headless=True)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def ridge(rows: Tensor, wanted: Tensor, least: float) -> Tensor:
    """The x [d, n] for which rows [N, d] · x is nearest to wanted [N, n], with a penalty of
    ``least`` times the mean diagonal of rowsᵀ rows on its square."""
    square = rows.T @ rows
    square += least * square.diagonal().mean() * torch.eye(len(square))
    found: Tensor = torch.linalg.solve(square, rows.T @ wanted)
    return found

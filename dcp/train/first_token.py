"""Gates that hold on to the first token, in closed form: a rank-one change to a layer's gate keys.

A pretrained decoder leans on its first token whatever that says: an attention sink (Xiao et al.,
arXiv 2309.17453). Trained gates keep it by a few units of the gate logit, so that the lower end of
the sparsity dial drops it, and with it the model. What the layers read of the first token points
its own way, so one direction of W_k tells it from all others, and one of the interaction space is
common to all queries:

    W_k' = W_k + u wᵀ      x · w ≈ 1 for first tokens x, 0 for others
                           W_q x · u / sqrt(r) ≈ margin for every query x

Both by ridge regression on what the layers read of training text. Knows no files and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dcp.model.masked import MaskedAttend
from dcp.model.transformer import Transformer
from dcp.train.heard import heard, ridge

__all__ = ["hold_first_token", "opened"]

# How often a first token counts for each time that another does; ridges relative to the mean
# variance.
_FIRST_WEIGHS = 3.0
_KEY_RIDGE, _QUERY_RIDGE = 1e-6, 1e-3
_BATCH = 8


def opened(
    first: Tensor, others: Tensor, q_weight: Tensor, k_weight: Tensor, margin: float
) -> Tensor:
    """W_k' [r, d]: gates as before, but that ``margin`` more speaks for a first token.

    first [F, d], others [N, d] float32   what the layer's gates read, after its norm
    q_weight, k_weight [r, d] float32     W_q, W_k
    """
    rows = torch.cat([first, others])
    weights = torch.ones(len(rows), 1)
    weights[: len(first)] = _FIRST_WEIGHS
    is_first = torch.zeros(len(rows), 1)
    is_first[: len(first)] = 1.0
    w = ridge(rows * weights.sqrt(), is_first * weights.sqrt(), _KEY_RIDGE)
    queries = others @ q_weight.T
    wanted = torch.full((len(queries), 1), margin * math.sqrt(len(q_weight)))
    u = ridge(queries, wanted, _QUERY_RIDGE)
    return k_weight + u @ w.T


@torch.inference_mode()
def hold_first_token(
    transformer: Transformer, windows: Sequence[Tensor], margin: float, layers: range
) -> None:
    """Change the gate keys of ``layers`` in place, by what they read of ``windows`` ([T] int64).

    Windows of one length are read together, nothing dropped.
    """
    alike = [
        torch.stack([window for window in windows if len(window) == length])
        for length in sorted({len(window) for window in windows})
    ]
    batches = (ids for same in alike for ids in torch.split(same, _BATCH))
    read = heard(transformer, ((ids, MaskedAttend(prune=False)) for ids in batches))
    for layer in layers:
        first = torch.cat([given[:, 0] for given in read[layer]])
        others = torch.cat([given[:, 1:].flatten(0, 1) for given in read[layer]])
        q_weight, k_weight = (
            transformer.get_parameter(f"blocks.{layer}.{name}.weight")
            for name in ("q_int", "k_int")
        )
        k_weight.copy_(opened(first, others, q_weight, k_weight, margin))

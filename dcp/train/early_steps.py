"""Gates that drop more early in a text and less late, in closed form: a rank-one change of queries.

A share of few tokens is a few tokens: gates whose price counts pairs hold nearly all that a text's
first hundred steps could drop. A gate shift that rises with the logarithm of the step,

    z'[t, j] = z[t, j] + slope · ln(t / context)

asks the same of early steps as of late ones. No gate has such a term, but the hidden states of a
pretrained decoder tell the step, and its gate keys have a direction in common:

    W_q' = W_q + slope · sqrt(r) · p wᵀ      x_t · w ≈ ln(t / context)
                                             W_k x_j · p ≈ 1, of the first token 0

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

__all__ = ["lean_on_early_steps", "leaning"]

_LEAST = 1e-3  # ridge, relative to the mean variance
_FIRST_WEIGHS = 100.0  # how often a first token counts for each time that another does
_EARLIEST = -5.0  # ln(t / context) below which all steps are alike


def leaning(read: Tensor, q_weight: Tensor, k_weight: Tensor, slope: float, context: int) -> Tensor:
    """W_q' [r, d]: gates as before, but that ``slope`` · ln(t / context) is added at step t.

    read [N, T, d] float32             what the layer's gates read of N windows, after its norm
    q_weight, k_weight [r, d] float32  W_q, W_k
    """
    later, first = read[:, 1:], read[:, 0]
    steps = torch.arange(1, read.shape[1], dtype=torch.float32)
    logs = (steps / context).log().clamp(min=_EARLIEST).expand(later.shape[:2])
    w = ridge(later.flatten(0, 1), logs.reshape(-1, 1), _LEAST)
    keys, sinks = later.flatten(0, 1) @ k_weight.T, first @ k_weight.T
    wanted = torch.cat((torch.ones(len(keys), 1), torch.zeros(len(sinks), 1)))
    p = ridge(torch.cat((keys, sinks * math.sqrt(_FIRST_WEIGHS))), wanted, _LEAST)
    return q_weight + slope * math.sqrt(len(q_weight)) * p @ w.T


@torch.inference_mode()
def lean_on_early_steps(
    transformer: Transformer,
    windows: Sequence[Tensor],
    slope: float,
    context: int,
    shifts: Sequence[float],
) -> None:
    """Change every layer's gate queries in place, by what they read of ``windows`` ([T] int64, all
    of one length), each pruned at one of ``shifts`` in turn."""
    readings = (
        (window[None], MaskedAttend(shifts[n % len(shifts)])) for n, window in enumerate(windows)
    )
    for layer, read in enumerate(heard(transformer, readings)):
        q_weight, k_weight = (
            transformer.get_parameter(f"blocks.{layer}.{name}.weight")
            for name in ("q_int", "k_int")
        )
        q_weight.copy_(leaning(torch.cat(read), q_weight, k_weight, slope, context))

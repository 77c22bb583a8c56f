"""Rotary positions: the tables of a model, and turning queries and keys by them.

Knows no attention. Source: Su et al., RoFormer, arXiv 2104.09864; Llama 3's stretching of long
wavelengths as ``transformers`` does it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dcp.model.config import ModelConfig

__all__ = ["inverse_frequencies", "rotate", "tables"]


def tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """cos and sin [context, d/2] float32."""
    steps = torch.arange(config.context, dtype=torch.float32)
    angles = torch.outer(steps, inverse_frequencies(config))
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + d/2) of x [B, T, h, d]; cos and sin [B, T, 1, d/2]."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """theta^(-2i/d) [d/2] float32, stretched as ``rope_scaling`` says."""
    d = config.head_dim
    inverse = config.rope_theta ** -(torch.arange(0, d, 2, dtype=torch.float32) / d)
    scaling = config.rope_scaling
    if scaling is None:
        return inverse
    if scaling.kind == "linear":
        return inverse / scaling.factor
    # Llama 3: long wavelengths are divided by the factor, short ones kept, a ramp between them.
    wavelength = 2 * math.pi / inverse
    low = scaling.original_context / scaling.low_freq_factor
    high = scaling.original_context / scaling.high_freq_factor
    ramp = (scaling.original_context / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    blended = (1 - ramp) * inverse / scaling.factor + ramp * inverse
    stretched = torch.where(wavelength > low, inverse / scaling.factor, inverse)
    return torch.where((wavelength <= low) & (wavelength >= high), blended, stretched)

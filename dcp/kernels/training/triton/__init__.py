"""Attention of training in Triton, soft and hard gates, on the kernels of `dcp.kernels.triton`."""

from __future__ import annotations

from dcp.kernels.training.triton.hard import hard_attention
from dcp.kernels.training.triton.launch import supports
from dcp.kernels.training.triton.soft import soft_attention

__all__ = ["hard_attention", "soft_attention", "supports"]

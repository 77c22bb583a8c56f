"""Attention in training with its gradient written out, in blocks that fit a CPU's caches."""

from dcp.kernels.training.cpu.causal import causal_attention
from dcp.kernels.training.cpu.hard import hard_attention
from dcp.kernels.training.cpu.soft import soft_attention

__all__ = ["causal_attention", "hard_attention", "soft_attention"]

"""What one token takes in one layer's cache, in bytes: written once, counted everywhere from here.

An entry is a key and a value; beside it lie a gate key, where there are gates, and two tables.
Knows no model and no layout.
"""

from __future__ import annotations

import torch

__all__ = ["TABLE_BYTES", "entry_bytes", "gate_key_bytes", "kv_width", "row_bytes"]

TABLE_BYTES = 4 + 4
"""The token's position (int32) and its smallest gate logit so far (float32)."""


def kv_width(head_dim: int, dtype: torch.dtype) -> int:
    """Numbers of ``dtype`` that one head's key takes: d, and in int8 its step, a half float."""
    return head_dim + 2 if dtype == torch.int8 else head_dim


def entry_bytes(kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of one token's key and value in one layer, kept as ``dtype``: 2 H_kv d times its
    width, and for int8 the steps."""
    return 2 * kv_heads * kv_width(head_dim, dtype) * dtype.itemsize


def gate_key_bytes(interaction: int) -> int:
    """Bytes of one token's gate key in one layer: r float32, none without gates (r = 0)."""
    return 4 * interaction


def row_bytes(kv_heads: int, head_dim: int, dtype: torch.dtype, interaction: int) -> int:
    """Bytes of all that a cache keeps for one token in one layer."""
    return entry_bytes(kv_heads, head_dim, dtype) + gate_key_bytes(interaction) + TABLE_BYTES

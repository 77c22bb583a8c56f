"""The kernels on CPU tensors, fast: blocks of queries, fused attention, no copies of K or V.

Says the same as `reference` (see there for the equations) up to the order of float sums.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.deaths import ALIVE

__all__ = ["death_times", "decode_attention", "extend_attention", "gate_scores"]

_QUERY_BLOCK = 128


def gate_scores(q_int: Tensor, k_int: Tensor, beta: float) -> Tensor:
    """q_int [C, r] and k_int [N, r] float32 -> gate logits z [C, N] float32."""
    return _logits(torch.mm(q_int, k_int.t()), q_int.shape[1], beta)


def _logits(products: Tensor, interaction: int, beta: float) -> Tensor:
    """Gate logits of products q_int . k_int, in their place."""
    # By numpy: for one query this is all overhead, and torch has more of it.
    values = products.numpy()
    values *= interaction**-0.5
    values += beta
    return products


def death_times(
    q_int: Tensor, k_int: Tensor, q_pos: Tensor, k_pos: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """death [N] int32 and margin [N] float32 of keys k_pos [N] under rising queries q_pos [C].

    Memory is O(N): queries go in blocks and a block only looks at keys still alive before it. A
    logit rises with its product in floats too, so the least of a key's products tells its margin
    and whether it dies; single logits are looked at only of keys that die or join in this block.
    """
    death = torch.full((len(k_pos),), ALIVE, dtype=torch.int32)
    margin = torch.full((len(k_pos),), math.nan)
    alive = torch.arange(len(k_pos))
    for start in range(0, len(q_pos), _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        steps = q_pos[block].to(torch.int32)
        keys, positions = (k_int, k_pos) if start == 0 else (k_int[alive], k_pos[alive])
        products = torch.mm(q_int[block], keys.t())
        lowest = _logits(products.amin(dim=0), q_int.shape[1], beta)
        # Written so that a key whose products are not numbers is looked at too.
        close = (~((lowest > 0) & (positions < steps[0]))).nonzero()[:, 0]
        z = _logits(products[:, close], q_int.shape[1], beta)
        z.masked_fill_(positions[close] >= steps[:, None], math.inf)
        drops = z <= 0
        died = drops.any(dim=0)
        first = drops.to(torch.uint8).argmax(dim=0)
        lowest[close] = torch.where(died, z.gather(0, first[None])[0], z.amin(dim=0))
        lowest.masked_fill_(lowest == math.inf, math.nan)
        margin[alive] = torch.fmin(margin[alive], lowest)
        gone = close[died]
        death[alive[gone]] = steps[first[died]]
        kept = torch.ones(len(alive), dtype=torch.bool)
        kept[gone] = False
        alive = alive[kept]
    return death, margin


def extend_attention(
    q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor, death: Tensor
) -> Tensor:
    """q [C, H, d] attends to k, v [N, H_kv, d] where k_pos <= q_pos < death -> [C, H, d]."""
    visible = (k_pos <= q_pos[:, None]) & (q_pos[:, None] < death)
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        k.transpose(0, 1)[None],
        v.transpose(0, 1)[None],
        attn_mask=visible,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out[0].transpose(0, 1)


def decode_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One query q [H, d] over rows k, v [N, H_kv, d] that are all visible to it -> [H, d]."""
    heads, width = q.shape
    kv_heads = k.shape[1]
    # The heads that share a key head become the queries of one batch entry: K and V are not copied.
    grouped = q.reshape(1, kv_heads, heads // kv_heads, width)
    keys, values = k.transpose(0, 1)[None], v.transpose(0, 1)[None]
    return F.scaled_dot_product_attention(grouped, keys, values).reshape(heads, width)

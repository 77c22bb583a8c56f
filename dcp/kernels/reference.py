"""The kernels as the equations read. Slow, small, and what every other implementation must equal.

    z[t, j] = <q_int[t], k_int[j]> / sqrt(r) + beta          for j < t
    death[j] = min { t > j : z[t, j] <= 0 }, or ALIVE
    j is visible at t  iff  j <= t < death[j]
    out[t] = softmax over visible j of <q[t], k[j]> / sqrt(d), times v[j]

Knows nothing of caches, batches or files. Rows come in any order: positions say what they are.
Source: Anagnostidis et al., arXiv 2305.15805, equations 5-8, with the hard gate of section 3.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dcp.deaths import ALIVE

__all__ = ["death_times", "decode_attention", "extend_attention", "gate_scores"]


def gate_scores(q_int: Tensor, k_int: Tensor, beta: float) -> Tensor:
    """q_int [C, r] and k_int [N, r] float32 -> gate logits z [C, N] float32."""
    r = q_int.shape[1]
    return q_int @ k_int.T / math.sqrt(r) + beta


def death_times(
    q_int: Tensor, k_int: Tensor, q_pos: Tensor, k_pos: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """When the queries q_pos [C], in rising order, drop the keys k_pos [N].

    Returns death [N] int32 (the position of the first query after the key whose gate logit is not
    positive, else ALIVE) and margin [N] float32 (the logit at that query; for a survivor the
    smallest logit; nan where no query came after the key).
    """
    z = gate_scores(q_int, k_int, beta)
    death = torch.full((len(k_pos),), ALIVE, dtype=torch.int32)
    margin = torch.full((len(k_pos),), math.nan)
    for j, position in enumerate(k_pos.tolist()):
        for t, step in enumerate(q_pos.tolist()):
            if step <= position:
                continue
            margin[j] = torch.fmin(margin[j], z[t, j])
            if z[t, j] <= 0:
                death[j] = step
                break
    return death, margin


def extend_attention(
    q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor, death: Tensor
) -> Tensor:
    """q [C, H, d] attends to k, v [N, H_kv, d] where k_pos <= q_pos < death -> [C, H, d].

    Every query must see at least one key; its own is always visible to it.
    """
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    visible = (k_pos <= q_pos[:, None]) & (q_pos[:, None] < death)
    scores = torch.einsum("chd,nhd->hcn", q.float(), k.float()) / math.sqrt(q.shape[2])
    weights = scores.masked_fill(~visible, -math.inf).softmax(dim=-1)
    return torch.einsum("hcn,nhd->chd", weights, v.float()).to(q.dtype)


def decode_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One query q [H, d] over rows k, v [N, H_kv, d] that are all visible to it -> [H, d]."""
    group = q.shape[0] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.einsum("hd,nhd->hn", q.float(), k.float()) / math.sqrt(q.shape[1])
    return torch.einsum("hn,nhd->hd", scores.softmax(dim=-1), v.float()).to(q.dtype)

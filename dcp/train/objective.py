"""The two ways of attending in training, and the loss.

Loss (arXiv 2305.15805, equation 8, in our convention):
L_LM + γ · mean over layers and over pairs j < t of I[t, j].
Plugs into `dcp.model.transformer` as its ``attend``; knows nothing of data or optimisers.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.train.alpha_sigmoid import attention_bias, log_interaction
from dcp.train.gated_attention import gated_attention

__all__ = ["CausalAttend", "SoftGateAttend", "language_model_loss", "plain_gated_attention"]

GatedAttention = Callable[..., tuple[Tensor, Tensor]]


class CausalAttend:
    """Plain causal attention: pretraining and the dense twin."""

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor | None,
        k_int: Tensor | None,
        beta: Tensor | None,
    ) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        return out.transpose(1, 2)


class SoftGateAttend:
    """softmax(Q Kᵀ / sqrt(d) + log I) V with soft gates at one α.

    One object per forward pass: ``kept`` collects each layer's mean I over pairs j < t of real
    tokens. ``real`` [B, T] bool marks the tokens that are not padding (padding comes last).
    ``shift`` is added to every β.
    """

    def __init__(
        self,
        alpha: float,
        real: Tensor,
        attention: GatedAttention | None = None,
        shift: float = 0.0,
    ) -> None:
        # Window by window is for a CPU's caches; a GPU wants the whole batch in one launch.
        by_device = gated_attention if real.device.type == "cpu" else plain_gated_attention
        self.alpha, self.shift, self.attention = alpha, shift, attention or by_device
        self.kept: list[Tensor] = []
        length = real.shape[1]
        past = torch.ones(length, length, device=real.device).tril(-1)
        self._pairs = past * real[:, :, None]
        self._count = self._pairs.sum()

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        q_int: Tensor | None,
        k_int: Tensor | None,
        beta: Tensor | None,
    ) -> Tensor:
        assert q_int is not None
        assert k_int is not None
        assert beta is not None
        groups = q.shape[2] // k.shape[2]
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if groups > 1:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        with torch.autocast(q.device.type, enabled=False):
            out, kept = self.attention(
                q, k, v, q_int, k_int, beta + self.shift, self._pairs, self.alpha
            )
        self.kept.append(kept / self._count)
        return out.transpose(1, 2)


def attention_on(device: str) -> GatedAttention:
    """The fastest soft-gated attention of a device: window by window for a CPU's caches, fused in
    Triton on a GPU, and there the equations as they read for heads that no tile holds."""
    if device == "cpu":
        return gated_attention
    if device != "cuda" or importlib.util.find_spec("triton") is None:
        return plain_gated_attention
    return fused_where_it_fits


def fused_where_it_fits(q: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """The Triton kernels, or the plain form for heads wider than they take."""
    # Triton exists for Linux alone, and costs a second to import.
    fused = importlib.import_module("dcp.kernels.triton.training")
    fits = fused.supports(q.shape[-1], q.element_size())
    attention: GatedAttention = fused.gated_attention if fits else plain_gated_attention
    return attention(q, *others)


def plain_gated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_int: Tensor,
    k_int: Tensor,
    beta: Tensor,
    pairs: Tensor,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """`gated_attention` as the equations read, left to autograd: the oracle of the other two."""
    z = q_int @ k_int.transpose(1, 2) / math.sqrt(q_int.shape[-1]) + beta
    log_i = log_interaction(z, alpha)
    kept = (log_i.exp() * pairs).sum()
    scores = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    weights = torch.softmax(scores + attention_bias(log_i)[:, None], dim=-1)
    return weights.to(v.dtype) @ v, kept


def language_model_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-probability in nats; logits [B, T, V], targets [B, T] int64, -1 = none."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-1)

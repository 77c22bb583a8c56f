"""What a text's next tokens surprise a model, from its hidden states.

The vocabulary's matrix is by far the widest: logits of 8,192 tokens of SmolLM2 take 1.6 GB, and a
logarithm of them as much again. So some rows at a time meet it. Knows nothing of windows or tasks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.model.transformer import Transformer

__all__ = ["surprise"]

# Logits of this many entries at a time: 64 MB.
_LOGITS_AT_ONCE = 2**24


def surprise(transformer: Transformer, hidden: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """hidden [N, D] of the final norm, wanted [N] int64, what comes next -> its nats [N] float64,
    and whether another token was likelier [N] bool; on the CPU."""
    rows = max(1, _LOGITS_AT_ONCE // transformer.config.vocab)
    nats, missed = [], []
    for some, tokens in zip(torch.split(hidden, rows), torch.split(wanted, rows), strict=True):
        logits = transformer.head(some).float()
        nats.append(F.cross_entropy(logits, tokens, reduction="none").double().cpu())
        missed.append((logits.argmax(dim=-1) != tokens).cpu())
    return torch.cat(nats), torch.cat(missed)

"""The next token, the same on every implementation and in every batch, but for float ties.

The uniform of (seed, row, position) comes from a counter-based generator (Philox 4x32-10: Salmon et
al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), so it depends on nothing that was drawn
before. Tokens come by inverse CDF over the vocabulary in its own order, in float32. Matrix products
of another batch size round their last bit otherwise, so a uniform that falls within that of an edge
between two tokens can give the other one (1 of 32 rows was seen to). Knows nothing of models or
caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.model.config import Sampling

__all__ = ["draw", "log_probabilities", "sample", "uniform_table", "uniforms"]

_MASK = 2**32 - 1


def uniforms(seed: int, rows: Sequence[int], positions: Sequence[int]) -> npt.NDArray[np.float32]:
    """One float32 in [0, 1) for each (row, position): 24 random bits, a multiple of 2**-24."""
    key = (seed & _MASK, seed >> 32)
    words = [
        philox((position, row, 0, 0), key)[0] for row, position in zip(rows, positions, strict=True)
    ]
    return _fractions(np.array(words, dtype=np.uint32))


def uniform_table(
    seed: int, rows: Sequence[int], firsts: Sequence[int], count: int
) -> npt.NDArray[np.float32]:
    """`uniforms` of each row at ``count`` positions from its first on, [rows, count]: at once."""
    positions = np.asarray(firsts, dtype=np.uint64)[:, None] + np.arange(count, dtype=np.uint64)
    named = np.asarray(rows, dtype=np.uint64)[:, None]
    words = philox((positions, named, 0, 0), (seed & _MASK, seed >> 32))[0]
    return _fractions(np.broadcast_to(words, positions.shape))


def _fractions(words: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The upper 24 of 32 bits, as numbers in [0, 1)."""
    return (words.astype(np.uint32) >> 8).astype(np.float32) * np.float32(2**-24)


# An int, or an array of uint64 that hold 32 bits each.
_Word = Any


def philox(
    counter: tuple[_Word, _Word, _Word, _Word], key: tuple[int, int]
) -> tuple[_Word, _Word, _Word, _Word]:
    """Philox 4x32-10: four counter words and two key words (32 bits each) -> four random words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & _MASK, (a >> 32) ^ c3 ^ k1, a & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Natural log of the model's own probability, before temperature, of tokens [N] -> [N] f32."""
    logits = logits.float()
    return logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=1)


def sample(
    logits: Tensor, sampling: Sampling, rows: Sequence[int], positions: Sequence[int]
) -> Tensor:
    """Draw one token per row of logits [B, V] -> [B] int64.

    ``rows`` and ``positions`` [B] name the uniform of each draw.
    """
    return draw(logits, sampling, torch.from_numpy(uniforms(sampling.seed, rows, positions)))


def draw(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """One token per row of logits [B, V] by the uniforms [B] float32 -> [B] int64.

    Temperature 0 takes the largest logit, the lowest id among equals. Otherwise temperature, then
    the top_k largest (lowest ids among equals), then the fewest of those that hold top_p of the
    probability.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        return logits.argmax(dim=1)
    # A float32 max keeps exp() in range even at a temperature near 0.
    scaled = (logits - logits.amax(dim=1, keepdim=True)) / sampling.temperature
    weights = scaled.exp()
    if sampling.top_k or sampling.top_p < 1:
        weights = weights * _kept(weights, sampling)
    cdf = weights.cumsum(dim=1)
    # The first entry above the target always carries weight, so a filtered token is never drawn.
    target = (uniform.to(logits.device) * cdf[:, -1])[:, None]
    drawn = torch.searchsorted(cdf, target, right=True)[:, 0]
    # u * total can round up to the total itself: then the last token that carries weight.
    last = torch.searchsorted(cdf, cdf[:, -1:].contiguous())[:, 0]
    return torch.minimum(drawn, last)


def _kept(weights: Tensor, sampling: Sampling) -> Tensor:
    """bool [B, V]: which tokens top-k and top-p leave."""
    ordered, order = weights.sort(dim=1, descending=True, stable=True)
    keep = torch.ones_like(ordered, dtype=torch.bool)
    if sampling.top_k:
        keep[:, sampling.top_k :] = False
        ordered = ordered * keep
    if sampling.top_p < 1:
        before = ordered.cumsum(dim=1) - ordered
        keep &= before < sampling.top_p * ordered.sum(dim=1, keepdim=True)
        keep[:, 0] = True
    return torch.zeros_like(keep).scatter_(1, order, keep)

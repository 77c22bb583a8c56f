"""Scoring windows under one rule of forgetting, and comparing two scores of the same windows.

One masked forward per batch, float32 or what the weights are, on the device that they are on.
Knows nothing of text or of the dial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.errors import DeviceError
from dcp.evaluate.surprise import surprise
from dcp.evaluate.windows import Windows
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.stats.intervals import cluster_interval

__all__ = ["Scored", "held_per_step", "ratio_interval", "score", "to_device"]

_BATCH_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class Scored:
    """nats [N] float64, summed over each window's scored tokens; held [L, C] float64, entries
    held at each step (the query's own included), mean over windows."""

    nats: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]

    @property
    def entries(self) -> float:
        """Visible pairs (t, j <= t) of a window, mean over layers."""
        return float(self.held.sum(axis=1).mean())


@torch.inference_mode()
def score(
    model: LoadedModel, windows: Windows, attend: Callable[[], MaskedAttend], batch: int = 0
) -> Scored:
    """Score every window; ``batch`` windows at a time (0: as many as memory is kind to)."""
    context = windows.context
    device = next(model.transformer.parameters()).device
    size = batch or max(1, _BATCH_TOKENS // context)
    nats, held = [], torch.zeros(model.config.layers, context, dtype=torch.float64)
    steps = torch.arange(context, device=device)
    for ids in torch.split(torch.from_numpy(windows.ids).to(device), size):
        way = attend()
        hidden = model.transformer.hidden(ids, steps.expand_as(ids), way)[:, :-1]
        loss, _ = surprise(model.transformer, hidden.flatten(0, 1), ids[:, 1:].flatten())
        nats.append(loss.view(len(ids), -1).sum(dim=1))
        held += held_per_step(way.deaths).double().sum(dim=1).cpu()
    return Scored(torch.cat(nats).numpy(), (held / len(windows.ids)).numpy())


def to_device(model: LoadedModel, device: str) -> None:
    """Put a model's weights where it is to be scored: "cpu" or "cuda". Raises DeviceError."""
    if device not in ("cpu", "cuda"):
        raise DeviceError(f"device {device!r} is not known; use cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("there is no CUDA device here; use cpu", remedy="device")
    for each in (model, model.untouched):
        each.transformer.to(device)


def held_per_step(deaths: Tensor) -> Tensor:
    """deaths [L, B, T] int32 -> entries visible at each step [L, B, T] int64, the query's own
    included: t + 1 less the deaths up to t."""
    length = deaths.shape[-1]
    at = deaths.clamp(max=length).long()
    died = torch.zeros(*at.shape[:-1], length + 1, dtype=torch.int64, device=at.device)
    died.scatter_add_(-1, at, torch.ones_like(at))
    born = torch.arange(1, length + 1, device=at.device)
    return born - died[..., :length].cumsum(-1)


def ratio_interval(
    above: Scored, below: Scored, windows: Windows, seed: int = 0
) -> tuple[float, float]:
    """A 95 % interval of the perplexity ratio ``above`` / ``below``, nan below ten documents.

    Paired: both are scored on the same windows, and whole documents are resampled.
    """
    _, place = np.unique(windows.documents, return_inverse=True)
    difference = np.bincount(place, weights=above.nats - below.nats)
    tokens = np.bincount(place) * (windows.context - 1)
    low, high = cluster_interval(
        lambda weights: ((weights @ difference) / (weights @ tokens))[:, None], tokens, seed=seed
    )
    return math.exp(low[0]), math.exp(high[0])

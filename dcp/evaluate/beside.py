"""Ways of forgetting scored beside the model that forgets nothing, on the same windows.

    dense = read_dense(model, windows)
    (beside,) = score_beside(dense, [(model, attend_of)])

What the dense model makes of the windows is read once, for as many ways as are asked for. Knows
nothing of text, of budgets or of the dial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.evaluate.score import Scored, held_per_step, ratio_interval
from dcp.evaluate.windows import Windows
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel

__all__ = ["Dense", "ScoredBeside", "batch_of", "read_dense", "score_beside"]

# Windows that go through the model together, and their tokens: a rule decides step by step, and
# what a step costs beside arithmetic is shared by the windows. 16,384 tokens of SmolLM2: 1.5 GB.
_BATCH_WINDOWS, _BATCH_TOKENS = 8, 16384
# Hidden states of the dense model that are kept: 2.4 MB for 1,024 tokens of SmolLM2.
_KEPT_BYTES = 2**28
# Logits of a batch for this many positions at a time: 8 * 64 * 49,152 * 4 B = 100 MB.
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class ScoredBeside:
    """One way of forgetting, scored beside the model that forgets nothing.

    scored           nats and held entries, as of `dcp.evaluate.score.score`
    kl [N] float64   KL(dense ‖ this) in nats, summed over each window's scored tokens
    agree [N] int64  scored tokens at which both would have said the same most likely token
    """

    scored: Scored
    kl: npt.NDArray[np.float64]
    agree: npt.NDArray[np.int64]

    def mean_kl(self, windows: Windows) -> float:
        return float(self.kl.sum() / windows.scored)

    def agreement(self, windows: Windows) -> float:
        return float(self.agree.sum() / windows.scored)

    def ratio_to(self, other: Scored, windows: Windows) -> tuple[float, float, float]:
        """Perplexity over ``other``'s, and a 95 % interval over documents."""
        difference = self.scored.nats.sum() - other.nats.sum()
        return math.exp(difference / windows.scored), *ratio_interval(self.scored, other, windows)


def batch_of(context: int) -> int:
    """Windows of ``context`` tokens that go through the model together."""
    return max(1, min(_BATCH_WINDOWS, _BATCH_TOKENS // context))


@dataclass(frozen=True, eq=False)
class Dense:
    """What ``model`` makes of ``windows`` when nothing is dropped: scores, and for each batch the
    final hidden states [B, C - 1, D] of what is scored, None where they are to be made anew."""

    model: LoadedModel
    windows: Windows
    batch: int
    hidden: tuple[Tensor | None, ...]
    scored: ScoredBeside

    @property
    def bytes(self) -> int:
        """Of the hidden states that are kept."""
        return sum(0 if each is None else each.nbytes for each in self.hidden)


@torch.inference_mode()
def read_dense(model: LoadedModel, windows: Windows, batch: int = 0) -> Dense:
    """Read ``windows`` with nothing dropped, ``batch`` at a time (0: `batch_of` them)."""
    size, room = batch or batch_of(windows.context), _KEPT_BYTES
    sums = _Sums(model.config.layers, windows.context)
    kept: list[Tensor | None] = []
    for ids, positions in _batches(model, windows, size):
        off = MaskedAttend(prune=False)
        hidden = model.transformer.hidden(ids, positions, off)[:, :-1].contiguous()
        sums.add(model, hidden, model, hidden, ids, off.deaths)
        kept.append(hidden if hidden.nbytes <= room else None)
        room -= hidden.nbytes
    return Dense(model, windows, size, tuple(kept), sums.done(len(windows.ids)))


@torch.inference_mode()
def score_beside(
    dense: Dense, ways: Sequence[tuple[LoadedModel, Callable[[int], Any]]]
) -> list[ScoredBeside]:
    """Each way beside ``dense``. ways: (model, attend of a batch size).

    Everything about a batch is scored before the next one is begun, so that no logits are kept.
    """
    windows, model = dense.windows, dense.model
    sums = [_Sums(model.config.layers, windows.context) for _ in ways]
    batches = _batches(model, windows, dense.batch)
    for known, (ids, positions) in zip(dense.hidden, batches, strict=True):
        if known is None:
            off = MaskedAttend(prune=False)
            known = model.transformer.hidden(ids, positions, off)[:, :-1]
        for into, (other, attend_of) in zip(sums, ways, strict=True):
            attend = attend_of(len(ids))
            hidden = other.transformer.hidden(ids, positions, attend)[:, :-1]
            into.add(model, known, other, hidden, ids, attend.deaths)
    return [each.done(len(windows.ids)) for each in sums]


def _batches(model: LoadedModel, windows: Windows, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """ids and positions [B, C] where the model is, ``size`` windows at a time."""
    device = next(model.transformer.parameters()).device
    steps = torch.arange(windows.context, device=device)
    for ids in torch.split(torch.from_numpy(windows.ids).to(device), size):
        yield ids, steps.expand_as(ids)


class _Sums:
    def __init__(self, layers: int, context: int) -> None:
        self.nats: list[Tensor] = []
        self.kl: list[Tensor] = []
        self.agree: list[Tensor] = []
        self.held = torch.zeros(layers, context, dtype=torch.float64)

    def add(
        self, model: LoadedModel, dense: Tensor, other: LoadedModel, hidden: Tensor, ids: Tensor,
        deaths: Tensor,
    ) -> None:  # fmt: skip
        nats = torch.zeros(len(ids), dtype=torch.float64, device=ids.device)
        kl, agree = torch.zeros_like(nats), torch.zeros_like(nats, dtype=torch.int64)
        for start in range(0, hidden.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            own = other.transformer.head(hidden[:, part]).float().log_softmax(dim=-1)
            known = own
            if hidden is not dense:
                known = model.transformer.head(dense[:, part]).float().log_softmax(dim=-1)
            told = ids[:, 1:][:, part]
            nats -= own.gather(-1, told[..., None])[..., 0].double().sum(dim=1)
            if hidden is not dense:
                kl += (known.exp() * (known - own)).sum(dim=-1).double().sum(dim=1)
            agree += (known.argmax(dim=-1) == own.argmax(dim=-1)).sum(dim=1)
        self.nats.append(nats.cpu())
        self.kl.append(kl.cpu())
        self.agree.append(agree.cpu())
        self.held += held_per_step(deaths).double().sum(dim=1).cpu()

    def done(self, windows: int) -> ScoredBeside:
        scored = Scored(torch.cat(self.nats).numpy(), (self.held / windows).numpy())
        return ScoredBeside(scored, torch.cat(self.kl).numpy(), torch.cat(self.agree).numpy())

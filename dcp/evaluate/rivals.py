"""Eviction policies beside the gates, on the same windows, holding as many entries.

How many entries a policy holds at each step follows from its budget and not from the text, so the
budget is found beforehand, without a model: the one whose mean over steps and layers is that of the
gates. Perplexity is not looked at for it. All are compared with the model that drops nothing. Knows
nothing of text or of the dial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.errors import RequestError
from dcp.evaluate.score import Scored, held_per_step, ratio_interval
from dcp.evaluate.windows import Windows
from dcp.model.masked import MaskedAttend
from dcp.model.ruled import RuledAttend
from dcp.model.weights import LoadedModel
from dcp.policies.budget import budgets_for
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, Value

__all__ = [
    "Equal",
    "Layers",
    "Rival",
    "ScoredBeside",
    "best_of",
    "budget_of",
    "entries_for",
    "ruled",
    "score_beside",
]

Layers = Literal["equal", "as gates"]
"""Whether all layers get the same budget, or each the mean that the gates held there."""

Equal = Literal["entries", "bytes", "bytes16"]
"""What a rival may hold as much of as the gates: entries; or bytes, of which the gates spend some
on a gate key in float32 beside each key and value, themselves in float32 or in 16 bits."""

_VALUE_BYTES = {"bytes": 4, "bytes16": 2}
_GATE_KEY_BYTES = 4

_BATCH_TOKENS = 4096
_CHUNK = 64


@dataclass(frozen=True)
class Rival:
    """A policy, its settings, what it holds as much of as the gates, and how its budget is shared
    out among the layers."""

    policy: str
    layers: Layers = "equal"
    equal: Equal = "entries"
    settings: tuple[tuple[str, Value], ...] = ()


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


def entries_for(model: LoadedModel, equal: Equal) -> float:
    """How many entries without a gate key cost as many bytes as one of ``model``'s with it.

    (2 H_kv d b + 4 r) / (2 H_kv d b), b bytes a value; 1 for "entries" and without gates.
    """
    if equal == "entries" or model.gates is None:
        return 1.0
    config = model.config
    entry = 2 * config.kv_heads * config.head_dim * _VALUE_BYTES[equal]
    return 1.0 + _GATE_KEY_BYTES * model.gates.interaction / entry


def budget_of(
    rival: Rival, held: npt.NDArray[np.float64], more: float = 1.0
) -> npt.NDArray[np.int64]:
    """[L, T]: budgets with which the rival holds, in the mean over steps and layers, as nearly as
    it can ``more`` times what ``held`` [L, T] says, and no layer more than there is."""
    steps = held.shape[1]
    wanted = np.minimum(more * held.mean(axis=1), (steps + 1) / 2)
    if rival.layers == "equal":
        wanted = np.full(len(wanted), wanted.mean())
    return budgets_for(rival.policy, wanted, held.shape[1], dict(rival.settings))


def best_of(
    dense: LoadedModel,
    windows: Windows,
    rivals: Sequence[Rival],
    held: npt.NDArray[np.float64],
    batch: int = 0,
    gated: LoadedModel | None = None,
) -> list[tuple[npt.NDArray[np.int64], ScoredBeside]]:
    """Budgets [L, T] and scores of each rival on ``dense`` at the entries ``held`` [L, T], or the
    bytes of ``gated``; where a policy can spend a budget in several ways, those of the one with the
    best perplexity, so that a rival is never the worse for it."""
    ways, owner = [], []
    for i, rival in enumerate(rivals):
        for variant in policy_of(rival.policy).variants:
            settings = tuple(sorted({**variant, **dict(rival.settings)}.items()))
            way = replace(rival, settings=settings)
            if (i, way) not in owner:
                owner.append((i, way))
                ways.append((way, budget_of(way, held, entries_for(gated or dense, way.equal))))
    _, scored = score_beside(
        dense, windows, [(dense, ruled(way, budget)) for way, budget in ways], batch
    )
    found = [(budget, beside) for (_, budget), beside in zip(ways, scored, strict=True)]
    return [
        min(
            (each for (j, _), each in zip(owner, found, strict=True) if j == i),
            key=lambda each: each[1].scored.nats.sum(),
        )
        for i in range(len(rivals))
    ]


@torch.inference_mode()
def score_beside(
    model: LoadedModel,
    windows: Windows,
    ways: Sequence[tuple[LoadedModel, Any]],
    batch: int = 0,
) -> tuple[ScoredBeside, list[ScoredBeside]]:
    """The dense ``model``, and each way beside it. ways: (model, attend of a batch size).

    Everything about a window is scored before the next one is begun, so that no logits are kept.
    """
    context = windows.context
    size = batch or max(1, _BATCH_TOKENS // context)
    sums = [_Sums(model.config.layers, context) for _ in range(len(ways) + 1)]
    device = next(model.transformer.parameters()).device
    steps = torch.arange(context, device=device)
    for ids in torch.split(torch.from_numpy(windows.ids).to(device), size):
        positions = steps.expand_as(ids)
        off = MaskedAttend(prune=False)
        dense = model.transformer.hidden(ids, positions, off)[:, :-1]
        sums[0].add(model, dense, model, dense, ids, off.deaths)
        for into, (other, attend_of) in zip(sums[1:], ways, strict=True):
            attend = attend_of(len(ids))
            hidden = other.transformer.hidden(ids, positions, attend)[:, :-1]
            into.add(model, dense, other, hidden, ids, attend.deaths)
    first, *rest = (each.done(len(windows.ids)) for each in sums)
    return first, rest


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


def ruled(rival: Rival, budget: npt.NDArray[np.int64], seed: int = 0) -> Any:
    """batch size -> the attend of a window batch under ``rival``."""
    policy = policy_of(rival.policy)
    if policy.hears(dict(rival.settings)):
        raise RequestError(f"{policy.name} answers an instruction: whole windows have none")
    layers, tokens = budget.shape

    def attend(batch: int) -> RuledAttend:
        setup = Setup(batch, layers, tokens, 1, budget, seed)
        return RuledAttend(policy, policy.start(setup, dict(rival.settings)))

    return attend

"""Eviction policies beside the gates, on the same windows, holding as many entries.

How many entries a policy holds at each step follows from its budget and not from the text, so the
budget is found beforehand, without a model: the one whose mean over steps and layers is that of the
gates. Perplexity is not looked at for it. All are compared with the model that drops nothing. Knows
nothing of text or of the dial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.evaluate.beside import Dense, ScoredBeside, score_beside
from dcp.model.ruled import RuledAttend
from dcp.model.weights import LoadedModel
from dcp.policies.budget import budgets_for
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, Value

__all__ = ["Equal", "Layers", "Rival", "best_of", "budget_of", "entries_for", "ruled"]

Layers = Literal["equal", "as gates"]
"""Whether all layers get the same budget, or each the mean that the gates held there."""

Equal = Literal["entries", "bytes", "bytes16"]
"""What a rival may hold as much of as the gates: entries; or bytes, of which the gates spend some
on a gate key in float32 beside each key and value, themselves in float32 or in 16 bits."""

_VALUE_BYTES = {"bytes": 4, "bytes16": 2}
_GATE_KEY_BYTES = 4


@dataclass(frozen=True)
class Rival:
    """A policy, its settings, what it holds as much of as the gates, and how its budget is shared
    out among the layers."""

    policy: str
    layers: Layers = "equal"
    equal: Equal = "entries"
    settings: tuple[tuple[str, Value], ...] = ()


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
    dense: Dense,
    rivals: Sequence[Rival],
    held: npt.NDArray[np.float64],
    gated: LoadedModel | None = None,
) -> list[tuple[npt.NDArray[np.int64], ScoredBeside]]:
    """Budgets [L, T] and scores of each rival beside ``dense`` at the entries ``held`` [L, T], or
    the bytes of ``gated``; where a policy can spend a budget in several ways, those of the one with
    the best perplexity, so that a rival is never the worse for it."""
    ways, owner = [], []
    for i, rival in enumerate(rivals):
        for variant in policy_of(rival.policy).variants:
            settings = tuple(sorted({**variant, **dict(rival.settings)}.items()))
            way = replace(rival, settings=settings)
            if (i, way) not in owner:
                owner.append((i, way))
                ways.append(
                    (way, budget_of(way, held, entries_for(gated or dense.model, way.equal)))
                )
    scored = score_beside(dense, [(dense.model, ruled(way, budget)) for way, budget in ways])
    found = [(budget, beside) for (_, budget), beside in zip(ways, scored, strict=True)]
    return [
        min(
            (each for (j, _), each in zip(owner, found, strict=True) if j == i),
            key=lambda each: each[1].scored.nats.sum(),
        )
        for i in range(len(rivals))
    ]


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

"""Policies and gates at the same budget of entries, on the same windows: quality against memory.

A budget N lets a layer hold N entries after each step. What is compared is what was held: each rule
gets the budget with which it holds, in the mean over steps and layers, what a full budget of N
does, and says how near it came (`TOLERANCE`). Gates are asked in two ways:

    gates        their order alone: none closes by itself, past the budget the smallest margins go
    gates-shift  without a budget, shifted until they hold as much in the mean: less of it early in
                 a text, more late

A measurement is one piece: a context, a budget, a policy and some windows. It keeps sums per
window, so that pieces made at different times can be joined, and compared in pairs. Knows nothing
of text or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcp.errors import RequestError
from dcp.evaluate.beside import Dense, read_dense, score_beside
from dcp.evaluate.rivals import Rival, budget_of, ruled
from dcp.evaluate.score import held_per_step
from dcp.evaluate.windows import Windows
from dcp.model.masked import MaskedAttend
from dcp.model.ruled import RuledAttend
from dcp.model.weights import LoadedModel
from dcp.policies.budget import held_with
from dcp.policies.gates import LIFT
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, uniform_budget

__all__ = ["OWN", "SHIFTED", "Piece", "check", "find_shift", "measure", "wanted_of"]

SHIFTED = "gates-shift"
"""The gates without a budget, shifted until they hold as much."""

OWN = ("gates", SHIFTED)
"""What the model's own gates do; everything else runs on the dense model."""

# Windows that a shift is looked for on, and the shifts looked at.
_LOOKED_AT, _SHIFTS, _HALVINGS = 2, (-12.0, 12.0), 13

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Piece:
    """One policy under one budget on N windows of C tokens.

    settings         of the rule, where they differ from its defaults
    spent            entries of the budget that the rule itself was given, mean over layers; nan
                     for ``gates-shift``
    gate_shift       δ of the gates, None for other policies
    held [C]         entries held at each step, mean over layers and windows
    nats, kl [N]     log-loss, and KL(dense ‖ this), summed over each window's scored tokens
    agree [N]        scored tokens at which both have the same most likely token
    dense [N]        log-loss of the dense model
    """

    policy: str
    budget: int
    context: int
    settings: Mapping[str, float | int]
    spent: float
    gate_shift: float | None
    held: Floats
    nats: Floats
    kl: Floats
    agree: npt.NDArray[np.int64]
    dense: Floats

    def to_json(self) -> dict[str, Any]:
        plain = dict(vars(self))
        spent = None if math.isnan(self.spent) else self.spent
        arrays = {k: v.tolist() for k, v in plain.items() if isinstance(v, np.ndarray)}
        return {**plain, **arrays, "spent": spent, "settings": dict(self.settings)}

    def joined(self, other: Piece) -> Piece:
        """Both, of the same policy, budget and context on other windows."""
        n, m = len(self.nats), len(other.nats)
        return replace(
            self,
            held=(n * self.held + m * other.held) / (n + m),
            nats=np.concatenate([self.nats, other.nats]),
            kl=np.concatenate([self.kl, other.kl]),
            agree=np.concatenate([self.agree, other.agree]),
            dense=np.concatenate([self.dense, other.dense]),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Piece:
        """Raises RequestError for anything but what `to_json` gave."""
        try:
            arrays = {k: np.asarray(value[k], np.float64) for k in ("held", "nats", "kl", "dense")}
            spent, shift = value["spent"], value["gate_shift"]
            return cls(
                policy=str(value["policy"]), budget=int(value["budget"]),
                context=int(value["context"]), settings=dict(value["settings"]),
                spent=math.nan if spent is None else float(spent),
                gate_shift=None if shift is None else float(shift),
                agree=np.asarray(value["agree"], np.int64), **arrays,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as wrong:
            raise RequestError(f"this is no measurement of a policy: {wrong!r}") from None


def wanted_of(budget: int, context: int) -> Floats:
    """[C]: what a step sees under a full budget."""
    return held_with("window", budget, context, {})


def measure(
    model: LoadedModel,
    windows: Windows,
    policy: str,
    budget: int,
    baseline: LoadedModel | None = None,
    *,
    settings: Mapping[str, float | int] | None = None,
    shift: float | None = None,
    dense: Dense | None = None,
) -> Piece:
    """One piece. Rules run on ``baseline``, or without one on ``model`` with its gates off;
    ``gates-shift`` at ``shift`` (`find_shift`). ``dense`` is what that model made of the windows,
    where they have been read before.

    Raises RequestError for a policy that no budget means anything to, or that needs gates or an
    instruction which are not there; for a budget it cannot keep, or that drops nothing.
    """
    plain, context = baseline or model.dense, windows.context
    check(model, context, policy, budget)
    spent = float(budget)
    way: tuple[LoadedModel, Any]
    if policy == "gates":
        shift, way = LIFT, (model, _under(model, budget, context))
    elif policy == SHIFTED:
        if shift is None:
            raise RequestError(f"{SHIFTED} needs the shift that it is measured at")
        spent, way = math.nan, (model.at(shift), _shifted(shift))
    else:
        rival = Rival(policy, settings=tuple(sorted((settings or {}).items())))
        budgets = budget_of(rival, np.tile(wanted_of(budget, context), (plain.config.layers, 1)))
        shift, spent, way = None, float(budgets.mean()), (plain, ruled(rival, budgets))
    known = dense or read_dense(plain, windows)
    (beside,) = score_beside(known, [way])
    return Piece(
        policy=policy, budget=budget, context=context, settings=dict(settings or {}), spent=spent,
        gate_shift=shift, held=beside.scored.held.mean(axis=0), nats=beside.scored.nats,
        kl=beside.kl, agree=beside.agree, dense=known.scored.scored.nats,
    )  # fmt: skip


def check(model: LoadedModel, context: int, policy: str, budget: int) -> None:
    """Raise RequestError for what `measure` refuses before it begins."""
    if budget >= context:
        raise RequestError(f"a budget of {budget} drops nothing in a context of {context}")
    if budget < 1:
        raise RequestError(f"a budget is at least 1 entry a layer, not {budget}")
    if policy in OWN:
        if model.gates is None:
            raise RequestError(f"{model.name} has no gates: leave {policy} out")
        return
    known = policy_of(policy)
    if not known.budgeted:
        raise RequestError(f"{policy} keeps everything: leave it out")
    if known.instructed == "must":
        raise RequestError(f"{policy} answers an instruction, and a corpus asks nothing")
    least = known.least(known.with_settings({}), context)
    if budget < least:
        raise RequestError(f"{policy} needs a budget of at least {least} entries a layer")


@torch.inference_mode()
def find_shift(model: LoadedModel, windows: Windows, budget: int, share: float = 1.0) -> float:
    """The shift of the gates with which they hold, in the mean over steps and layers, ``share`` of
    what a full budget does. By counts alone, on a few of the windows: quality is not looked at."""
    few = np.unique(np.linspace(0, len(windows.ids) - 1, _LOOKED_AT).astype(np.int64))
    device = next(model.transformer.parameters()).device
    ids = torch.from_numpy(windows.ids[few]).to(device)
    steps = torch.arange(windows.context, device=device).expand_as(ids)
    target = share * float(wanted_of(budget, windows.context).mean())
    low, high = _SHIFTS
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        attend = MaskedAttend(middle)
        model.at(middle).transformer.hidden(ids, steps, attend)
        held = float(held_per_step(attend.deaths).double().mean())
        low, high = (middle, high) if held < target else (low, middle)
    return (low + high) / 2


def _shifted(shift: float) -> Callable[[int], MaskedAttend]:
    return lambda batch: MaskedAttend(shift)


def _under(model: LoadedModel, limit: int, context: int) -> Callable[[int], RuledAttend]:
    policy, layers = policy_of("gates"), model.config.layers
    budget = uniform_budget(limit, layers, context)
    return lambda batch: RuledAttend(
        policy, policy.start(Setup(batch, layers, context, 1, budget)), LIFT
    )

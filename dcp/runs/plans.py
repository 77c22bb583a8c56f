"""Changes to one token's fate, and random drops that are like it: plans, before any model runs.

    plan = put_back(trace, token=20)                  # alive to the end in every layer
    plan = drop_now(trace, token=20, step=50, layer=3)
    controls = matched(trace, plan, seed=0)           # about 20 others, same layers, same age

A plan changes one token alone: every other death stays as the trace recorded it, also where the
gates would now have decided otherwise. Numpy only; `dcp.runs.rescore` runs plans through the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE, ForcedDeaths
from dcp.errors import RequestError
from dcp.policies.registry import POLICIES
from dcp.trace import Trace

__all__ = [
    *("CONTROLS", "HORIZON", "Controls", "Plan"),
    *("drop_now", "matched", "put_back", "why_not_written"),
]

Kind = Literal["put back", "drop now"]

CONTROLS = 20
"""How many random drops stand beside a chosen one."""

HORIZON = 32
"""Over how many later tokens sums are compared."""

# How far a match may go, the best first: share of the layers, then factor between the ages.
_LAYERS_SHARED = (1.0, 0.75, 0.5)
_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Plan:
    """One token kept alive, or dropped early.

    layers  those in which something changes; empty where the plan changes nothing
    steps   the step of each layer's drop: the recorded one that is undone, or the new one
    """

    kind: Kind
    token: int
    layers: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def first(self) -> int | None:
        """The first query that sees something else; its answer is the next token."""
        return min(self.steps) if self.steps else None

    @property
    def ages(self) -> npt.NDArray[np.int64]:
        """[layers] int64: how old the token was at each drop (steps)."""
        return np.asarray(self.steps, np.int64) - self.token

    def later(self, trace: Trace) -> int:
        """How many tokens of the trace come after the first changed query."""
        return 0 if self.first is None else trace.tokens - 1 - self.first

    def deaths(self, trace: Trace) -> ForcedDeaths:
        """The orders: everything as recorded but this token in these layers."""
        death = trace.death.copy()
        death[list(self.layers), self.token] = ALIVE if self.kind == "put back" else self.steps
        return ForcedDeaths(death)


def put_back(trace: Trace, token: int, layer: int | None = None) -> Plan:
    """``token`` alive to the end, in one layer or in all that dropped it.

    Where it was never dropped the plan is empty. Raises RequestError for what is not in the trace.
    """
    layers = [i for i in _layers(trace, token, layer) if trace.death[i, token] != ALIVE]
    steps = tuple(int(trace.death[i, token]) for i in layers)
    return Plan("put back", token, tuple(layers), steps)


def drop_now(trace: Trace, token: int, step: int, layer: int | None = None) -> Plan:
    """``token`` dropped by the query at ``step``, in one layer or in all where it was alive then.

    What is gone already stays gone since when it was. Raises RequestError.
    """
    if not token < step < trace.n_queries:
        raise RequestError(
            f"token {token} can be dropped at steps {token + 1} to {trace.n_queries - 1}, "
            f"not at {step}"
        )
    layers = [i for i in _layers(trace, token, layer) if trace.death[i, token] > step]
    return Plan("drop now", token, tuple(layers), (step,) * len(layers))


@dataclass(frozen=True)
class Controls:
    """Random drops like a chosen one: other tokens, in the same layers, at about the same age.

    shared   at least this share of the chosen one's layers is changed by each
    ratio    the ages differ by at most this factor (geometric mean over layers)
    horizon  how many later tokens each of them, and the chosen one, has to change
    """

    plans: tuple[Plan, ...]
    shared: float
    ratio: float
    horizon: int


def matched(
    trace: Trace, plan: Plan, *, n: int = CONTROLS, seed: int = 0, horizon: int = HORIZON
) -> Controls:
    """At most ``n`` seeded random drops matched to ``plan`` on layers and age.

    To put back: other tokens that the plan's layers dropped too. To drop now: other tokens that
    were alive there at the same age. Each has at least as many later tokens as are compared. Where
    there are too few, the age ratio is widened, up to 4; then tokens that share only three quarters
    of the layers, or half, are taken. Token 0 is never a control: it soaks up attention that has
    nowhere else to go.
    """
    span = min(horizon, plan.later(trace))
    if span < 1:
        return Controls((), 1.0, 1.0, 0)
    every = _candidates(trace, plan, span)
    near, shared, ratio = every, _LAYERS_SHARED[-1], _RATIOS[-1]
    for shared, ratio in product(_LAYERS_SHARED, _RATIOS):
        least = shared * len(plan.layers)
        near = [p for p in every if len(p.layers) >= least and _apart(plan, p) <= np.log(ratio)]
        if len(near) >= n:
            break
    chosen = np.random.default_rng(seed).permutation(len(near))[:n]
    return Controls(tuple(near[i] for i in sorted(chosen.tolist())), shared, ratio, span)


def why_not_written(trace: Trace) -> str:
    """Why there are no two continuations of this run, in a sentence; "" where there are."""
    policy = trace.meta.policy
    if policy is not None and policy not in POLICIES:
        return f"this run was under {policy[:40]!r}, a rule that is not known here"
    asked = str((trace.meta.policy_settings or {}).get("instruction", "")).strip()
    if policy is None or not asked:
        return ""
    return (
        f"{POLICIES[policy].title} reads its question anew after each chunk and takes no orders: "
        "what each later token loses is told, two continuations are not"
    )


def _layers(trace: Trace, token: int, layer: int | None) -> Sequence[int]:
    if not 0 <= token < trace.tokens:
        raise RequestError(f"there is no token {token}: tokens are 0 to {trace.tokens - 1}")
    if layer is None:
        return range(trace.layers)
    if not 0 <= layer < trace.layers:
        raise RequestError(f"there is no layer {layer}: layers are 0 to {trace.layers - 1}")
    return (layer,)


def _candidates(trace: Trace, plan: Plan, span: int) -> list[Plan]:
    """Every token's drop, in those of the plan's layers where it can be done, that could stand
    beside ``plan``.
    """
    tokens = np.arange(trace.tokens)
    death = trace.death[list(plan.layers)].astype(np.int64)
    if plan.kind == "put back":
        steps, fits = death, death != ALIVE
    else:
        steps = tokens + plan.ages[:, None]
        fits = (death > steps) & (steps <= trace.n_queries - 1)
    found = []
    for j in np.flatnonzero(fits.any(axis=0) & (tokens != plan.token) & (tokens > 0)):
        here = np.flatnonzero(fits[:, j])
        layers = tuple(plan.layers[i] for i in here)
        other = Plan(plan.kind, int(j), layers, tuple(int(step) for step in steps[here, j]))
        if other.later(trace) >= span:
            found.append(other)
    return found


def _apart(plan: Plan, other: Plan) -> float:
    """How far the ages are: mean |log ratio| over the layers that both change."""
    here = [plan.layers.index(layer) for layer in other.layers]
    # A hair, so that a ratio of exactly the limit is within it.
    return float(np.abs(np.log(other.ages / plan.ages[here])).mean()) - 1e-9

"""What a budget holds: counts of a policy at each step, found without a model.

How many entries a policy holds follows from its budget and not from the text (what is held does),
so a budget can be chosen beforehand: to hold as many entries as the gates did, or to drop a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.policies.registry import policy_of
from dcp.policies.rule import Seen, Setup

__all__ = ["TOLERANCE", "budget_for_sparsity", "budgets_for", "dropped_share", "held_with"]

TOLERANCE = 0.01
"""Counts further apart than this share are not called equal."""

_SHARE_TOLERANCE = 0.05

Counts = npt.NDArray[np.float64]
Settings = tuple[tuple[str, Any], ...]


def held_with(policy: str, budget: int, tokens: int, settings: Mapping[str, Any]) -> Counts:
    """[T] float64: entries visible to each step, its own included."""
    return _counts(policy, budget, tokens, tuple(sorted(settings.items())))


@lru_cache(maxsize=1024)
def _counts(policy: str, budget: int, tokens: int, settings: Settings) -> Counts:
    row = np.full((1, tokens), budget, dtype=np.int64)
    rule = policy_of(policy).start(Setup(1, 1, tokens, 1, row), dict(settings))
    alive = np.zeros((1, tokens), dtype=np.bool_)
    nothing = np.zeros((1, tokens), dtype=np.float32)
    # To the gates' rule the newest entry is unjudged.
    margin = np.zeros((1, tokens), dtype=np.float32)
    key = np.zeros((1, 1, 1), dtype=np.float32)
    held = np.empty(tokens)
    for step in range(tokens):
        alive[:, step] = True
        here = slice(0, step + 1)
        held[step] = alive.sum()
        margin[:, step] = np.nan
        drops = rule.after(0, step, Seen(alive[:, here], nothing[:, here], key, margin[:, here]))
        margin[:, step] = 0
        alive[:, here] &= ~drops
    held.setflags(write=False)
    return held


def budgets_for(
    policy: str, wanted: Counts, tokens: int, settings: Mapping[str, Any]
) -> npt.NDArray[np.int64]:
    """[L, T]: budgets whose counts, in the mean over steps and layers, are those ``wanted`` [L] in
    the mean over steps. Whole numbers: what rounding leaves over in one layer the next makes up.
    The nearest there are; whoever compares says what was held (`TOLERANCE`)."""
    budgets = np.empty((len(wanted), tokens), dtype=np.int64)
    owed = 0.0
    for layer, mean in enumerate(wanted):
        budgets[layer] = entries = _nearest(policy, float(mean + owed), tokens, settings)
        owed += float(mean) - float(held_with(policy, entries, tokens, settings).mean())
    return budgets


def budget_for_sparsity(
    policy: str, sparsity: float, tokens: int, settings: Mapping[str, Any]
) -> int:
    """The budget whose mean dropped share of the previous tokens, over the steps of a text of
    ``tokens``, is nearest to ``sparsity``. Raises RequestError for a share outside 0 … 1, or one
    that the policy misses by more than 5 points: in a short text one entry is a large share."""
    if not 0 <= sparsity < 1:
        raise RequestError(f"sparsity must be from 0 to below 1, not {sparsity}")
    past = np.arange(1, max(tokens, 2))

    def dropped(entries: int) -> float:
        return -float(
            (1 - (held_with(policy, entries, len(past) + 1, settings)[1:] - 1) / past).mean()
        )

    entries = _search(policy, -sparsity, tokens, settings, dropped)
    share = -dropped(entries)
    if abs(share - sparsity) > _SHARE_TOLERANCE:
        raise RequestError(
            f"{policy} can drop {share:.0%} of {tokens} tokens, not {sparsity:.0%}: "
            "give a budget, or another share"
        )
    return entries


def dropped_share(budget: int, tokens: int) -> float:
    """Dropped share of the previous tokens, mean over the steps of a text of ``tokens``, with as
    many held after each step as ``budget`` lets.

    >>> round(dropped_share(2, 5), 3)    # 0, 0, 1/3 and 2/4
    0.208
    """
    past = np.arange(1, max(tokens, 2))
    return float((np.maximum(past - budget, 0) / past).mean())


def _nearest(policy: str, mean: float, tokens: int, settings: Mapping[str, Any]) -> int:
    return _search(
        policy, mean, tokens, settings,
        lambda entries: float(held_with(policy, entries, tokens, settings).mean()),
    )  # fmt: skip


def _search(
    policy: str, target: float, tokens: int, settings: Mapping[str, Any], value: Any
) -> int:
    """The budget whose ``value``, which rises with it, is nearest to ``target``."""
    known = policy_of(policy)
    least = known.least(known.with_settings(settings), tokens)
    low, high = least, max(least, tokens)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if value(middle) < target else (low, middle)
    below = max(low - 1, least)
    return below if abs(value(below) - target) <= abs(value(low) - target) else low

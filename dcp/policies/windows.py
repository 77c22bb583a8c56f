"""Evictions that need no training, as death times: what pruning must beat at equal memory.

Each returns death [T] int32: the step at which a token stops being visible, or ALIVE. A policy's
budget is chosen so that it holds as many entries as a pruned run did. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.errors import RequestError

__all__ = [
    "POLICIES",
    "fitted_windows",
    "held_entries",
    "local",
    "policy_deaths",
    "sink",
    "strided",
]

Deaths = npt.NDArray[np.int32]
_SINKS = 4


def local(tokens: int, window: int) -> Deaths:
    """Each token is visible to itself and the ``window - 1`` steps after it."""
    return _after(tokens, window)


def sink(tokens: int, window: int) -> Deaths:
    """A local window, and the first four tokens stay for good (Xiao et al., 2023)."""
    death = _after(tokens, window)
    death[:_SINKS] = ALIVE
    return death


def strided(tokens: int, stride: int) -> Deaths:
    """A local window of ``stride``, and every ``stride``-th token stays (Child et al., 2019)."""
    death = _after(tokens, stride)
    death[stride - 1 :: stride] = ALIVE
    return death


POLICIES: dict[str, Callable[[int, int], Deaths]] = {
    "local": local,
    "strided": strided,
    "sink": sink,
}


def held_entries(death: npt.NDArray[np.int32]) -> int:
    """Entries held, summed over steps: the visible pairs (t, j <= t). death [T]."""
    born = np.arange(len(death))
    return int((np.minimum(death, len(death)) - born).sum())


def policy_deaths(policy: str, tokens: int, window: int) -> Deaths:
    """Death [T] of a policy by name. Raises RequestError for an unknown one."""
    if policy not in POLICIES:
        raise RequestError(f"unknown policy {policy!r}; use one of: {', '.join(POLICIES)}")
    return POLICIES[policy](tokens, window)


def fitted_windows(policy: str, tokens: int, entries: float) -> list[int]:
    """Windows with which a policy holds at least ``entries`` pairs over ``tokens``, and hardly
    more: a baseline is never short of memory.

    One, but for ``strided``, which can spend the same on many strides of a short window or on few
    of a long one: the leanest of each, for the caller to take the better. A second choice that
    holds over 5 % more than asked is left out. Raises RequestError for an unknown policy.
    """
    held = [held_entries(policy_deaths(policy, tokens, w)) for w in range(1, tokens + 1)]
    least = int(np.argmin(held)) + 1
    sides = [
        [(held[w - 1], w) for w in side if held[w - 1] >= entries]
        for side in (range(1, least), range(least, tokens + 1))
    ]
    leanest = sorted(min(side) for side in sides if side)
    if not leanest:
        return [tokens]
    return [w for h, w in leanest if h <= 1.05 * entries] or [leanest[0][1]]


def _after(tokens: int, steps: int) -> Deaths:
    death = np.arange(tokens, dtype=np.int64) + steps
    return np.where(death < tokens, death, ALIVE).astype(np.int32)

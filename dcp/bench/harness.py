"""Arms that take turns, and what their times say. Knows no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Arm", "Turns", "take_turns"]


@dataclass(frozen=True)
class Arm:
    """One thing to time: ``step`` does one step of work, ``baseline`` names the arm to beat."""

    name: str
    step: Callable[[], object]
    baseline: str | None = None


@dataclass(frozen=True)
class Turns:
    """Milliseconds a step: median, 20th and 80th percentile over rounds; and the speed-up.

    A speed-up is baseline time / own time, taken within each round: both saw the same machine.
    It is None for an arm without a baseline. p50, p95 and p99 are of single steps, and ``longest``
    is the longest of them: what a reader waits where rows are moved or memory is asked for.
    """

    name: str
    ms: float
    ms_p20: float
    ms_p80: float
    p50: float
    p95: float
    p99: float
    longest: float
    baseline: str | None
    speedup: float | None
    speedup_p20: float | None
    speedup_p80: float | None


def take_turns(
    arms: Sequence[Arm],
    *,
    rounds: int,
    steps: int,
    warm_up: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Turns]:
    """Each arm does ``warm_up`` steps untimed, then ``rounds`` turns of ``steps`` timed steps.

    The order turns with the rounds, so that no arm always follows the same one.
    """
    for arm in arms:
        for _ in range(warm_up):
            arm.step()
    seconds = np.zeros((len(arms), rounds, steps))
    for turn in range(rounds):
        for shift in range(len(arms)):
            i = (turn + shift) % len(arms)
            start = clock()
            for step in range(steps):
                arms[i].step()
                now = clock()
                seconds[i, turn, step], start = now - start, now
    of = {arm.name: row for arm, row in zip(arms, seconds, strict=True)}
    return [_turns(arm, of) for arm in arms]


def _turns(arm: Arm, of: dict[str, np.ndarray]) -> Turns:
    rounds = {name: of[name].mean(axis=1) for name in {arm.name, arm.baseline or arm.name}}
    low, middle, high = np.percentile(rounds[arm.name] * 1e3, [20, 50, 80]).tolist()
    p50, p95, p99, longest = np.percentile(of[arm.name] * 1e3, [50, 95, 99, 100]).tolist()
    slow = usual = fast = None
    if arm.baseline is not None:
        ratio = rounds[arm.baseline] / rounds[arm.name]
        slow, usual, fast = np.percentile(ratio, [20, 50, 80]).tolist()
    return Turns(
        arm.name, middle, low, high, p50, p95, p99, longest, arm.baseline, usual, slow, fast
    )

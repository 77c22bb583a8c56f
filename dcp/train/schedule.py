"""Schedules: learning rate (warm-up, constant, linear decay), α (cosine from 1 to 8), gate shifts.

A constant middle makes a run extensible: the total may be set when the run is resumed, and the
result is the same as if it had been known from the start. Pure functions of the step.
"""

from __future__ import annotations

import math
import random

__all__ = ["alpha_at", "learning_rate_at", "shifts_at"]


def learning_rate_at(step: int, steps: int, warmup: int, decay: int, last: float = 0.0) -> float:
    """The share of the peak rate at ``step`` of ``steps``: up, flat, linearly down to ``last``."""
    up = (step + 1) / (warmup + 1)
    down = last + (1 - last) * (steps - step) / (decay + 1)
    return max(0.0, min(1.0, up, down))


def alpha_at(step: int, steps: int, first: float = 1.0, last: float = 8.0) -> float:
    """Cosine from ``first`` to ``last``: slow at both ends (arXiv 2305.15805, appendix)."""
    progress = min(1.0, max(0.0, step / max(1, steps)))
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def shifts_at(
    step: int, seed: int, windows: int, spread: float, centre: float = 0.0, skew: float = 1.0
) -> list[float]:
    """A gate shift for each window of ``step``, spread over ``centre`` ± ``spread`` as
    u ** ``skew`` is for even u in 0 … 1 (1: evenly; more: denser at the low end), in random order
    and each at a random place of its part; the same for equal arguments."""
    rng = random.Random(f"{seed} {step}")
    places = [(i + rng.random()) / windows for i in range(windows)]
    rng.shuffle(places)
    return [centre + spread * (2 * place**skew - 1) for place in places]

"""Schedules: learning rate (warm-up, constant, linear decay), α (cosine from 1 to 8), gate shifts.

A constant middle makes a run extensible: the total may be set when the run is resumed, and the
result is the same as if it had been known from the start. Pure functions of the step.
"""

from __future__ import annotations

import math
import random

from dcp.train.sections import Dial, GateSettings, Optimiser

__all__ = ["alpha_at", "learning_rate_at", "shifts_at"]


def learning_rate_at(step: int, steps: int, s: Optimiser) -> float:
    """The share of the peak rate at ``step`` of ``steps``: up for ``warmup``, flat, in the last
    ``decay`` linearly down to ``rate_last``."""
    up = (step + 1) / (s.warmup + 1)
    down = s.rate_last + (1 - s.rate_last) * (steps - step) / (s.decay + 1)
    return max(0.0, min(1.0, up, down))


def alpha_at(step: int, steps: int, s: GateSettings) -> float:
    """Cosine from ``alpha_first`` to ``alpha_last`` in ``alpha_steps`` (or all ``steps``): slow at
    both ends (arXiv 2305.15805, appendix)."""
    first, last = s.alpha_first, s.alpha_last
    progress = min(1.0, max(0.0, step / max(1, s.alpha_steps or steps)))
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def shifts_at(step: int, seed: int, windows: int, dial: Dial) -> list[float]:
    """A gate shift for each window of ``step``, spread over ``centre`` ± ``spread`` as
    u ** ``skew`` is for even u in 0 … 1 (1: evenly; more: denser at the low end), in random order
    and each at a random place of its part; the same for equal arguments."""
    rng = random.Random(f"{seed} {step}")
    places = [(i + rng.random()) / windows for i in range(windows)]
    rng.shuffle(places)
    return [dial.centre + dial.spread * (2 * place**dial.skew - 1) for place in places]

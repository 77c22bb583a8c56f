"""Controls: the same number of drops per layer and step, chosen without the gates.

A control drops at every step exactly as many entries as the run did in that layer, so both hold the
same memory at all times; only the choice differs. Knows deaths alone.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dcp.arguments import one_of
from dcp.deaths import ALIVE
from dcp.trace import Trace

__all__ = ["Policy", "control_deaths", "control_trace"]

Policy = Literal["random", "oldest"]


def control_deaths(
    death: npt.NDArray[np.int32], policy: Policy, seed: int = 0
) -> npt.NDArray[np.int32]:
    """[L, T] int32: deaths by ``policy``, as many per layer and step as in ``death`` [L, T].

    "random": every living earlier token is equally likely; "oldest": the oldest go first.
    Raises RequestError for an unknown policy.

    >>> control_deaths(np.array([[ALIVE, 2, ALIVE, ALIVE]], np.int32), "oldest")[0, 0]
    2
    """
    one_of("policy", policy, get_args(Policy))
    rng = np.random.default_rng(seed)
    control = np.full_like(death, ALIVE)
    for layer, row in enumerate(death):
        steps, counts = np.unique(row[row != ALIVE], return_counts=True)
        if policy == "oldest":
            control[layer, : counts.sum()] = np.repeat(steps, counts)
            continue
        living: list[int] = []
        seen = 0
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
            living += range(seen, step)
            seen = step
            for _ in range(count):
                # Order does not matter to a uniform draw: fill the hole with the last.
                i = int(rng.integers(len(living)))
                control[layer, living[i]] = step
                living[i] = living[-1]
                living.pop()
    return control


def control_trace(trace: Trace, policy: Policy, seed: int = 0) -> Trace:
    """``trace`` with the deaths of `control_deaths`; margins are nan, since no gate spoke.

    Log-probabilities stay those of the run: no model ran with these deaths.
    """
    return Trace(
        token_ids=trace.token_ids,
        offsets=trace.offsets,
        death=control_deaths(trace.death, policy, seed),
        margin=np.full_like(trace.margin, np.nan),
        logprob=trace.logprob,
        step_seconds=trace.step_seconds,
        meta=dataclasses.replace(trace.meta, control=policy, control_seed=seed),
    )

"""One text under several policies: what comes of it, and the budget that makes them comparable.

Numpy only; `dcp.runs.beside` runs the policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.policies.budget import budgets_for
from dcp.trace import Trace

__all__ = ["Asked", "Beside", "equal_budget"]


@dataclass(frozen=True, eq=False)
class Beside:
    """One text under several policies.

    runs          policy -> its trace, with ``kl`` and ``lost_attention``; the first is the one that
                  the others were matched to
    received [T]  attention that each token got from later queries with nothing dropped, summed over
                  queries, mean over layers and heads
    left_out      policy -> why it could not be run

    Raises RequestError for runs of other tokens or layers, or without a gates-off reading.
    """

    runs: Mapping[str, Trace]
    received: npt.NDArray[np.float32]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for trace in self.runs.values():
            if trace.layers != self.first.layers or trace.n_queries != self.first.n_queries:
                raise RequestError("policies are compared on one text, read by one model")
            if not np.array_equal(trace.token_ids, self.first.token_ids):
                raise RequestError("policies are compared on the same tokens: these differ")
            if trace.kl is None or trace.lost_attention is None:
                raise RequestError("each policy needs its gates-off reading: it has none here")
        if self.received.shape != (self.first.tokens,):
            raise RequestError("there is not one number for each token of what it received")

    @property
    def first(self) -> Trace:
        """The run that the others were matched to."""
        return next(iter(self.runs.values()))


@dataclass(frozen=True, eq=False)
class Asked:
    """One text, and what rules that hear a question keep of it beside what a run kept.

    beside             the run, and the rules; each holds as many entries when the question has been
                       read, which is just before the last step
    question           as it was typed
    attention [L, T]   what each token gets from the question's own when nothing is dropped, mean
                       over heads and over the question's tokens
    """

    beside: Beside
    question: str
    attention: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        first = self.beside.first
        if self.attention.shape != (first.layers, first.tokens):
            raise RequestError("there is not one number for each layer and token of the question")

    @property
    def step(self) -> int:
        """The first step after the question."""
        return self.beside.first.n_queries - 1


def equal_budget(policy: str, trace: Trace, settings: Mapping[str, Any]) -> int:
    """The budget with which ``policy`` holds as nearly as it can what ``trace`` held in the mean
    over steps and layers. Raises RequestError where a text is too short for the rule."""
    wanted = np.array([trace.held().mean()])
    return int(budgets_for(policy, wanted, trace.n_queries, settings)[0, 0])

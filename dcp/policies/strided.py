"""Strided: a local window of s tokens, and every s-th token stays (Sparse Transformer)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.errors import RequestError
from dcp.policies.rule import Bools, Policy, Rule, Seen, Setup

__all__ = ["POLICY", "Strided", "stride_within"]


class Strided(Rule):
    """strides [L]: its window and the distance of what stays, for each layer."""

    def __init__(self, setup: Setup, strides: list[int]) -> None:
        super().__init__(setup)
        self.strides = strides

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        stride, drops = self.strides[layer], self.none(seen)
        # At the next step this one is ``stride`` old.
        leaving = step + 1 - stride
        if leaving >= 0 and leaving % stride != stride - 1:
            drops[:, leaving] = seen.alive[:, leaving]
        return drops


def stride_within(budget: int, tokens: int, short: bool = False) -> int:
    """The longest stride that holds at most ``budget`` entries at any of ``tokens`` steps, or the
    shortest, 0 where none does: s recent ones and one for every s before them."""
    strides = np.arange(1, max(tokens, 1) + 1)
    held = np.minimum(strides, tokens) + np.maximum(tokens - strides, 0) // strides
    fitting = strides[held <= budget]
    return int(fitting.min() if short else fitting.max()) if len(fitting) else 0


def _make(setup: Setup, settings: Mapping[str, Any]) -> Strided:
    strides = []
    for row in setup.budget:
        stride = settings["stride"] or stride_within(
            int(row.max()), setup.tokens, bool(settings["short"])
        )
        if not stride:
            raise RequestError(
                f"no stride holds {int(row.max())} entries or fewer over {setup.tokens} tokens; "
                f"raise the budget to at least {_least(settings, setup.tokens)}"
            )
        strides.append(stride)
    return Strided(setup, strides)


def _least(settings: Mapping[str, Any], tokens: int) -> int:
    if settings["stride"]:
        return 1
    return next(n for n in range(1, tokens + 2) if stride_within(n, tokens))


POLICY = Policy(
    name="strided",
    title="Strided",
    paper="Child et al., 2019, arXiv 1904.10509",
    rule="keeps the last s entries and every s-th before them",
    differs=(
        "one pattern for all heads; without a stride it is the longest that keeps the budget, or "
        "with short=1 the shortest: a short window and more that stays"
    ),
    settings={"stride": 0, "short": 0},
    limits={"stride": (0, 2**20), "short": (0, 1)},
    variants=({"short": 0}, {"short": 1}),
    make=_make,
    least=_least,
)

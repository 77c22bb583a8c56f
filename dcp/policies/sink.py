"""Sink + window: the first tokens and the most recent ones stay (StreamingLLM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcp.policies.rule import Bools, Policy, Rule, Seen, Setup, lowest

__all__ = ["POLICY", "SinkWindow"]


class SinkWindow(Rule):
    def __init__(self, setup: Setup, sinks: int) -> None:
        super().__init__(setup)
        self.sinks = sinks

    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        ages = np.broadcast_to(np.arange(step + 1), seen.alive.shape)
        among = seen.alive & (ages >= self.sinks)
        return lowest(ages, among, self.over(layer, step, seen.alive))


def _make(setup: Setup, settings: Mapping[str, Any]) -> SinkWindow:
    return SinkWindow(setup, settings["sinks"])


POLICY = Policy(
    name="sink",
    title="Sink + window",
    paper="Xiao et al., 2023, arXiv 2309.17453",
    rule="keeps the first few tokens and the most recent ones",
    differs="positions stay those of the text; the paper renumbers them inside the cache",
    settings={"sinks": 4},
    limits={"sinks": (0, 2**20)},
    make=_make,
    least=lambda settings, tokens: settings["sinks"] + 1,
)

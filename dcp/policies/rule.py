"""What an eviction policy is, and what one reading shows it.

A rule decides online: after the query at step s has been read it says which entries the layer lets
go. They die at step s + 1, the first that no longer sees them. The same entries go for all heads of
a layer, so what a rule hears of attention is the mean over heads. Everything is indexed by
position, not by where the cache keeps a row. numpy only: knows no model, cache or text.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError

__all__ = [
    "Eviction",
    "Need",
    "Policy",
    "Rule",
    "Seen",
    "Setup",
    "Value",
    "lowest",
    "uniform_budget",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

Need = Literal["attention", "key", "margin"]
Value = str | float | int


@dataclass(frozen=True, eq=False)
class Setup:
    """What a rule is made for.

    batch, layers, tokens   B, L, T: sequences at once, layers, the most tokens of a sequence
    prompt                  tokens of the prompt; rules that read a prompt whole wait for its end
    budget [L, T] int64     entries a layer may hold after each step, the query's own included
    seed                    for rules that draw
    """

    batch: int
    layers: int
    tokens: int
    prompt: int
    budget: Ints
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Seen:
    """What reading the query at step t showed in one layer.

    alive [B, t+1] bool         entries held while it was read, its own included
    attention [B, t+1] float32  its softmax weights, mean over heads; 0 where nothing is held
    key [B, H_kv, d] float32    the key that it added
    margin [B, t+1] float32     smallest gate logit so far, nan where no gate has spoken
    What a policy does not name in ``needs`` is None.
    """

    alive: Bools
    attention: Floats | None = None
    key: Floats | None = None
    margin: Floats | None = None


@dataclass(frozen=True)
class Eviction:
    """What a run is asked to evict by: a policy's name, the entries that a layer may hold after
    each step (None for a policy without a budget), settings that differ from its defaults, and the
    token ids of an instruction for a policy that hears one."""

    policy: str
    budget: int | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    instruction: tuple[int, ...] = ()


class Rule(ABC):
    """A policy at work on B sequences in L layers. It keeps what it needs to remember."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def after(self, layer: int, step: int, seen: Seen) -> Bools:
        """[B, t+1] bool: the entries that the layer drops now. Called for every step in order."""

    def decides(self, step: int) -> bool:
        """Whether ``after`` can drop anything at this step: queries between two such steps may be
        read at once."""
        return True

    def asks(self, step: int) -> bool:
        """Whether the instruction is to be read on what is held just before this step."""
        return False

    def told(self, layer: int, step: int, alive: Bools, votes: Floats) -> Bools:
        """[B, t] bool: what the layer drops before step t, having read the instruction.

        alive [B, t] bool      entries held while it was read
        votes [B, t] float32   its attention to each, mean over its queries and over heads; the
                               softmax is over the instruction's own entries too
        """
        return np.zeros_like(alive)

    def over(self, layer: int, step: int, alive: Bools) -> Ints:
        """[B]: how many entries more than the budget are held."""
        over: Ints = np.maximum(alive.sum(axis=1) - self.setup.budget[layer, step], 0)
        return over

    def none(self, seen: Seen) -> Bools:
        return np.zeros_like(seen.alive)


@dataclass(frozen=True, eq=False)
class Policy:
    """One entry of the registry.

    title, paper   as figures and pages name it
    rule           what it keeps, in one line
    differs        where ours must differ from the published form, "" if nowhere
    settings       its knobs with the published defaults
    limits         the smallest and the largest value of each that is a number
    choices        the values of each that is one of a few words
    needs          what a reading must show it
    make           setup, settings -> a `Rule`
    least          settings, tokens -> the smallest budget that the rule can keep
    variants       settings that spend a budget in ways of their own: a comparison takes the best
    budgeted       whether a budget means anything to it
    instructed     whether an instruction "may" or "must" be given: the setting of that name
    """

    name: str
    title: str
    paper: str
    rule: str
    make: Callable[[Setup, Mapping[str, Any]], Rule]
    needs: frozenset[Need] = frozenset()
    differs: str = ""
    settings: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    least: Callable[[Mapping[str, Any], int], int] = lambda settings, tokens: 1
    budgeted: bool = True
    variants: tuple[Mapping[str, Value], ...] = (MappingProxyType({}),)
    instructed: Literal["no", "may", "must"] = "no"

    HEADS: ClassVar[str] = "the mean over heads decides, the same entries for all heads of a layer"

    def with_settings(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """The defaults with ``given`` in their place; RequestError names what is unknown."""
        found = dict(self.settings)
        for key, value in given.items():
            if key not in found:
                known = ", ".join(found) or "it has none"
                raise RequestError(f"{self.name} has no setting {key!r}; its settings: {known}")
            kind = type(found[key])
            try:
                if kind is str and not isinstance(value, str):
                    raise TypeError
                found[key] = kind(value)
            except (TypeError, ValueError, OverflowError):
                raise RequestError(
                    f"{self.name}: {key} must be a {_KINDS[kind]}, not {value!r}"
                ) from None
            low, high = self.limits.get(key, (-math.inf, math.inf))
            number = found[key]
            if not isinstance(number, str) and not low <= number <= high:
                raise RequestError(f"{self.name}: {key} must be from {low:g} to {high:g}")
            if key in self.choices and number not in self.choices[key]:
                words = " or ".join(self.choices[key])
                raise RequestError(f"{self.name}: {key} must be {words}, not {str(number)[:40]!r}")
        return found

    def hears(self, given: Mapping[str, Value]) -> bool:
        """Whether an instruction takes part. RequestError where one must, and there is none."""
        if self.instructed == "no":
            return False
        there = bool(str(given.get("instruction", "")).strip())
        if self.instructed == "must" and not there:
            raise RequestError(
                f"policy {self.name} keeps what an instruction asks for: give one, as the question "
                "to be answered"
            )
        return there

    def start(self, setup: Setup, given: Mapping[str, Value] | None = None) -> Rule:
        """The rule at work; RequestError for a wrong setting or a budget that it cannot keep."""
        settings = self.with_settings(given or {})
        self.hears(settings)
        least = self.least(settings, setup.tokens)
        smallest = int(setup.budget.min()) if setup.budget.size else least
        if self.budgeted and smallest < least:
            raise RequestError(
                f"{self.name} needs a budget of at least {least} entries a layer, not {smallest}"
            )
        return self.make(setup, settings)


_KINDS: dict[type, str] = {int: "whole number", float: "number", str: "text"}


def uniform_budget(entries: int, layers: int, tokens: int) -> Ints:
    """[L, T]: the same budget for every layer and step."""
    return np.full((layers, tokens), entries, dtype=np.int64)


def lowest(scores: npt.NDArray[Any], among: Bools, counts: Ints) -> Bools:
    """[B, n] bool: in each row the ``counts`` [B] entries of ``among`` with the lowest scores; the
    older of equals goes first.

    >>> lowest(np.array([[3.0, 1.0, 2.0]]), np.array([[True, False, True]]), np.array([1]))
    array([[False, False,  True]])
    """
    found = np.zeros_like(among)
    if not counts.any():
        return found
    ranked = np.where(among, scores, np.inf)
    if counts.max() == 1:
        rows = np.flatnonzero(counts)
        found[rows, ranked[rows].argmin(axis=1)] = True
    else:
        order = ranked.argsort(axis=1, kind="stable")
        chosen = np.arange(among.shape[1]) < counts[:, None]
        np.put_along_axis(found, order, chosen, axis=1)
    return found & among

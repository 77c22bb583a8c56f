"""What a run of the engine is asked to do, checked once, and what each of its steps says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from dcp.arguments import whole
from dcp.deaths import ForcedDeaths
from dcp.errors import RequestError
from dcp.model.config import ModelConfig, Sampling
from dcp.model.gate_config import GateConfig
from dcp.model.sequence_cache import CacheBytes, Drops
from dcp.policies.registry import policy_of
from dcp.policies.rule import Eviction
from dcp.progress import Cancel

__all__ = ["Memory", "Reading", "Request", "RowStep", "Start", "Step", "per_row"]

Finish = Literal["length", "stop"]


@dataclass(frozen=True, eq=False)
class Request:
    """A run of B rows; `dcp.engine.engine.Engine.run` says what each entry means."""

    prompts: tuple[tuple[int, ...], ...]
    new_tokens: tuple[int, ...]
    sampling: Sampling
    gate_shift: float
    stop_ids: frozenset[int]
    continuations: tuple[tuple[int, ...], ...]
    deaths: tuple[ForcedDeaths | None, ...]
    prune: bool
    chunk: int
    score_prompt: bool
    streams: tuple[int, ...]
    cancel: Cancel | None
    kv_dtype: torch.dtype
    eviction: Eviction | None = None

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row reaches at most, prompt included."""
        return [len(p) + new for p, new in zip(self.prompts, self.new_tokens, strict=True)]

    @property
    def gates_decide(self) -> bool:
        """Whether the gates speak, alone or inside of a policy that asks for their margins."""
        rule = self.eviction
        return self.prune and (rule is None or "margin" in policy_of(rule.policy).needs)

    def changed(self, gates: GateConfig | None) -> bool:
        """Whether weights are to be as they were trained beside ``gates``. Under a rule they are
        where it asks the gates, whose order is all that counts then."""
        if not self.gates_decide or self.eviction is not None:
            return self.gates_decide
        return gates is None or gates.changed_at(self.gate_shift)

    def check(self, config: ModelConfig) -> None:
        """Raises RequestError in one line for the first thing that does not fit the model."""
        if not self.prompts:
            raise RequestError("there is no prompt; give at least one")
        for name in ("new_tokens", "continuations", "deaths", "streams"):
            given = len(getattr(self, name))
            if given != len(self.prompts):
                raise RequestError(f"{name} has {given} entries for {len(self.prompts)} prompts")
        if self.chunk < 1:
            raise RequestError(f"chunk must be at least 1, not {self.chunk}")
        for prompt, new in zip(self.prompts, self.new_tokens, strict=True):
            _check_row(config, prompt, new)
        for ids in self.continuations:
            _check_ids(config, ids)
        if self.eviction is not None and self.eviction.instruction:
            _check_instruction(config, self.eviction.instruction, max(self.lengths))
        for orders in self.deaths:
            if orders is not None and len(orders.death) != config.layers:
                raise RequestError(
                    f"forced deaths have {len(orders.death)} layers, the model {config.layers}"
                )


def per_row(name: str, value: int | Iterable[int], batch: int) -> tuple[int, ...]:
    """One whole number for each of ``batch`` rows, from one for all or one per row."""
    if isinstance(value, Iterable):
        return tuple(whole(name, number) for number in value)
    return (whole(name, value),) * batch


def _check_row(config: ModelConfig, prompt: Sequence[int], new: int) -> None:
    if not prompt:
        raise RequestError("a prompt has no tokens; give at least one")
    if new < 0:
        raise RequestError(f"new tokens must be 0 or more, not {new}")
    if len(prompt) + new > config.context:
        raise RequestError(
            f"{len(prompt)} prompt tokens and {new} new ones do not fit "
            f"the model's context of {config.context}; shorten the text or ask for fewer"
        )
    _check_ids(config, prompt)


def _check_ids(config: ModelConfig, ids: Sequence[int]) -> None:
    if ids and not 0 <= min(ids) <= max(ids) < config.vocab:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise RequestError(f"token id {wrong} is not in the model's vocabulary of {config.vocab}")


def _check_instruction(config: ModelConfig, instruction: Sequence[int], length: int) -> None:
    """The instruction is read where a chunk begins, at the latest after the last token."""
    if length + len(instruction) > config.context:
        raise RequestError(
            f"an instruction of {len(instruction)} tokens after a text of {length} does not fit "
            f"the model's context of {config.context}; shorten one of them"
        )
    _check_ids(config, instruction)


@dataclass(frozen=True)
class Start:
    """Where each of B rows stands when the device takes over, and what it will do.

    tokens         [B] the last token of each row, not yet read
    positions      [B] its position
    wanted         [B] tokens still to draw; 0 for a row that has ended
    continuations  [B] tokens taken in place of those drawn, as far as they go
    streams        [B] names of the rows for sampling
    stop_ids       a row ends after it drew one of these
    """

    tokens: Sequence[int]
    positions: Sequence[int]
    wanted: Sequence[int]
    continuations: Sequence[Sequence[int]]
    streams: Sequence[int]
    stop_ids: Sequence[int]
    sampling: Sampling


@dataclass(frozen=True)
class Reading:
    """What one step on the device did: for each row that read a token, the token that followed, its
    log-prob and whether the row ends with it; and the step's own time (s)."""

    rows: list[int]
    tokens: list[int]
    scores: list[float]
    ended: list[bool]
    seconds: float


@dataclass(frozen=True)
class Memory(CacheBytes):
    """Cache bytes of one row, and ``dense``: keys and values of all its tokens so far, had none
    been dropped: 2 L T H_kv d times the width of a number in the cache."""

    dense: int


@dataclass(frozen=True, eq=False)
class RowStep:
    """What one step did to one row.

    tokens    [n] int32 ids that joined the row: a piece of its prompt, or the token just drawn
    logprobs  [n] float32 natural log of the model's own probability of each, given the pruned past
              and before temperature; nan for token 0, and for a prompt that is not scored
    drops     who died, in which layer, at which step
    queries   positions of the row that have been read so far
    finished  why the row ends here, or None while it goes on
    """

    row: int
    tokens: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    drops: Drops
    memory: Memory
    queries: int
    finished: Finish | None


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a batch: the rows it touched and its wall time (s).

    The first step of the phase ``generate`` draws from what the prompt left; it reads nothing.
    """

    phase: Literal["prompt", "generate"]
    rows: tuple[RowStep, ...]
    seconds: float

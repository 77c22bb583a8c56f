"""Speed and memory of a run, counted from the engine's steps. Knows no text and no trace."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from dcp.engine.engine import Memory, Step

__all__ = ["Counters", "Meter"]

# "Now" in tokens per second: the mean over this many steps.
_RECENT = 16


@dataclass(frozen=True)
class Counters:
    """A run at one moment. None where there is nothing to say yet.

    tokens, new_tokens       in all, and added by the model
    tokens_per_second_now    over the last 16 generated tokens, in the engine's own time
    tokens_per_second_mean   over all but the first one, which the prompt's pass had prepared
    time_to_first_token_s    from the start of reading to the first token drawn
    kv_bytes_live            keys and values that the model can still attend to
    kv_bytes_held            memory kept for them, gate keys and tables included
    kv_bytes_dense           keys and values of all tokens, had none been dropped
    process_bytes            resident memory of this process
    """

    tokens: int
    new_tokens: int
    tokens_per_second_now: float | None
    tokens_per_second_mean: float | None
    time_to_first_token_s: float | None
    kv_bytes_live: int
    kv_bytes_held: int
    kv_bytes_dense: int
    process_bytes: int


class Meter:
    """Counts one row's steps.

    seconds         of each generated token, in the engine's own time
    prompt_seconds  of reading the prompt
    memory, queries as of the last step
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.prompt_seconds = 0.0
        self.memory = Memory(0, 0, 0, 0)
        self.queries = 0
        self.time_to_first_token_s: float | None = None
        self._start = 0.0

    def start(self) -> None:
        """Set the clock of the first token."""
        self._start = time.perf_counter()

    def count(self, step: Step) -> None:
        """Take in one step of a batch of one."""
        row = step.rows[0]
        self.memory, self.queries = row.memory, row.queries
        if step.phase == "prompt":
            self.prompt_seconds += step.seconds
            return
        self.seconds.append(step.seconds)
        if self.time_to_first_token_s is None:
            self.time_to_first_token_s = time.perf_counter() - self._start

    def tokens_per_second(self) -> float | None:
        """The mean over all tokens but the first; of a single token, 1 / time to first token."""
        if len(self.seconds) > 1:
            return (len(self.seconds) - 1) / sum(self.seconds[1:])
        return 1 / self.time_to_first_token_s if self.time_to_first_token_s else None

    def counters(self, tokens: int) -> Counters:
        """Everything at this moment, of a run that is ``tokens`` long."""
        recent = self.seconds[1:][-_RECENT:]
        return Counters(
            tokens=tokens,
            new_tokens=len(self.seconds),
            tokens_per_second_now=len(recent) / sum(recent) if recent else None,
            tokens_per_second_mean=self.tokens_per_second(),
            time_to_first_token_s=self.time_to_first_token_s,
            kv_bytes_live=self.memory.live,
            kv_bytes_held=self.memory.held,
            kv_bytes_dense=self.memory.dense,
            process_bytes=int(psutil.Process().memory_info().rss),
        )

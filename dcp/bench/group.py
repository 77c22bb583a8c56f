"""Arms in a group: how a run of ours takes a step, and how times and bytes become a row.

Knows no checkpoint and no policy; `dcp.bench.arms` says which arms there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from dcp.bench.harness import Arm, take_turns
from dcp.bench.shapes import step_bytes
from dcp.engine.engine import Engine, Run, Step

__all__ = ["Member", "Ours", "Row", "Timing", "measure", "resident"]

_MEMORY = (
    *("kv_bytes_live", "kv_bytes_held", "kv_bytes_peak", "kv_bytes_dense"),
    "process_bytes_added",
)


@dataclass(frozen=True)
class Timing:
    """How long to measure: ``rounds`` turns of ``steps`` steps after ``warm_up`` untimed ones."""

    rounds: int = 12
    steps: int = 4
    warm_up: int = 4

    @property
    def total(self) -> int:
        """Steps that each arm takes."""
        return self.warm_up + self.rounds * self.steps


@dataclass(frozen=True)
class Row:
    """One arm. Times in ms a step: median and percentiles of rounds, then of single steps, with the
    longest step; tokens per second of the whole batch; bytes of all its rows, and of the weights.

    speedup is of tokens per second. byte_ceiling is the one that reading fewer bytes alone could
    give: what a token of the baseline must read over what one of this arm must. Context is that of
    the last step. budget_bytes: the cache that the batch was chosen to fit into, where it was.
    """

    arm: str
    model: str
    weights: str
    impl: str
    batch: int
    context: int
    ms_per_step: float
    ms_p20: float
    ms_p80: float
    ms_step_p50: float
    ms_step_p95: float
    ms_step_p99: float
    ms_longest_step: float
    tokens_per_second: float
    baseline: str | None
    speedup: float | None
    speedup_p20: float | None
    speedup_p80: float | None
    byte_ceiling: float | None
    kv_bytes_live: int | None
    kv_bytes_held: int | None
    kv_bytes_peak: int | None
    kv_bytes_dense: int | None
    process_bytes_added: int | None
    weights_bytes: int | None
    threads: int
    torch: str
    budget_bytes: int | None = None


class Ours:
    """A run of the engine, its prompts read and a first token drawn; ``step`` is a decode step."""

    def __init__(self, run: Run, engine: Engine, gates: bool, before: int | None = None) -> None:
        """``before``: bytes of the process before the run was made, those of now by default."""
        before = resident() if before is None else before
        self.engine, self._gates, self._run = engine, gates, run
        while self.step().phase == "prompt":
            pass
        self._added = resident() - before

    def step(self) -> Step:
        self._last = next(self._run)
        return self._last

    def memory(self) -> dict[str, int]:
        """Cache bytes of all rows after the last step; process bytes since before the prompt."""
        parts = [part.memory for part in self._last.rows]
        return {
            "kv_bytes_live": sum(part.live for part in parts),
            "kv_bytes_held": sum(part.held for part in parts),
            "kv_bytes_peak": sum(part.peak for part in parts),
            "kv_bytes_dense": sum(part.dense for part in parts),
            "process_bytes_added": self._added,
        }

    def weights_bytes(self) -> int:
        """Bytes of all parameters and buffers of the model, each counted once."""
        transformer = self.engine.model.transformer
        each = {t.data_ptr(): t for t in (*transformer.parameters(), *transformer.buffers())}
        return sum(t.numel() * t.element_size() for t in each.values())

    def bytes_read(self, weights: str) -> float:
        """What a step like the last one must read."""
        model, live = self.engine.model, self.memory()["kv_bytes_live"]
        kept = self._run.request.kv_dtype
        return step_bytes(model, weights, live, gates=self._gates, kept=kept)


def resident() -> int:
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Member:
    """An arm of a group: its kind of weights, who runs it, how many rows at once, and its run where
    that is counted."""

    arm: Arm
    weights: str
    impl: str
    ours: Ours | None = None
    batch: int = 1


def measure(
    members: Sequence[Member],
    model: str,
    context: int,
    timing: Timing,
    budget_bytes: int | None = None,
) -> list[Row]:
    """One row per member. All take the same number of steps in turn, whatever their batches."""
    turns = take_turns(
        [member.arm for member in members],
        rounds=timing.rounds,
        steps=timing.steps,
        warm_up=timing.warm_up,
    )
    batch = {m.arm.name: m.batch for m in members}
    read = {m.arm.name: m.ours.bytes_read(m.weights) / m.batch for m in members if m.ours}
    rows = []
    for member, result in zip(members, turns, strict=True):
        name, against = result.name, result.baseline or ""
        memory = member.ours.memory() if member.ours else dict.fromkeys(_MEMORY)
        ceiling = read[against] / read[name] if {name, against} <= read.keys() else None
        more = member.batch / batch.get(against, member.batch)
        faster = [
            None if ratio is None else more * ratio
            for ratio in (result.speedup, result.speedup_p20, result.speedup_p80)
        ]
        rows.append(
            Row(
                arm=name,
                model=model,
                weights=member.weights,
                impl=member.impl,
                batch=member.batch,
                context=context,
                ms_per_step=result.ms,
                ms_p20=result.ms_p20,
                ms_p80=result.ms_p80,
                ms_step_p50=result.p50,
                ms_step_p95=result.p95,
                ms_step_p99=result.p99,
                ms_longest_step=result.longest,
                tokens_per_second=member.batch * 1e3 / result.ms,
                baseline=result.baseline,
                speedup=faster[0],
                speedup_p20=faster[1],
                speedup_p80=faster[2],
                byte_ceiling=ceiling,
                **memory,
                weights_bytes=member.ours.weights_bytes() if member.ours else None,
                threads=torch.get_num_threads(),
                torch=str(torch.__version__),
                budget_bytes=budget_bytes,
            )
        )
    return rows

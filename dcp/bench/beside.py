"""What a text costs on this machine: its tokens read step by step, pruned beside dense.

The arms of `dcp.stats.cost.ARMS` read the same tokens in the same process with the same kernels,
one step each in turn and in a rotating order, so that all of them see the same machine. A round is
one whole reading; a first, shorter one warms up and is not counted. Knows no page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dcp import __version__
from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine, Run, Step
from dcp.errors import RequestError
from dcp.kernels.row_bytes import entry_bytes, gate_key_bytes
from dcp.model.config import Sampling
from dcp.model.kv_rows import kv_dtype_of
from dcp.model.registry import OpenModel
from dcp.progress import Cancel, Progress, silent
from dcp.runs.machine import machine
from dcp.stats.cost import ARMS, Measured
from dcp.trace import Trace

__all__ = ["SHORTEST", "measure"]

SHORTEST = 8
"""Tokens that a text must have: fewer steps say nothing."""

_WARM_UP = 32


def measure(
    model: OpenModel,
    trace: Trace,
    *,
    rounds: int = 5,
    impl: str = "auto",
    progress: Progress = silent,
    cancel: Cancel | None = None,
) -> Iterator[Measured]:
    """Read the tokens of ``trace`` from the first to the last, ``rounds`` times with every arm.

    Gives what is known after every round; the last is the result. ``progress`` hears at most ten
    times a second; ``cancel`` is asked between steps and ends with the rounds that are complete.
    Raises RequestError, before anything is read, where the trace is of another model or too short.
    """
    loaded = model.loaded
    if trace.meta.weights_sha256 != loaded.weights_sha256:
        raise RequestError(
            f"this run is by other weights than those of {model.info.name} here: "
            "generate it anew with this model, then measure"
        )
    if trace.tokens < SHORTEST:
        raise RequestError(f"the run has {trace.tokens} tokens; measuring takes {SHORTEST} or more")
    if loaded.gates is None:
        raise RequestError("this model has no gates: there is nothing to compare")
    return _rounds(_Arms(Engine(loaded, impl), trace), rounds, progress, cancel)


def _rounds(
    arms: _Arms, rounds: int, progress: Progress, cancel: Cancel | None
) -> Iterator[Measured]:
    steps = arms.trace.tokens - 2
    warm_up = min(steps, _WARM_UP)
    total, done, last = warm_up + rounds * steps, 0, 0.0
    seconds: list[Mapping[str, list[float]]] = []
    for turn in range(-1, rounds):
        times: dict[str, list[float]] = {arm: [] for arm in ARMS}
        sizes: dict[str, list[tuple[int, int, int]]] = {arm: [] for arm in ARMS}
        name = "Warming up" if turn < 0 else f"Round {turn + 1} of {rounds}"
        runs = arms.runs()
        for i, parts in enumerate(arms.turns(runs, turn)):
            if cancel is not None and cancel():
                return
            for arm, step in parts.items():
                memory = step.rows[0].memory
                times[arm].append(step.seconds)
                sizes[arm].append((memory.held, memory.live, memory.peak))
            done += 1
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                progress(done / total, f"{name}: token {i + 2} of {steps + 2}.")
            if turn < 0 and i + 1 == warm_up:
                break
        if turn >= 0:
            seconds.append(times)
            yield arms.result(seconds, sizes, arms.differs(runs["pruned"]))


class _Arms:
    """The tokens of one trace and the engine that reads them."""

    def __init__(self, engine: Engine, trace: Trace) -> None:
        self.engine, self.trace = engine, trace
        self.ids = trace.token_ids.tolist()
        self.keep = ForcedDeaths(np.full((trace.layers, trace.tokens), ALIVE, np.int32))

    def runs(self) -> dict[str, Run]:
        """One run per arm, each having read the first token."""
        orders: dict[str, dict[str, Any]] = {
            "pruned": {},
            "kept": {"deaths": [self.keep]},
            "dense": {"prune": False},
        }
        runs = {
            arm: self.engine.run(
                [self.ids[:1]],
                new_tokens=len(self.ids) - 1,
                continuations=[self.ids[1:]],
                sampling=Sampling(temperature=0),
                gate_shift=self.trace.meta.gate_shift,
                score_prompt=False,
                kv_dtype=self.trace.meta.kv_dtype,
                **more,
            )
            for arm, more in orders.items()
        }
        for run in runs.values():
            # The prompt of one token, and the step that draws from what it left.
            next(run)
            next(run)
        return runs

    def turns(self, runs: Mapping[str, Run], turn: int) -> Iterator[dict[str, Step]]:
        """One step of every arm at a time; who goes first rotates."""
        for i in range(len(self.ids) - 2):
            order = [ARMS[(turn + i + shift) % len(ARMS)] for shift in range(len(ARMS))]
            yield {arm: next(runs[arm]) for arm in order}

    def differs(self, run: Run) -> int:
        """Entries whose death is not that of the trace; a query that was not read here is left."""
        last = len(self.ids) - 2
        ours, theirs = run.lives(0)[0], self.trace.death
        return int((ours != np.where(theirs > last, ALIVE, theirs)).sum())

    def result(
        self,
        seconds: list[Mapping[str, list[float]]],
        sizes: Mapping[str, list[tuple[int, int, int]]],
        differs: int,
    ) -> Measured:
        table = {arm: np.array(sizes[arm], np.int64) for arm in ARMS}
        loaded = self.engine.model
        kept = kv_dtype_of(self.trace.meta.kv_dtype, loaded.dtype)
        entry = entry_bytes(loaded.config.kv_heads, loaded.config.head_dim, kept)
        tensors = [*loaded.transformer.parameters(), *loaded.transformer.buffers()]
        return Measured(
            context=np.arange(2, len(self.ids), dtype=np.int64),
            seconds={arm: np.array([one[arm] for one in seconds]) for arm in ARMS},
            held={arm: table[arm][:, 0] for arm in ARMS},
            live={arm: table[arm][:, 1] for arm in ARMS},
            peak={arm: int(table[arm][:, 2].max()) for arm in ARMS},
            weights=sum(t.numel() * t.element_size() for t in tensors),
            gate_share=gate_key_bytes(loaded.gates.interaction) / entry if loaded.gates else 0.0,
            differs=differs,
            about={
                "model": loaded.name,
                "weights_sha256": loaded.weights_sha256,
                "gate_shift": self.trace.meta.gate_shift,
                "hardware": machine(self.engine.device),
                "impl": self.engine.impl,
                "device": self.engine.device.type,
                "dtype": str(loaded.dtype).removeprefix("torch."),
                "kv_dtype": self.trace.meta.kv_dtype,
                "threads": torch.get_num_threads(),
                "date": time.strftime("%Y-%m-%d"),
                "versions": {"dcp": __version__, "torch": str(torch.__version__)},
            },
        )

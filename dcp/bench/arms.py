"""What is measured: decode steps of `transformers`, of our dense path, and with tokens dropped.

Synthetic drops are scattered: of all tokens a share dies, each within 32 steps of its birth,
whatever its gate says. The gates are scored all the same, so the arm with 0 % shows what pruning
costs where it saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from dcp.bench.harness import Arm, take_turns
from dcp.bench.shapes import step_bytes
from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine, Run, Step
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel
from dcp.model.weights import load
from dcp.progress import Progress, in_parts, silent
from dcp.runs.recorder import Recorder
from dcp.runs.request import TextRequest

__all__ = ["Plan", "Row", "decode_group", "model_group", "scattered"]

_MEMORY = (
    *("kv_bytes_live", "kv_bytes_held", "kv_bytes_peak", "kv_bytes_dense"),
    "process_bytes_added",
)
RIVAL = "transformers SDPA float32"
_LAG = 32
_GREEDY = Sampling(temperature=0)


@dataclass(frozen=True)
class Plan:
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
    """One arm. Times in ms a step; tokens per second of the whole batch; bytes of all its rows.

    byte_ceiling is the speed-up that reading fewer bytes alone could give: what a step of the
    baseline must read over what a step of this arm must. Context is that of the last step.
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
    threads: int
    torch: str


def scattered(layers: int, tokens: int, share: float, seed: int = 0) -> ForcedDeaths:
    """Orders [layers, tokens]: ``share`` of the tokens die 1 to 32 steps after their birth."""
    rng = np.random.default_rng(seed)
    death = np.arange(tokens) + rng.integers(1, _LAG + 1, (layers, tokens))
    dies = rng.random((layers, tokens)) < share
    return ForcedDeaths(np.where(dies, death, ALIVE).astype(np.int32))


def decode_group(
    folder: Path,
    *,
    batch: int,
    context: int,
    dropped: Sequence[float],
    weights: Sequence[str],
    plan: Plan,
    impl: str = "auto",
    rival: bool = True,
    progress: Progress = silent,
) -> list[Row]:
    """Decode steps up to ``context`` on a checkpoint, ``batch`` rows at once.

    For each kind of ``weights`` ("float32", "bfloat16", "int8", "int4"): a dense arm, and one for each
    share in ``dropped``. ``rival`` adds `transformers` in float32. Dense arms are measured against
    the first arm of all, pruned arms against their own dense arm.
    """
    start = context - plan.total - 1
    if start < 1:
        raise RequestError(f"context {context} is too short to measure {plan.total} steps")
    ids = np.random.default_rng(1).integers(0, 256, (batch, start)).tolist()
    members: list[_Member] = []
    begin = in_parts(progress, rival + len(weights) * (1 + len(dropped)) + 1)
    if rival:
        begin(f"{RIVAL}: reading {batch} x {start} tokens")
        members.append(_Member(Arm(RIVAL, _rival(folder, ids)), "float32"))
    for kind in weights:
        model = load(folder, getattr(torch, kind))
        engine = Engine(model, impl)
        dense, first = f"dense {kind}", members[0].arm.name if members else None
        for share in (None, *dropped):
            name = dense if share is None else f"{share:.0%} dropped {kind}"
            begin(f"{name}: reading {batch} x {start} tokens")
            orders = [scattered(model.config.layers, context, share or 0.0)] * batch
            run = engine.run(
                ids,
                new_tokens=plan.total + 1,
                sampling=_GREEDY,
                deaths=None if share is None else orders,
                prune=share is not None,
                score_prompt=False,
            )
            ours = _Ours(run, engine, gates=share is not None)
            against = first if share is None else dense
            members.append(_Member(Arm(name, ours.step, against), kind, ours))
    begin(f"batch {batch}, context {context}: {len(members)} arms take turns")
    return _measure(members, folder.name, batch, context, plan)


def model_group(
    model: OpenModel, text: str, plan: Plan, impl: str = "auto", progress: Progress = silent
) -> list[Row]:
    """A real model with its own gates at batch 1: dense, pruned, and pruned while recorded.

    ``text`` is shortened so that it and the steps fit into the context.
    """
    new = plan.total + 1
    if model.info.context <= new:
        raise RequestError(f"context {model.info.context} is too short to measure {new} steps")
    prompt = model.tokenizer.encode(text).truncate(model.info.context - new, "first")
    engine, ids = Engine(model.loaded, impl), [prompt.ids.tolist()]
    begin = in_parts(progress, 2)
    begin(f"{model.info.name}: reading {len(prompt)} tokens")
    dense = _Ours(engine.run(ids, new_tokens=new, sampling=_GREEDY, prune=False), engine, False)
    pruned = _Ours(engine.run(ids, new_tokens=new, sampling=_GREEDY), engine, True)
    request = TextRequest(prompt.text, model=model, new_tokens=new, temperature=0, impl=impl)
    recorder = Recorder.begin(request)
    steps = iter(recorder)
    while recorder.counters().new_tokens == 0:
        next(steps)
    members = [
        _Member(Arm("dense", dense.step), model.dtype, dense),
        _Member(Arm("own gates", pruned.step, "dense"), model.dtype, pruned),
        _Member(Arm("own gates, recorded", lambda: next(steps), "own gates"), model.dtype),
    ]
    begin(f"{model.info.name}: {len(members)} arms take turns")
    return _measure(members, model.info.name, 1, len(prompt) + new, plan)


class _Ours:
    """A run of the engine, its prompts read and a first token drawn; ``step`` is a decode step."""

    def __init__(self, run: Run, engine: Engine, gates: bool) -> None:
        before = psutil.Process().memory_info().rss
        self.engine, self._gates, self._run = engine, gates, run
        while self.step().phase == "prompt":
            pass
        self._added = psutil.Process().memory_info().rss - before

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

    def bytes_read(self, weights: str) -> float:
        """What a step like the last one must read."""
        model, live = self.engine.model, self.memory()["kv_bytes_live"]
        return step_bytes(model, weights, live, gates=self._gates)


@dataclass(frozen=True)
class _Member:
    """An arm of a group, its kind of weights, and the run behind it if it is ours."""

    arm: Arm
    weights: str
    ours: _Ours | None = None


def _measure(
    members: Sequence[_Member], model: str, batch: int, context: int, plan: Plan
) -> list[Row]:
    turns = take_turns(
        [member.arm for member in members],
        rounds=plan.rounds,
        steps=plan.steps,
        warm_up=plan.warm_up,
    )
    read = {m.arm.name: m.ours.bytes_read(m.weights) for m in members if m.ours}
    rows = []
    for member, result in zip(members, turns, strict=True):
        name, against = result.name, result.baseline or ""
        memory = member.ours.memory() if member.ours else dict.fromkeys(_MEMORY)
        ceiling = read[against] / read[name] if {name, against} <= read.keys() else None
        rows.append(
            Row(
                arm=name,
                model=model,
                weights=member.weights,
                impl=member.ours.engine.impl if member.ours else "transformers",
                batch=batch,
                context=context,
                ms_per_step=result.ms,
                ms_p20=result.ms_p20,
                ms_p80=result.ms_p80,
                tokens_per_second=batch * 1e3 / result.ms,
                baseline=result.baseline,
                speedup=result.speedup,
                speedup_p20=result.speedup_p20,
                speedup_p80=result.speedup_p80,
                byte_ceiling=ceiling,
                **memory,
                threads=torch.get_num_threads(),
                torch=str(torch.__version__),
            )
        )
    return rows


def _rival(folder: Path, ids: Sequence[Sequence[int]]) -> Callable[[], None]:
    """A greedy decode step of ``transformers`` with SDPA and its own cache, the prompt read."""
    from transformers import AutoModelForCausalLM, DynamicCache
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    cache = DynamicCache(config=model.config)
    newest = torch.tensor(ids)

    @torch.inference_mode()
    def step() -> None:
        nonlocal newest
        out = model(newest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        newest = out.logits[:, -1].argmax(dim=-1, keepdim=True)

    step()
    return step

"""What training costs as windows grow: dense beside soft and hard gates, seconds and bytes a token.

    python -m benchmarks.training_cost > training.json
    dcp figure --kind training --results training.json --out training.pdf

Forward and backward of dcp-mini's shape and weights on one window of real text, its context made
longer where it must be: of one layer's attention, and of a whole step (no optimiser, which is the
same for all). The arms take turns in one process; the most memory is that of a process of its own
(Linux), its largest resident size less that before. Hard gates are those that the shipped models
were trained with; `dcp.kernels.training` says what each computes. JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, get_args

import torch

from dcp.bench.group import resident
from dcp.bench.harness import Arm, take_turns
from dcp.kernels.training.api import Heads, Way, attention
from dcp.model.registry import OpenModel, open_model
from dcp.model.transformer import Transformer
from dcp.resources import asset
from dcp.runs.machine import machine
from dcp.trace import Trace
from dcp.train.objective import (
    CausalAttend,
    HardGateAttend,
    SoftGateAttend,
    language_model_loss,
)

WAYS: tuple[Way, ...] = get_args(Way)
NAMES = {"causal": "dense", "soft": "soft gates", "hard": "hard gates"}
PARTS = ("attention", "step")
_ALPHA, _GAMMA, _DEPTH = 4.0, 0.1, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dcp-mini")
    parser.add_argument("--length", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=WAYS, help="this arm's memory, in this process")
    args = parser.parse_args()
    model = open_model(args.model)
    if args.alone:
        print(json.dumps(_memory(model, args.alone, args.length[0])))
        return
    rows = []
    for length in args.length:
        peaks = {way: _elsewhere(args.model, way, length) for way in WAYS}
        for part in PARTS:
            works = {way: _work(model, way, part, length) for way in WAYS}
            rows += _rows(works, part, length, args.rounds, {w: peaks[w][part] for w in WAYS})
        print(f"training_cost: {length} tokens measured", file=sys.stderr)
    about = {
        "model": args.model,
        "weights_sha256": model.loaded.weights_sha256,
        "threads": torch.get_num_threads(),
        "hardware": machine(torch.device("cpu")),
    }
    print(json.dumps([about | row for row in rows], indent=1))


def _rows(
    works: dict[Way, Callable[[], None]], part: str, length: int, rounds: int,
    peaks: dict[Way, int],
) -> list[dict[str, Any]]:  # fmt: skip
    arms = [Arm(NAMES[way], work, NAMES["causal"]) for way, work in works.items()]
    found = take_turns(arms, rounds=rounds, steps=1, warm_up=1)
    return [
        {
            "arm": turns.name,
            "part": part,
            "length": length,
            "ms": turns.ms,
            "ms_p20": turns.ms_p20,
            "ms_p80": turns.ms_p80,
            "ms_per_token": turns.ms / length,
            "over_dense": 1 / turns.speedup if turns.speedup else None,
            "peak_bytes": peak,
            "peak_bytes_per_token": peak / length,
        }
        for turns, peak in zip(found, peaks.values(), strict=True)
    ]


def _work(model: OpenModel, way: Way, part: str, length: int) -> Callable[[], None]:
    """Forward and backward of ``part`` on a window of ``length`` tokens."""
    made = _longer(model, length)
    ids = torch.tensor([_text(length + 1)])
    if part == "step":
        return partial(_step, made, way, ids)
    seen: list[Any] = []

    def watch(layer: int, q: torch.Tensor, *more: Any) -> torch.Tensor:
        if layer == made.config.layers // 2:
            seen[:] = [q, *more]
        return CausalAttend(_compute(made, "causal"))(layer, q, *more)

    with torch.no_grad():
        made(ids[:, :-1], torch.arange(length)[None], watch, headless=True)
    return partial(_attention, made, way, *seen)


def _longer(model: OpenModel, length: int) -> Transformer:
    """The model's weights, ready to learn, in a context of at least ``length``."""
    config, gates = model.loaded.config, model.loaded.gates
    assert gates is not None
    config = replace(config, context=max(config.context, length))
    made = Transformer(config, gates.interaction)
    made.load_state_dict(model.loaded.transformer.state_dict())
    return made.train()


def _text(tokens: int) -> Sequence[int]:
    """Ids of the bundled runs' texts, one after another and again from the first."""
    files = sorted(asset("traces").glob("heldout-*.safetensors"))
    ids = [i for file in files for i in Trace.load(file).token_ids.tolist()]
    return list(islice(cycle(ids), tokens))


def _compute(made: Transformer, way: Way) -> Callable[..., Any]:
    return attention(way, "auto", Heads(made.config.head_dim)).compute


def _attend(made: Transformer, way: Way, length: int) -> Any:
    compute, real = _compute(made, way), torch.ones(1, length, dtype=torch.bool)
    if way == "soft":
        return SoftGateAttend(compute, _ALPHA, real)
    if way == "hard":
        return HardGateAttend(compute, real, torch.zeros(1), _DEPTH)
    return CausalAttend(compute)


def _paid(attend: Any) -> torch.Tensor:
    kept = getattr(attend, "kept", [])
    return _GAMMA * torch.stack(kept).mean() if kept else torch.zeros(())


def _step(made: Transformer, way: Way, ids: torch.Tensor) -> None:
    length = ids.shape[1] - 1
    attend = _attend(made, way, length)
    logits = made(ids[:, :-1], torch.arange(length)[None], attend, gated=way != "causal")
    loss = language_model_loss(logits, ids[:, 1:]) + _paid(attend)
    torch.autograd.backward(loss)
    made.zero_grad(set_to_none=True)


def _attention(
    made: Transformer, way: Way, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gates: Any
) -> None:
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    names = ("q_int", "k_int", "beta")
    learn = {name: getattr(gates, name).detach().requires_grad_() for name in names}
    attend = _attend(made, way, q.shape[1])
    out = attend(0, q, k, v, None if way == "causal" else replace(gates, **learn))
    torch.autograd.backward(out.sum() + _paid(attend))


def _memory(model: OpenModel, way: Way, length: int) -> dict[str, int]:
    """The most that each part takes (bytes)."""
    found = {}
    for part in PARTS:
        work = _work(model, way, part, length)
        before = resident()
        # The kernel's own mark of the largest size begins anew.
        Path("/proc/self/clear_refs").write_text("5")
        work()
        (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        found[part] = int(peak) * 1024 - before
    return found


def _elsewhere(model: str, way: Way, length: int) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.training_cost", "--model", model]
    command += ["--length", str(length), "--alone", way]
    # Each tensor of 64 KiB or more is asked of the system and given back, so that none hides in
    # what the allocator kept.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    alone: dict[str, int] = json.loads(done.stdout)
    return alone


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

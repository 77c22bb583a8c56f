"""Time to the first token of long prompts, and the memory it takes: dense beside gated and pruned.

    python -m benchmarks.prompts --model smollm2-135m --context 1024 4096 8192
    python -m benchmarks.prompts --model smollm2-135m --context 8192 --memory

The arms read one text in chunks of 128, a chunk each in turn and in a rotating order, and draw a
token where a context ends. Seconds are of the thread that works (use one thread). With ``--memory``
each arm reads alone in a process of its own, whose largest resident size is told. JSON on stdout;
the first of ``--arms`` is what the others are compared with.

dense        the gates off; gates open: they are scored and drop nothing (a gate shift of 10^6)
own gates    the checkpoint's own; 80 % dropped: scattered by order, the gates scored all the same
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dcp.bench.arms import scattered
from dcp.bench.group import resident
from dcp.engine.engine import Engine
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel, open_model

ARMS = ("dense", "gates open", "own gates", "80 % dropped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--context", type=int, nargs="+", default=[1024, 4096, 8192])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--alone", choices=ARMS, help="this arm's memory, in this process")
    args = parser.parse_args()
    if args.memory:
        print(json.dumps([_elsewhere(args, arm) for arm in args.arms], indent=1))
        return
    model = open_model(args.model, args.dtype)
    if args.alone:
        print(json.dumps(_memory(model, args.alone, max(args.context))))
        return
    print(json.dumps(_times(model, sorted(args.context), args.arms), indent=1))


def _reading(model: OpenModel, arm: str, tokens: int) -> Iterator[Any]:
    """The steps of a prompt of ``tokens`` and of one new token."""
    config = model.loaded.config
    ids = np.random.default_rng(3).integers(0, config.vocab, tokens).tolist()
    options: dict[str, Any] = {"prune": arm != "dense"}
    if arm == "gates open":
        options["gate_shift"] = 1e6
    if arm == "80 % dropped":
        options["deaths"] = [scattered(config.layers, tokens + 1, 0.8)]
    return Engine(model.loaded).run(
        [ids], new_tokens=1, sampling=Sampling(temperature=0), score_prompt=False, **options
    )


def _times(model: OpenModel, contexts: list[int], arms: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for context in contexts:
        seconds = dict.fromkeys(arms, 0.0)
        runs = {arm: _reading(model, arm, context - 1) for arm in arms}
        last: dict[str, Any] = {}
        for turn in range(-(-(context - 1) // 128) + 1):
            for i in range(len(arms)):
                arm = arms[(turn + i) % len(arms)]
                start = time.thread_time()
                last[arm] = next(runs[arm])
                seconds[arm] += time.thread_time() - start
        memory = {arm: step.rows[0].memory for arm, step in last.items()}
        found += [
            {
                "model": model.info.name,
                "dtype": model.dtype,
                "context": context,
                "arm": arm,
                "seconds": seconds[arm],
                "over_first": seconds[arm] / seconds[arms[0]],
                "kv_bytes_live": memory[arm].live,
                "kv_bytes_peak": memory[arm].peak,
                "kv_bytes_dense": memory[arm].dense,
                "peak_over_first": memory[arm].peak / memory[arms[0]].peak,
            }
            for arm in arms
        ]
    return found


def _memory(model: OpenModel, arm: str, context: int) -> dict[str, Any]:
    before = resident()
    steps = list(_reading(model, arm, context - 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "model": model.info.name,
        "dtype": model.dtype,
        "context": context,
        "arm": arm,
        "process_bytes_before": before,
        "process_bytes_peak": peak,
        "kv_bytes_peak": steps[-1].rows[0].memory.peak,
    }


def _elsewhere(args: argparse.Namespace, arm: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.prompts", "--model", args.model]
    command += ["--dtype", args.dtype, "--context", str(max(args.context)), "--alone", arm]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone: dict[str, Any] = json.loads(done.stdout)
    return alone


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

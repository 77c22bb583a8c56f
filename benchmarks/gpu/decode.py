"""Decoding on a GPU: step times of our pruned and dense paths, and of transformers.

    python -m benchmarks.gpu.decode gpt2-medium | llama-1b | transformers

Our arms share kernels, pool and graph; they take turns, one step each, wherever all fit the card.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import common
from benchmarks.gpu.common import CUDA, HALF, Report, Shape, spread
from dcp.config import Sampling
from dcp.engine_graph import DecodeGraph

DROPS = (0.0, 0.5, 0.8, 0.95)
CONTEXTS, BATCHES = (1024, 4096, 16384), (1, 16, 64)
STEPS, MEASURED = 64, 40
# Bytes of the card that the arms of one cell may take together.
ROOM = 110e9


def arm(shape: Shape, batch: int, context: int, dropped: float | None) -> tuple[DecodeGraph, int]:
    """A graph ready to replay, and the bytes its step must read; ``dropped`` None is dense."""
    gated = dropped is not None
    model = common.build(shape, gated)
    attention = common.filled(shape, batch, context, dropped or 0.0, STEPS, gated)
    graph = DecodeGraph(
        model, attention, torch.zeros(batch, dtype=torch.int64, device=CUDA),
        torch.full((batch,), context, device=CUDA), Sampling(), STEPS,
        [0.0] * shape.config.layers,
    )  # fmt: skip
    ceiling = common.bytes_of_a_step(model, attention)
    graph.run(8)
    return graph, ceiling


def cell(report: Report, make: Callable[[int], Shape], batch: int, context: int) -> None:
    shape = make(context + STEPS)
    c = shape.config
    dense_bytes = 2 * c.layers * c.kv_heads * c.head_dim * 2 * batch * context
    together = 3.2 * dense_bytes < ROOM
    label = {"model": shape.name, "batch": batch, "context": context, "in_turns": together}
    arms: list[float | None] = [None, *DROPS]
    groups = [arms] if together else [[one] for one in arms]
    for group in groups:
        if report.time_is_up:
            report.add(**label, arms=group, skipped="the part's time was up")
            continue
        made = {dropped: arm(shape, batch, context, dropped) for dropped in group}
        seconds: dict[float | None, list[float]] = {dropped: [] for dropped in group}
        for _ in range(MEASURED):
            for dropped, (graph, _) in made.items():
                seconds[dropped].append(common.timed(graph.step, 1, 0)["median"])
        for dropped, (_, ceiling) in made.items():
            step = spread(seconds[dropped])
            report.add(
                **label, arm="dense" if dropped is None else "pruned", dropped=dropped,
                seconds=step, tokens_per_second=batch / step["median"], step_bytes=ceiling,
                bytes_per_second=ceiling / step["median"],
            )  # fmt: skip
        del made
        torch.cuda.empty_cache()


def launches(report: Report, make: Callable[[int], Shape]) -> None:
    """What the host does in one step: launches of graphs and kernels, waits for the device."""
    graph, _ = arm(make(1024 + STEPS), 16, 1024, 0.8)
    torch.cuda.synchronize()
    with torch.profiler.profile() as profile:
        for _ in range(4):
            graph.step()
    calls = {e.key: e.count for e in profile.key_averages() if e.key.startswith("cuda")}
    report.add(model=make(64).name, arm="host calls of 4 steps", calls=calls)


def capacity(report: Report, make: Callable[[int], Shape], context: int = 4096) -> None:
    """Sequences of ``context`` tokens that 8 GB hold, tables and gate keys counted."""
    shape = make(context + STEPS)
    fits = {}
    for dropped in (None, 0.5, 0.8, 0.95):
        gated = dropped is not None
        attention = common.filled(shape, 2, context, dropped or 0.0, STEPS, gated)
        held = attention.memory(0).held
        fits["dense" if dropped is None else str(dropped)] = int(8e9 // held)
    report.add(model=shape.name, context=context, budget_bytes=8e9, sequences=fits)


def transformers_arm(shape: Shape, batch: int, context: int) -> dict[str, Any]:
    """A step of transformers: SDPA, static cache, compiled with CUDA graphs."""
    import transformers as hf

    c = shape.config
    if c.architecture == "gpt2":
        config: Any = hf.GPT2Config(
            vocab_size=c.vocab, n_positions=c.context, n_embd=c.width, n_layer=c.layers,
            n_head=c.heads,
        )  # fmt: skip
    else:
        config = hf.LlamaConfig(
            vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.ffn,
            num_hidden_layers=c.layers, num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
            max_position_embeddings=c.context, tie_word_embeddings=True,
        )  # fmt: skip
    with torch.device(CUDA):
        model = hf.AutoModelForCausalLM.from_config(config, dtype=HALF, attn_implementation="sdpa")
    model = model.eval().requires_grad_(False)
    cache = hf.StaticCache(config=config, max_cache_len=context + STEPS)
    ids = torch.zeros(batch, 1, dtype=torch.int64, device=CUDA)
    at = torch.full((1,), context, device=CUDA)
    compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)

    def step() -> None:
        with torch.inference_mode():
            compiled(
                ids, past_key_values=cache, cache_position=at, position_ids=at[None], use_cache=True
            )

    step_time = common.timed(step, MEASURED, warm_up=8)
    return {"seconds": step_time, "tokens_per_second": batch / step_time["median"]}


def main() -> None:
    makers = {"gpt2-medium": common.gpt2_medium, "llama-1b": common.llama_1b}
    which = sys.argv[1]
    report = Report(f"decode-{which}")
    if which == "transformers":
        for make in makers.values():
            for context, batch in ((4096, 64), (4096, 1), (1024, 16), (16384, 16)):
                shape = make(context + STEPS)
                label = {"model": shape.name, "batch": batch, "context": context,
                         "arm": "transformers SDPA, static cache, compiled"}  # fmt: skip
                report.attempt(label, partial(transformers_arm, shape, batch, context))
        return
    make = makers[which]
    report.add(copy_bytes_per_second=common.copy_bandwidth())
    launches(report, make)
    capacity(report, make)
    for context, batch in sorted(
        ((n, b) for n in CONTEXTS for b in BATCHES), key=lambda nb: (nb != (4096, 64), nb)
    ):
        cell(report, make, batch, context)


if __name__ == "__main__":
    main()

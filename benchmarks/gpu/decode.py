"""Decoding on a GPU: step times of our pruned and dense paths, and of transformers.

    python -m benchmarks.gpu.decode gpt2-medium | llama-1b | smollm2-135m | transformers

Our arms share kernels, pool and graph; they take turns, one step each, wherever all fit the card.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import common, models
from benchmarks.gpu.common import DEVICE, HALF, REHEARSAL, Report, sized
from benchmarks.gpu.models import Shape
from dcp.engine.graph import DecodeGraph
from dcp.engine.request import Start
from dcp.model.config import Sampling

DROPS = sized((0.0, 0.5, 0.8, 0.95), (0.0, 0.8))
STEPS, MEASURED, WARM_UP = sized(64, 8), sized(40, 1), sized(8, 1)
# The cell that the claims are about comes first; batch 1 has more contexts, for the crossover.
CELLS = sized(
    ((64, 4096), (1, 4096), (1, 1024), (1, 2048), (1, 8192), (1, 16384), (16, 1024), (16, 4096),
     (16, 16384), (64, 1024), (64, 16384)),
    ((2, 17), (1, 9)),
)  # fmt: skip
AGAINST = sized(((64, 4096), (1, 4096), (16, 1024), (16, 16384)), ((2, 17),))
# Bytes of the card that the arms of one cell may take together.
ROOM = 110e9

Make = Callable[[int], Shape]


def arm(shape: Shape, batch: int, context: int, dropped: float | None) -> tuple[DecodeGraph, int]:
    """A graph ready to replay, and the bytes its step must read; ``dropped`` None is dense."""
    gated = dropped is not None
    model = models.build(shape, gated)
    attention = models.filled(shape, batch, context, dropped or 0.0, STEPS, gated)
    start = Start(
        tokens=[0] * batch, positions=[context] * batch, wanted=[STEPS] * batch,
        continuations=[()] * batch, streams=range(batch), stop_ids=(), sampling=Sampling(),
    )  # fmt: skip
    graph = DecodeGraph(model, attention, start)
    ceiling = models.bytes_of_a_step(model, attention)
    for _ in range(WARM_UP):
        graph.launch()
        graph.read()
    return graph, ceiling


def cell(report: Report, make: Make, batch: int, context: int) -> dict[float | None, Any]:
    """All arms of one batch and context: {dropped: row}."""
    shape = make(context + STEPS)
    c = shape.config
    dense_bytes = 2 * c.layers * c.kv_heads * c.head_dim * 2 * batch * context
    together = 3.2 * dense_bytes < ROOM
    label = {"model": shape.name, "batch": batch, "context": context, "in_turns": together}
    arms: list[float | None] = [None, *DROPS]
    rows: dict[float | None, Any] = {}
    for group in [arms] if together else [[one] for one in arms]:
        if report.time_is_up:
            report.add(**label, arms=group, skipped="the part's time was up")
            continue
        rows |= measured(report, label, shape, group)
        if not REHEARSAL:
            torch.cuda.empty_cache()
    compare(report, label, rows)
    return rows


def measured(
    report: Report, label: dict[str, Any], shape: Shape, group: list[float | None]
) -> dict[float | None, Any]:
    """One step of each arm in turn. What it made is gone when it returns."""
    batch, context = label["batch"], label["context"]
    made = {dropped: arm(shape, batch, context, dropped) for dropped in group}
    seconds: dict[float | None, list[float]] = {dropped: [] for dropped in group}
    for _ in range(MEASURED):
        for dropped, (graph, _) in made.items():
            seconds[dropped].append(common.timed(graph.launch, 1, 0)["median"])
            while graph.in_flight:
                graph.read()
    rows = {}
    for dropped, (_, ceiling) in made.items():
        step = common.spread(seconds[dropped])
        rows[dropped] = {
            "seconds": step, "tokens_per_second": batch / step["median"], "step_bytes": ceiling,
            "bytes_per_second": ceiling / step["median"],
        }  # fmt: skip
        name = "dense" if dropped is None else "pruned"
        report.add(**label, arm=name, dropped=dropped, **rows[dropped])
    return rows


def compare(report: Report, label: dict[str, Any], rows: dict[float | None, Any]) -> None:
    """Each pruned arm against the dense one: what it gains, and what bytes alone would give."""
    dense = rows.get(None)
    for dropped, row in rows.items():
        if dropped is None or dense is None:
            continue
        ratio = dense["seconds"]["median"] / row["seconds"]["median"]
        ceiling = dense["step_bytes"] / row["step_bytes"]
        report.add(
            **label, arm="pruned over dense", dropped=dropped, speedup=ratio, byte_ceiling=ceiling,
            share_of_ceiling=ratio / ceiling,
        )  # fmt: skip


def crossover(report: Report, name: str, cells: dict[int, dict[float | None, Any]]) -> None:
    """The shortest measured context from which on batch 1 is not slower with 80 % dropped."""
    won = {
        context: rows[None]["seconds"]["median"] >= rows[0.8]["seconds"]["median"]
        for context, rows in sorted(cells.items())
        if {None, 0.8} <= rows.keys()
    }
    lost = max((context for context, ahead in won.items() if not ahead), default=0)
    after = [context for context in won if context > lost]
    report.add(
        model=name, batch=1, dropped=0.8, arm="crossover", not_slower=won,
        from_context=min(after, default=None),
    )  # fmt: skip


def launches(report: Report, make: Make) -> None:
    """What the host does in a step: launches of graphs and kernels, waits for the device."""
    context = sized(1024, 9)
    graph, _ = arm(make(context + STEPS), sized(16, 2), context, 0.8)
    if not REHEARSAL:
        torch.cuda.synchronize()
    with torch.profiler.profile() as profile:
        for _ in range(4):
            graph.launch()
    calls = {e.key: e.count for e in profile.key_averages() if e.key.startswith("cuda")}
    waits = {name: n for name, n in calls.items() if "Synchronize" in name}
    report.add(model=make(64).name, arm="host calls of 4 steps", calls=calls, waits=waits)


def capacity(report: Report, make: Make, context: int = sized(4096, 17)) -> None:
    """Sequences of ``context`` tokens that 8 GB hold, tables and gate keys counted."""
    shape = make(context + STEPS)
    fits = {}
    for dropped in (None, 0.5, 0.8, 0.95):
        gated = dropped is not None
        attention = models.filled(shape, 2, context, dropped or 0.0, STEPS, gated)
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
    with torch.device(DEVICE):
        model = hf.AutoModelForCausalLM.from_config(config, dtype=HALF, attn_implementation="sdpa")
    model = model.eval().requires_grad_(False)
    cache = hf.StaticCache(config=config, max_cache_len=context + STEPS)
    # As if the prompt had been read: a static cache attends to all its rows anyway.
    cache.early_initialization(batch, c.kv_heads, c.head_dim, HALF, DEVICE)
    for layer in cache.layers:
        if isinstance(getattr(layer, "cumulative_length", None), torch.Tensor):
            layer.cumulative_length.fill_(context)
        elif hasattr(layer, "cumulative_length"):
            layer.cumulative_length = context
    ids = torch.zeros(batch, 1, dtype=torch.int64, device=DEVICE)
    at = torch.full((1,), context, device=DEVICE)
    options: dict[str, Any] = {"position_ids": at.expand(batch, 1)}
    if "cache_position" in inspect.signature(model.forward).parameters:
        options["cache_position"] = at
    how: dict[str, Any] = sized({"mode": "reduce-overhead"}, {"backend": "eager"})
    compiled: Any = torch.compile(model, fullgraph=True, **how)

    @torch.inference_mode()
    def step() -> None:
        compiled(ids, past_key_values=cache, use_cache=True, **options)

    step_time = common.timed(step, MEASURED, warm_up=8)
    return {"seconds": step_time, "tokens_per_second": batch / step_time["median"]}


def main(which: str) -> None:
    makers = {
        "gpt2-medium": models.gpt2_medium,
        "llama-1b": models.llama_1b,
        "smollm2-135m": models.smollm2,
    }
    report = Report(f"decode-{which}")
    if which == "transformers":
        for make in makers.values():
            for batch, context in AGAINST:
                shape = make(context + STEPS)
                label = {"model": shape.name, "batch": batch, "context": context,
                         "arm": "transformers SDPA, static cache, compiled"}  # fmt: skip
                report.attempt(label, partial(transformers_arm, shape, batch, context))
                torch._dynamo.reset()
        return
    make = makers[which]
    report.add(copy_bytes_per_second=common.copy_bandwidth())
    launches(report, make)
    capacity(report, make)
    alone = {}
    for batch, context in CELLS:
        rows = cell(report, make, batch, context)
        if batch == 1:
            alone[context] = rows
    crossover(report, which, alone)


if __name__ == "__main__":
    main(sys.argv[1])

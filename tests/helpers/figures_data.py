"""What figures are drawn from in tests: results as `dcp eval` and `dcp bench` print them, and a
gates-off run beside a trace. The numbers are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dcp.figures.paper import KINDS, Drawing, Options, Page, draw
from dcp.figures.paper.results import Results
from dcp.stats.lives import Sample
from dcp.trace import Trace

__all__ = [
    *("AGREE", "BENCH", "BUDGETS", "EVAL", "FITTED", "RESULTS", "TASKS", "TRAINED"),
    *("draw_kind", "with_costs"),
]


def _evaluated(context: int, shift: float, sparsity: float) -> dict[str, Any]:
    every = context * (context + 1) / 2
    held = context + (every - context) * (1 - sparsity)
    rivals = {"local": 3.0, "strided": 2.5, "sink": 2.0}
    return {
        "model": "tiny",
        "weights_sha256": "ab" * 32,
        "gate_shift": shift,
        "sparsity": sparsity,
        "held_entries": held,
        "ppl_pruned": 20 + sparsity,
        "ppl_gates_off": 19.5,
        "ppl_dense_finetuned": 19.0,
        "bits_per_byte_pruned": 1.2,
        "tokens": 5000,
        "context": context,
        "policies": [
            {"policy": name, "window": 9, "held_entries": held + 5, "ppl": 20 + rise * sparsity}
            for name, rise in rivals.items()
        ],
    }


EVAL = Results(
    "eval.json",
    tuple(_evaluated(c, d, s) for c in (63, 127) for d, s in ((-1, 0.1), (0, 0.5), (1, 0.8))),
)
TASKS = Results(
    "tasks.json",
    tuple(
        {
            "task": task,
            "sparsity": share,
            "accuracy": chance + 0.1 - 0.05 * share,
            "ci_low": chance + 0.08 - 0.05 * share,
            "ci_high": chance + 0.12 - 0.05 * share,
            "n": 1000,
            "chance": chance,
        }
        for task, chance in (("lambada", 0.0), ("hellaswag", 0.25), ("piqa", 0.5))
        for share in (0.1, 0.5, 0.8)
    ),
)
BENCH = Results(
    "bench.json",
    tuple(
        {
            "arm": f"{arm} {kind}",
            "model": "gpt2-124m",
            "weights": kind,
            "batch": batch,
            "context": context,
            "tokens_per_second": 1e3 / ms,
            "ms_p20": ms * 0.9,
            "ms_p80": ms * 1.2,
            "kv_bytes_held": None if arm == "transformers SDPA" else context * 4096,
            "threads": 1,
        }
        for kind in ("float32", "int8")
        for batch, contexts in ((1, (63, 127)), (8, (127,)))
        for context in contexts
        for arm, ms in (("transformers SDPA", 10.0), ("dense", 8.0), ("80% dropped", 6.0))
    ),
)
FITTED = Results(
    "fitted.json",
    tuple(
        {
            "arm": f"{arm} {kind}",
            "model": "tiny",
            "weights": kind,
            "batch": batch,
            "context": context,
            "tokens_per_second": 100.0 * batch**0.5,
            "ms_p20": 9.0 * batch**0.5,
            "ms_p80": 12.0 * batch**0.5,
            "kv_bytes_held": batch * row,
            "kv_bytes_peak": batch * row + 99,
            "budget_bytes": budget,
            "threads": 1,
        }
        for kind in ("float32", "int8")
        for arm, row, fits in (("dense", 2**20, 3), ("80% dropped", 2**18, 12))
        for context, batch, budget in (
            *((63, 1, None), (63, 2, None), (63, 4, None), (63, fits, 3.5 * 2**20)),
            *((127, 1, None), (127, fits // 2, 3.5 * 2**20)),
        )
    ),
)
TRAINED = Results(
    "trained.json",
    tuple(
        {
            "model": "tiny",
            "arm": arm,
            "part": part,
            "length": length,
            "ms": each * length,
            "ms_p20": 0.9 * each * length,
            "ms_p80": 1.2 * each * length,
            "peak_bytes": 4096 * length,
            "threads": 1,
        }
        for part in ("attention", "step")
        for length in (63, 127, 1000)
        for arm, each in (("dense", 2.0), ("soft gates", 3.0), ("hard gates", 1.5))
    ),
)
AGREE = Results(
    "agree.json",
    tuple(
        {
            "a": a,
            "b": b,
            "layer": layer,
            "first": first,
            "last": first + 31,
            "jaccard": 0.2 + 0.15 * layer + first / 400,
            "chance": 0.2,
        }
        for a, b in (("gates", "tova"), ("gates", "h2o 64"), ("tova", "h2o 64"), ("all", "all"))
        for layer in range(4)
        for first in (0, 32, 64)
    ),
)
BUDGETS = Results(
    "budgets.json",
    tuple(
        {
            "model": "tiny",
            "policy": policy,
            "context": context,
            "budget": budget,
            "held": budget * (0.8 if policy == "strided" else 0.95),
            "held_ratio": 0.85 if policy == "strided" else 1.0,
            "tolerance": 0.01,
            "ppl_over_dense": 1 + bad * 8 / budget,
            "ppl_over_dense_low": 1 + bad * 7 / budget,
            "ppl_over_dense_high": 1 + bad * 9 / budget,
            "kl": bad * 4 / budget,
            "kl_low": bad * 3.5 / budget,
            "kl_high": bad * 4.5 / budget,
            "agreement": 1 - bad * 6 / budget,
            "agreement_low": None,
            "agreement_high": None,
            "tokens": 5000,
        }
        for bad, policy in enumerate(("gates", "gates-shift", "window", "strided", "h2o", "new"), 1)
        for context, budgets in ((256, (64, 128)), (1024, (64, 128, 256, 512)))
        for budget in budgets
    ),
)
RESULTS = {
    "perplexity": EVAL,
    "tasks": TASKS,
    "throughput": BENCH,
    "agreement": AGREE,
    "policies": BUDGETS,
    "batch": FITTED,
    "training": TRAINED,
}


def with_costs(trace: Trace, seed: int = 0) -> Trace:
    """``trace`` with a gates-off run beside it."""
    rng = np.random.default_rng(seed)
    kl = rng.gamma(0.5, 0.1, trace.tokens).astype(np.float32)
    lost = rng.beta(1, 6, trace.death.shape).astype(np.float32)
    off = np.minimum(trace.logprob + rng.normal(0, 0.1, trace.tokens), 0).astype(np.float32)
    return replace(trace, kl=kl, gates_off_logprob=off, lost_attention=lost)


def draw_kind(
    kind: str, samples: list[Sample], page: Page, options: Options | None = None, **facts: Any
) -> Drawing:
    """``kind`` from what it reads: the samples, results, or nothing."""
    reads = KINDS[kind].reads
    given = samples if reads in ("trace", "either") else []
    if kind == "cost":
        given = [(with_costs(trace), words) for trace, words in given]
    if kind == "policy-maps":
        first = given[0][0]
        other = replace(first, meta=replace(first.meta, policy="h2o", budget=9))
        given = [*given, (other, ())]
    results = [RESULTS[kind]] if reads == "results" else []
    return draw(kind, given, page, options, results=results, **facts)

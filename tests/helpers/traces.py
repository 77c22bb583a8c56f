"""Valid traces for tests: random ones of any size, and one with real drops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dcp.trace import ALIVE, FORMAT, Meta, Trace

DESIGN = Path(__file__).parents[1] / "data" / "design_trace.safetensors"
"""200 tokens of held-out text in a 6-layer pruned model: tokens and deaths are real, the boundary
between prompt and continuation, margins, log-probabilities and times are made up."""

WORDS = [
    *("The", "the", "fox", ",", ".", "river", "'s", "runs", "quickly\n\n", "42", "über", "naïve"),
    *("🙂", "👩\u200d👩\u200d👧", "and", "of", "in", "Paris", "it", "was", "said", "unbelievable"),
    *("<script>alert(1)</script>", "&", '"quoted"', "ice-cream"),
]


def meta_of(text: str, prompt_tokens: int, n_queries: int, **more: Any) -> dict[str, Any]:
    """The JSON object of a meta with every required key; ``more`` overrides."""
    return {
        "format": FORMAT,
        "text": text,
        "prompt_tokens": prompt_tokens,
        "n_queries": n_queries,
        "model": "tiny",
        "weights_sha256": "0" * 64,
        "gate_shift": 0.0,
        "seed": 0,
        "sampling": {"temperature": 0.8, "top_k": 0, "top_p": 1.0},
        "dtype": "float32",
        "device": "cpu",
        "impl": "reference",
        "versions": {"dcp": "0.1.0"},
        "memory": {
            "kv_bytes_live": 1000,
            "kv_bytes_held": 1500,
            "kv_bytes_peak": 2000,
            "kv_bytes_dense": 4000,
            "row_bytes": 40,
            "kv_bytes_per_entry": 32,
        },
        **more,
    }


def with_meta(trace: Trace, **changes: Any) -> Trace:
    """The trace with other fields of its meta."""
    return replace(trace, meta=replace(trace.meta, **changes))


def make_trace(
    pieces: list[str],
    death: np.ndarray,
    *,
    prompt_tokens: int | None = None,
    n_queries: int | None = None,
    seed: int = 0,
    **more: Any,
) -> Trace:
    """A trace of the tokens ``pieces``; ``death`` [L, T] has -1 or ALIVE where never dropped."""
    rng = np.random.default_rng(seed)
    death = np.where(np.asarray(death) < 0, ALIVE, death).astype(np.int32)
    layers, tokens = death.shape
    prompt_tokens = tokens if prompt_tokens is None else prompt_tokens
    if n_queries is None:
        n_queries = tokens if prompt_tokens == tokens else tokens - 1
    ends = np.cumsum([len(piece) for piece in pieces])
    offsets = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).astype(np.int32)
    gate = rng.gamma(2.0, 1.0, (layers, tokens))
    margin = np.where(death == ALIVE, gate, -gate).astype(np.float32)
    margin[:, max(n_queries - 1, 0) :] = np.nan
    logprob = -np.asarray(rng.gamma(2.0, 1.2, tokens), np.float32)
    logprob[0] = np.nan
    seconds = np.asarray(rng.uniform(0.004, 0.008, tokens), np.float32)
    seconds[:prompt_tokens] = np.nan
    return Trace(
        token_ids=rng.integers(0, 8192, tokens).astype(np.int32),
        offsets=offsets,
        death=death,
        margin=margin,
        logprob=logprob,
        step_seconds=seconds,
        meta=Meta.from_json(meta_of("".join(pieces), prompt_tokens, n_queries, **more)),
    )


def random_deaths(rng: np.random.Generator, layers: int, n_queries: int, tokens: int) -> np.ndarray:
    """[L, T] int32: geometric lives, some drops in bursts, a fifth never dropped."""
    born = np.arange(tokens)
    death = born + 1 + rng.geometric(rng.uniform(0.03, 0.3, (layers, 1)), (layers, tokens))
    burst = (death // 10 + 1) * 10
    death = np.where(rng.random((layers, tokens)) < 0.4, burst, death)
    return np.where((death > n_queries - 1) | (rng.random(death.shape) < 0.2), ALIVE, death)


def random_trace(
    seed: int = 0, *, layers: int = 3, tokens: int = 63, prompt_tokens: int | None = None
) -> Trace:
    """A valid random trace whose text has accents, emoji, markup and newlines."""
    rng = np.random.default_rng(seed)
    pieces = [WORDS[i] for i in rng.integers(0, len(WORDS), tokens)]
    pieces = [piece if piece in {",", ".", "'s"} else " " + piece for piece in pieces]
    prompt_tokens = tokens if prompt_tokens is None else prompt_tokens
    n_queries = tokens if prompt_tokens == tokens else tokens - 1
    death = random_deaths(rng, layers, n_queries, tokens)
    return make_trace(pieces, death, prompt_tokens=prompt_tokens, seed=seed)


def design_trace() -> Trace:
    """The trace in ``DESIGN``: 120 prompt tokens, 80 of a given continuation."""
    return Trace.load(DESIGN)

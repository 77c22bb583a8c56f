"""The same prompts through `transformers` and through our engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from dcp.deaths import ALIVE
from dcp.engine.engine import Engine
from dcp.hf.layers import rows_of
from dcp.model.config import Sampling
from dcp.model.weights import load

PROMPTS = [list(range(3, 40)), list(range(60, 71)), [5]]
NEW = 9


def model_of(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def batch_of(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Left-padded."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def greedy(model: Any, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    given = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    out = model.generate(**batch_of(prompts), **{**given, **options})
    return out[:, -NEW:].tolist()


def engine_run(model: Any, prompts: list[list[int]], **options: Any) -> Any:
    """``model``: a folder, or what was loaded from one."""
    loaded = load(model) if isinstance(model, Path) else model
    run = Engine(loaded, "cpu").run(
        prompts, new_tokens=NEW, sampling=Sampling(temperature=0), **options
    )
    tokens: list[list[int]] = [[] for _ in prompts]
    for step in run:
        for part in step.rows:
            tokens[part.row] += part.tokens.tolist()
    return run, [ids[-NEW:] for ids in tokens]


def same_lives(made: Any, run: Any, prompts: list[list[int]]) -> bool:
    """Whether the deaths behind the cache ``made`` are those of the engine's run."""
    rows = rows_of(made)
    assert rows is not None
    same = []
    for row, prompt in enumerate(prompts):
        read = len(prompt) + NEW - 1
        death = rows.death[row][:, :read].copy()
        # A policy's drop after the last query comes into force with a query that never came.
        death[death >= read] = ALIVE
        same.append(np.array_equal(death, run.lives(row)[0][:, :read]))
    return all(same)

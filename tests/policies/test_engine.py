"""Policies run in the engine: the cache frees the rows, and deaths are those of whole windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.ruled import RuledAttend
from dcp.model.weights import load
from dcp.policies.registry import POLICIES, policy_of
from dcp.policies.rule import Eviction, Setup, uniform_budget

PROMPT, NEW, BUDGET = 41, 9, 16
QUESTION = (5, 77, 201)
SETTINGS = {
    "snapkv": {"window": 4},
    "citrus-shared": {"instruction": "?"},
    "citrus-individual": {"instruction": "?"},
}


def run_of(folder: Path, name: str, prompts: list[list[int]], **options):
    budget = BUDGET if policy_of(name).budgeted else None
    run = Engine(load(folder)).run(
        prompts,
        new_tokens=NEW,
        sampling=Sampling(temperature=0),
        eviction=Eviction(name, budget, SETTINGS.get(name, {}), QUESTION),
        **options,
    )
    return run, list(run)


@pytest.mark.parametrize("name", [n for n, p in POLICIES.items() if p.instructed != "must"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_step_by_step_equals_whole_windows(
    tiny_checkpoint: Callable[..., Path], name: str, architecture: str
) -> None:
    folder = tiny_checkpoint(architecture, drop=0.2)
    model = load(folder)
    prompt = torch.randint(0, model.config.vocab, (PROMPT,), generator=torch.manual_seed(3))
    run, steps = run_of(folder, name, [prompt.tolist()])
    death, _ = run.lives(0)
    drawn = [t for step in steps for part in step.rows for t in part.tokens.tolist()][PROMPT:]
    ids = torch.cat([prompt, torch.tensor(drawn)])[None, :-1]
    length = ids.shape[1]
    policy = policy_of(name)
    budget = uniform_budget(BUDGET, model.config.layers, length)
    # A rule that waits for the prompt's end waits for the same end.
    setup = Setup(1, model.config.layers, length, PROMPT, budget)
    attend = RuledAttend(policy, policy.start(setup, SETTINGS.get(name, {})))
    with torch.inference_mode():
        logits = model.transformer(ids, torch.arange(length)[None], attend)[0]
    assert np.array_equal(attend.deaths[:, 0].numpy(), death[:, :length])
    assert logits[PROMPT - 1 :].argmax(dim=-1).tolist() == drawn
    assert (death[:, -1] == ALIVE).all()


@pytest.mark.parametrize("name", [n for n, p in POLICIES.items() if p.budgeted])
def test_rows_are_freed(tiny_checkpoint: Callable[..., Path], name: str) -> None:
    folder = tiny_checkpoint("llama", drop=0.1)
    config = load(folder).config
    run, steps = run_of(folder, name, [list(range(PROMPT))])
    row = 2 * config.layers * config.kv_heads * config.head_dim * 4
    for step in steps:
        part = step.rows[0]
        # SnapKV reads the prompt whole; two caches are one when its last token has been read.
        whole = name in ("snapkv", "citrus-individual") and part.queries <= PROMPT
        assert whole or part.memory.live <= BUDGET * row
    assert run.interrupted is False


def test_rows_of_a_batch_do_not_know_of_one_another(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama")
    first, second = list(range(30)), list(range(7, 30))
    both, _ = run_of(folder, "h2o", [first, second])
    for row, prompt in enumerate((first, second)):
        alone, _ = run_of(folder, "h2o", [prompt])
        assert np.array_equal(both.lives(row)[0], alone.lives(0)[0])


@pytest.mark.parametrize("chunk", [1, 7, 128])
def test_the_size_of_prompt_chunks_changes_nothing(
    tiny_checkpoint: Callable[..., Path], chunk: int
) -> None:
    folder = tiny_checkpoint("llama")
    prompt = list(range(PROMPT))
    for name in ("snapkv", "citrus", "citrus-shared", "citrus-individual", "tova"):
        expected, _ = run_of(folder, name, [prompt])
        found, _ = run_of(folder, name, [prompt], chunk=chunk)
        assert np.array_equal(expected.lives(0)[0], found.lives(0)[0])


def test_requests_that_cannot_be_met_are_refused(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama")
    engine = Engine(load(folder))
    orders = ForcedDeaths.none(engine.model.config.layers, 3).keep(1)
    for eviction, deaths, message in (
        (Eviction("h2o"), None, "needs a budget"),
        (Eviction("sink", 3), None, "at least 5"),
        (Eviction("h2o", 8), [orders], "cannot share a run"),
        (Eviction("best", 8), None, "unknown policy"),
    ):
        with pytest.raises(RequestError, match=message):
            engine.run([[1, 2, 3]], new_tokens=2, eviction=eviction, deaths=deaths)
    ungated = Engine(load(folder, gates=False))
    with pytest.raises(RequestError, match="needs a model with gates"):
        ungated.run([[1, 2, 3]], new_tokens=2, eviction=Eviction("gates", 8))
    list(ungated.run([[1, 2, 3]], new_tokens=2, eviction=Eviction("tova", 8)))

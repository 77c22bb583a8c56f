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
from dcp.policies.ordered import Ordered
from dcp.policies.registry import POLICIES, policy_of
from dcp.policies.rule import Eviction, Seen, Setup, uniform_budget

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


ORDERED = [n for n, p in POLICIES.items() if p.instructed != "must" and p.budgeted]


@pytest.mark.parametrize("name", ORDERED)
def test_an_order_changes_nothing_until_the_rule_would_let_go(
    tiny_checkpoint: Callable[..., Path], name: str
) -> None:
    folder = tiny_checkpoint("llama", drop=0.1)
    model = load(folder)
    config, ids = model.config, torch.randint(0, 256, (50,), generator=torch.manual_seed(5))
    prompts, told = [ids[:PROMPT].tolist()], [ids[PROMPT:].tolist()]
    plain, _ = run_of(folder, name, prompts, continuations=told)
    as_was, _ = plain.lives(0)
    layer = 1
    token = int(np.flatnonzero((as_was[layer] > 6) & (as_was[layer] < PROMPT + 6))[0])
    undone = int(as_was[layer, token])
    early = int(np.flatnonzero(as_was[0] > 30)[0])
    orders = ForcedDeaths.none(config.layers, 50).keep(token, layer).drop(early, 30, 0)
    run, steps = run_of(folder, name, prompts, continuations=told, deaths=[orders])
    found, _ = run.lives(0)
    assert found[layer, token] == ALIVE
    assert found[0, early] == 30
    # Layer 1 reads what layer 0 made of the other order from step 30 on, and layer 0 is first.
    assert np.array_equal(found[0] < 30, as_was[0] < 30)
    until = min(undone, 30)
    assert np.array_equal(found[layer][found[layer] < until], as_was[layer][as_was[layer] < until])
    # The place beside the budget is one entry's, in the layer that keeps one.
    row = 2 * config.kv_heads * config.head_dim * 4
    for step in steps[1:]:
        assert step.rows[0].memory.live <= (BUDGET * config.layers + 1) * row
    # Whole windows under the same orders drop the same.
    length = ids.shape[0] - 1
    policy = policy_of(name)
    setup = Setup(1, config.layers, length, PROMPT, uniform_budget(BUDGET, config.layers, length))
    rule = Ordered(policy.start(setup, SETTINGS.get(name, {})), orders.padded(length))
    attend = RuledAttend(policy, rule)
    if name != "gates":
        with torch.inference_mode():
            model.transformer(ids[None, :-1], torch.arange(length)[None], attend)
        assert np.array_equal(attend.deaths[:, 0].numpy(), found[:, :length])


def test_orders_to_a_window_by_hand() -> None:
    # Three entries after each step; 2 is kept for good, 5 goes after step 5, from step 6 on.
    setup = Setup(1, 1, 10, 1, uniform_budget(3, 1, 10))
    orders = ForcedDeaths.none(1, 10).keep(2).drop(5, 6)
    rule = Ordered(policy_of("window").start(setup), orders.death)
    alive, held = np.zeros((1, 10), dtype=bool), []
    for step in range(10):
        alive[0, step] = True
        drops = rule.after(0, step, Seen(alive[:, : step + 1]))
        assert not drops.any() or rule.decides(step)
        alive[:, : step + 1] &= ~drops
        held.append(np.flatnonzero(alive[0]).tolist())
    assert held == [
        [0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [2, 3, 4],
        [2, 3, 4, 6], [2, 4, 6, 7], [2, 6, 7, 8], [2, 7, 8, 9],
    ]  # fmt: skip


def test_requests_that_cannot_be_met_are_refused(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama")
    engine = Engine(load(folder))
    orders = ForcedDeaths.none(engine.model.config.layers, 3).keep(1)
    for eviction, deaths, message in (
        (Eviction("h2o"), None, "needs a budget"),
        (Eviction("sink", 3), None, "at least 5"),
        (
            Eviction("citrus-shared", 8, {"instruction": "?"}, QUESTION),
            [orders],
            "takes no orders",
        ),
        (Eviction("best", 8), None, "unknown policy"),
    ):
        with pytest.raises(RequestError, match=message):
            engine.run([[1, 2, 3]], new_tokens=2, eviction=eviction, deaths=deaths)
    ungated = Engine(load(folder, gates=False))
    with pytest.raises(RequestError, match="needs a model with gates"):
        ungated.run([[1, 2, 3]], new_tokens=2, eviction=Eviction("gates", 8))
    list(ungated.run([[1, 2, 3]], new_tokens=2, eviction=Eviction("tova", 8)))

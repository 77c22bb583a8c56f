"""Every policy under the same tests, and each against its published formula on eager attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.model.ruled import RuledAttend
from dcp.model.weights import load
from dcp.policies.names import NAMES
from dcp.policies.registry import POLICIES, policy_of
from dcp.policies.rule import Seen, Setup, lowest, uniform_budget
from tests.helpers.policy_oracle import BY_HAND, Eager, Verdict, judge, top, visible

T = 63
# Whole windows ask nothing: policies that answer an instruction are in test_citrus.py.
WHOLE = [name for name, policy in POLICIES.items() if policy.instructed != "must"]
BUDGETED = [name for name in WHOLE if POLICIES[name].budgeted]


def deaths(folder: Path, name: str, budget: int, seed: int = 0, batch: int = 2, **settings):
    """(deaths [L, B, T], ids [B, T], logits) of random windows under a policy."""
    model = load(folder)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, model.config.vocab, (batch, T), generator=generator)
    policy = policy_of(name)
    rule = policy.start(
        Setup(batch, model.config.layers, T, 1, uniform_budget(budget, model.config.layers, T)),
        settings,
    )
    attend = RuledAttend(policy, rule)
    with torch.inference_mode():
        logits = model.transformer(ids, torch.arange(T).expand_as(ids), attend)
    return attend.deaths.numpy(), ids, logits


def held(death: np.ndarray) -> np.ndarray:
    steps = np.arange(death.shape[-1])
    born = steps[:, None] >= steps
    return (born & (steps[:, None] < death[..., None, :])).sum(axis=-1)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("name", BUDGETED)
def test_a_budget_is_never_passed_and_is_used(
    tiny_checkpoint: Callable[..., Path], name: str, architecture: str
) -> None:
    settings = {"snapkv": {"window": 5}}.get(name, {})
    found, _, _ = deaths(tiny_checkpoint(architecture, drop=0.2), name, 24, **settings)
    counts = held(found)
    # After step s a rule may let entries go; step s + 1 then adds its own before it decides again.
    assert counts.max() <= 24 + 1
    if name not in ("gates", "citrus"):
        assert (counts[..., 30:] >= 23).all() or name == "strided"
    assert (found > np.arange(T)).all()
    assert ((found < T) | (found == ALIVE)).all()


@pytest.mark.parametrize("name", ["random", "window", "sink", "h2o", "tova", "keynorm"])
def test_a_budget_may_differ_by_layer_and_step(
    tiny_checkpoint: Callable[..., Path], name: str
) -> None:
    model = load(tiny_checkpoint("llama"))
    layers = model.config.layers
    budget = np.minimum(8 + 3 * np.arange(layers)[:, None] + np.arange(T) // 8, T)
    policy = policy_of(name)
    attend = RuledAttend(policy, policy.start(Setup(1, layers, T, 1, budget)))
    ids = torch.arange(T)[None] % model.config.vocab
    with torch.inference_mode():
        model.transformer(ids, torch.arange(T)[None], attend)
    after = held(attend.deaths.numpy())[:, 0, 1:] - 1
    assert np.array_equal(after, np.minimum(budget[:, :-1], np.arange(1, T)))


def replay(attention: np.ndarray, choose: Callable[[int, list[int]], list[int]]) -> np.ndarray:
    """Deaths [T] when ``choose`` says after each step which of those held stay."""
    death = np.full(T, ALIVE, dtype=np.int64)
    kept: list[int] = []
    for step in range(T):
        kept.append(step)
        stays = choose(step, kept)
        if step + 1 < T:
            for j in set(kept) - set(stays):
                death[j] = step + 1
        kept = [j for j in kept if j in stays]
    return death


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_deaths_are_those_of_the_published_formula_on_eager_attention(
    tiny_checkpoint: Callable[..., Path], name: str, architecture: str
) -> None:
    folder = tiny_checkpoint(architecture)
    settings = {"snapkv": {"window": 5}}.get(name, {})
    found, ids, _ = deaths(folder, name, 20, **settings)
    attention = Eager(folder).attention(ids, visible(found))
    verdict = Verdict()
    for layer, weights in enumerate(attention):
        for row in range(len(ids)):
            judge(found[layer, row], BY_HAND[name](weights[row], 20), verdict, (layer, row))
    assert not verdict.wrong
    assert verdict.ties == 0
    assert verdict.decisions >= len(attention) * len(ids) * 8


def test_the_shortest_keys_stay(tiny_checkpoint: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny_checkpoint("gpt2")
    found, ids, _ = deaths(folder, "keynorm", 20)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        keys = model(ids, use_cache=True).past_key_values.layers[0].keys
    norms = keys.norm(dim=-1).mean(dim=1).numpy()
    for row in range(len(ids)):
        expected = replay(norms[row][None], lambda _, kept: top(-norms[row], kept, 20))  # noqa: B023
        assert np.array_equal(expected, found[0, row])


def test_gates_without_pressure_are_the_gates_alone(tiny_checkpoint: Callable[..., Path]) -> None:
    from dcp.model.masked import MaskedAttend

    folder = tiny_checkpoint("llama", drop=0.5)
    found, ids, logits = deaths(folder, "gates", T)
    model, alone = load(folder), MaskedAttend()
    with torch.inference_mode():
        expected = model.transformer(ids, torch.arange(T).expand_as(ids), alone)
    assert np.array_equal(alone.deaths.numpy(), found)
    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "budget", "settings", "message"),
    [
        ("sink", 4, {}, "at least 5 entries"),
        ("snapkv", 32, {}, "at least 33 entries"),
        ("strided", 3, {}, "at least"),
        ("sink", 24, {"sinks": "many"}, "whole number"),
        ("h2o", 24, {"window": 3}, "has no setting 'window'"),
        ("heavy", 24, {}, "unknown policy 'heavy'; use one of: gates"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    name: str, budget: int, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        policy_of(name).start(Setup(1, 2, T, 1, uniform_budget(budget, 2, T)), settings)


def test_lowest_takes_the_older_of_equals() -> None:
    scores, among = np.ones((2, 4)), np.array([[1, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)
    assert lowest(scores, among, np.array([2, 1])).tolist() == [
        [True, True, False, False],
        [False, True, False, False],
    ]
    assert not lowest(scores, among, np.zeros(2, dtype=int)).any()


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_settings_beyond_reason_are_refused_and_the_last_reasonable_ones_run(policy) -> None:
    numbers = {k: v for k, v in policy.settings.items() if not isinstance(v, str)}
    assert set(policy.limits) == set(numbers)
    for key, value in numbers.items():
        low, high = policy.limits[key]
        assert low <= value <= high
        for wrong in (low - 1, high + 1, "many", "nan", "inf", "-inf", "", 10**400, None):
            with pytest.raises(RequestError, match=f"{policy.name}: {key} must be"):
                policy.with_settings({key: wrong})
        for edge in (type(value)(low), type(value)(high)):
            settings = {**policy.settings, key: edge, "instruction": "?"}
            if "instruction" not in policy.settings:
                del settings["instruction"]
            setup = Setup(1, 2, T, 1, uniform_budget(T, 2, T))
            try:
                rule = policy.start(setup, settings)
            except RequestError:
                # What is reasonable may still need a larger budget than this one.
                assert policy.least(settings, T) > T or policy.name == "strided"
                continue
            alive = np.ones((1, T), dtype=bool)
            weights = np.full((1, T), 1 / T, dtype=np.float32)
            seen = Seen(alive, weights, np.ones((1, 2, 4), np.float32), weights)
            assert rule.after(1, T - 1, seen).shape == (1, T)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_every_policy_says_what_it_is(policy) -> None:
    assert policy.title
    assert policy.rule
    assert policy.paper or policy.name in ("none", "random", "oldest")
    assert policy.with_settings(policy.settings) == dict(policy.settings)
    assert ("instruction" in policy.settings) == (policy.instructed != "no")


def test_the_names_that_load_nothing_are_those_of_the_registry():
    assert tuple(POLICIES) == NAMES

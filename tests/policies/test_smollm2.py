"""Every policy on SmolLM2 itself: the published rule on the attention of eager `transformers`.

Runs where its base is found; ``-s`` says how many decisions each looked at.
"""

from __future__ import annotations

import numpy as np
import pytest

from dcp.deaths import ALIVE
from dcp.engine.engine import Engine
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel, open_model
from dcp.policies.rule import Eviction
from tests.helpers import smollm2
from tests.helpers.policy_oracle import BY_HAND, Eager, Verdict, instructed, judge, visible

pytestmark = smollm2.needs_base

TEXT = (
    "The museum opened in 1901 in a former rope works beside the river. It closed for a year in "
    "1953, when the river rose above the ground floor, and opened again with a new wing. Its "
    "founder, Ada Lindqvist, had collected clocks since she was nine. "
)
QUESTION = "Who founded the museum?"
BUDGET, NEW = 24, 12
SETTINGS = {"snapkv": {"window": 5}}


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return open_model("smollm2-135m", gates=False)


@pytest.fixture(scope="module")
def eager() -> Eager:
    return Eager(smollm2.hf_model(attn_implementation="eager"))


def run_of(model: OpenModel, name: str, settings: dict, instruction=(), text: str = TEXT):
    """Deaths [L, n], ids [n] of all that was read, prompt tokens."""
    prompt = model.tokenizer.encode(text).ids.tolist()
    run = Engine(model.loaded, "cpu").run(
        [prompt],
        new_tokens=NEW,
        sampling=Sampling(temperature=0),
        eviction=Eviction(name, BUDGET, settings, tuple(instruction)),
    )
    drawn = [t for step in run for part in step.rows for t in part.tokens.tolist()][len(prompt) :]
    ids = [*prompt, *drawn][:-1]
    return run.lives(0)[0][:, : len(ids)].astype(np.int64), ids, len(prompt)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_every_decision_is_the_published_one(model: OpenModel, eager: Eager, name: str) -> None:
    death, ids, prompt = run_of(model, name, SETTINGS.get(name, {}))
    attention, verdict = eager.attention(ids, visible(death)), Verdict()
    for layer, weights in enumerate(attention):
        choose = BY_HAND[name](weights, BUDGET)
        if name == "snapkv":
            choose = after_prompt(choose, prompt)
        judge(death[layer], choose, verdict, layer)
    print(f"\n{name}: {verdict.decisions} decisions, {verdict.ties} near ties")
    assert not verdict.wrong
    # The chunks of CItruS decide less often.
    assert verdict.decisions > (200 if name == "citrus" else 300)
    assert verdict.ties <= 0.02 * verdict.decisions


@pytest.mark.parametrize("form", ["citrus", "citrus-shared", "citrus-individual"])
def test_under_an_instruction_deaths_are_those_of_the_algorithm(
    model: OpenModel, eager: Eager, form: str
) -> None:
    question = model.tokenizer.encode(QUESTION).ids.tolist()
    # The oracle reads the whole text again for every chunk: two sentences are enough of them.
    text = TEXT[: TEXT.index(" Its founder")]
    death, ids, prompt = run_of(model, form, {"instruction": QUESTION}, question, text)
    expected = instructed(eager, ids, prompt, question, form, BUDGET)
    apart = (expected != death).sum()
    print(f"\n{form}: {(expected != ALIVE).sum()} deaths, {apart} apart")
    # A near tie swaps two entries, and later layers and rounds read what it left.
    assert apart <= 0.01 * expected.size


@pytest.mark.parametrize("name", ["window", "sink", "strided", "keynorm"])
def test_what_needs_no_attention(model: OpenModel, eager: Eager, name: str) -> None:
    death, ids, _ = run_of(model, name, {})
    alive = visible(death)
    steps = np.arange(len(ids))
    if name == "keynorm":
        norms = keys(eager, ids, alive)
        verdict = Verdict()
        for layer, norm in enumerate(norms):
            judge(
                death[layer],
                lambda step, kept, norm=norm: (
                    None if len(kept) <= BUDGET else ([], -norm / norm.max(), kept, BUDGET)
                ),
                verdict,
                layer,
            )
        print(f"\nkeynorm: {verdict.decisions} decisions, {verdict.ties} near ties")
        assert not verdict.wrong
        return
    age = steps[:, None] - steps
    window = (age >= 0) & (age <= BUDGET)
    if name == "sink":
        recent = (age >= 0) & (age <= BUDGET - 4)
        window = recent | ((steps < 4) & (age >= 0))
    if name == "strided":
        stride = max(s for s in range(1, 99) if s + (len(ids) + 1 - s) // s <= BUDGET)
        window = ((age >= 0) & (age < stride)) | ((age >= 0) & (steps % stride == stride - 1))
    assert all(np.array_equal(window, layer) for layer in alive)


def after_prompt(choose, prompt: int):
    return lambda step, kept: choose(step, kept) if step >= prompt - 1 else None


def keys(eager: Eager, ids: list[int], alive: np.ndarray) -> np.ndarray:
    """Length of each key, mean over heads [L, T], in a forward under the masks ``alive``."""
    import torch

    found = []
    hooks = [
        layer.self_attn.k_proj.register_forward_hook(
            lambda m, args, out: found.append(out.detach()[0])
        )
        for layer in eager.model.model.layers
    ]
    eager.attention(ids, alive)
    for hook in hooks:
        hook.remove()
    width = eager.model.config.head_dim
    # Rotary positions turn a key and leave its length.
    return torch.stack(
        [k.view(len(ids), -1, width).norm(dim=-1).mean(dim=-1) for k in found]
    ).numpy()

"""Adapters that change weights of their base, inside `transformers`: put in and taken out again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import dcp.hf
from dcp.errors import ModelError
from dcp.hf.state import pruning_of
from dcp.model.adapter import name_base
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import GateConfig
from dcp.model.saving import save
from dcp.model.weights import load
from tests.helpers.hf_runs import PROMPTS, engine_run, greedy, model_of, same_lives
from tests.helpers.tuned import tune_along


@pytest.fixture(params=["llama", "gpt2", "qwen2"])
def folders(
    request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> tuple[Path, Path]:
    """A base alone, and an adapter that changes its norms and, by low ranks, its matrices."""
    pruned = tiny_checkpoint(request.param, drop=0.4)
    base = tmp_path / "base"
    shutil.copytree(pruned, base, ignore=shutil.ignore_patterns("dcp*"))
    model = load(pruned)
    assert model.gates is not None
    tune_along(model.transformer)
    gates = GateConfig(model.gates.interaction, base=name_base(Checkpoint.read(base)))
    save(tmp_path / "tuned", model.transformer, {}, gates)
    return base, tmp_path / "tuned"


def test_tokens_and_deaths_are_the_engine_s_and_the_model_comes_back(
    folders: tuple[Path, Path],
) -> None:
    base, tuned = folders
    model = model_of(base, dtype=torch.float32)
    before = {name: p.clone() for name, p in model.named_parameters()}
    plain = greedy(model, PROMPTS)
    run, expected = engine_run(tuned, PROMPTS)
    dcp.hf.prune(model, tuned)
    made = dcp.hf.cache(model)
    assert greedy(model, PROMPTS, past_key_values=made) == expected
    assert same_lives(made, run, PROMPTS)
    assert expected != plain
    # Another way of forgetting, and a block inside of a block, start from the base again.
    with dcp.hf.pruned(model, policy="sink", budget=20):
        now = dict(model.named_parameters())
        assert all(torch.equal(now[name], p) for name, p in before.items())
    assert greedy(model, PROMPTS, past_key_values=dcp.hf.cache(model)) == expected
    dcp.hf.restore(model)
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], p) for name, p in before.items())
    assert greedy(model, PROMPTS) == plain


def test_where_little_is_dropped_the_base_s_own_weights_run(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    told = tuned / "dcp_config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"changes_below": 0.5}))
    model = model_of(base, dtype=torch.float32)
    before = {name: p.clone() for name, p in model.named_parameters()}
    for shift, same in ((0.5, True), (0.4, False)):
        run, expected = engine_run(tuned, PROMPTS, gate_shift=shift)
        with dcp.hf.pruned(model, tuned, gate_shift=shift):
            made = dcp.hf.cache(model)
            assert greedy(model, PROMPTS, past_key_values=made) == expected
            assert same_lives(made, run, PROMPTS)
            now = dict(model.named_parameters())
            assert all(torch.equal(now[name], p) for name, p in before.items()) == same
    # Under a budget the order of the changed weights' gates counts.
    with dcp.hf.pruned(model, tuned, budget=20):
        now = dict(model.named_parameters())
        assert not all(torch.equal(now[name], p) for name, p in before.items())


def test_what_does_not_fit_leaves_the_model_as_it_was(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    model = model_of(base, dtype=torch.float32)
    dcp.hf.prune(model, policy="sink", budget=20)
    file = tuned / "dcp.safetensors"
    tensors = load_file(file)
    a = "layers.0.out.low_a"
    for wrong in (
        {n: t for n, t in tensors.items() if n != a},
        tensors | {a: tensors[a].new_zeros(3, 5)},
        tensors | {a: torch.full_like(tensors[a], torch.nan)},
        tensors | {"layers.77.out.low_a": tensors[a].clone()},
        tensors | {"delta.model.strange.weight": torch.zeros(3)},
    ):
        save_file(wrong, file)
        with pytest.raises(ModelError) as refused:
            dcp.hf.prune(model, tuned)
        assert "\n" not in str(refused.value)
        state = pruning_of(model)
        assert state is not None
        assert state.policy == "sink"

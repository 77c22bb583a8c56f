"""Gates on a frozen base: its own teacher, small checkpoints, the gradient of whole logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from dcp.errors import RequestError
from dcp.kernels.training.api import Heads
from dcp.model.weights import load
from dcp.train.build import build, is_gate
from dcp.train.data import Shards
from dcp.train.loop import train
from dcp.train.settings import TrainSettings
from dcp.train.step import Accumulated, accumulate, choose_ways, window_weights
from tests.helpers.training import TINY, losses


def one_step(settings: TrainSettings, data: Shards, model: Any, teacher: Any) -> Accumulated:
    ways = choose_ways(settings, Heads(model.config.head_dim))
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    return accumulate(settings, data, model, teacher, ways, accelerator, 0)


CHEAP = TINY.change(
    stage="prune", kind="hard", tune="gates", lr=0.1, gate_lr=0.05, distill=1.0, spread=1.0,
    copies=2,
)  # fmt: skip


@pytest.mark.parametrize("tune", ["gates", "norms", "low rank"])
def test_the_cheap_recipes_leave_the_rest_as_it_was(
    tune: Any, corpus: Path, base: Path, tmp_path: Path
) -> None:
    settings, shards = CHEAP.change(tune=tune), [corpus / "shard.npy"]
    final = train(settings, shards, corpus, tmp_path / "run", init=base, teacher=base)
    before = load(base, gates=False).transformer.state_dict()
    after = load(final).transformer.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    kinds = {"gates": (), "norms": ("norm",), "low rank": ("qkv", "out", "up", "down")}
    wanted = {name for name in before if any(kind in name for kind in kinds[tune])}
    assert moved == wanted


@pytest.mark.parametrize(("tune", "tensors"), [("gates", 3), ("low rank", 3 + 2 * 4)])
def test_a_checkpoint_holds_what_was_trained_and_goes_on_from_its_own_base(
    tune: Any, tensors: int, corpus: Path, base: Path, tmp_path: Path
) -> None:
    shards, runs = [corpus / "shard.npy"], (tmp_path / "whole", tmp_path / "parts")
    settings = CHEAP.change(tune=tune, rank=2, lr=0.01)
    whole = train(settings, shards, corpus, runs[0], init=base)
    train(settings.change(steps=3, decay=0), shards, corpus, runs[1], init=base)
    names = load_file(runs[1] / "last" / "dcp.safetensors").keys()
    assert len(names) == 2 * tensors
    assert not list((runs[1] / "last").glob("model*.safetensors"))
    opened = load(runs[1] / "last")
    assert opened.gates is not None
    assert opened.gates.tuned == ("gates" if tune == "gates" else "gates+low rank")
    parts = train(settings, shards, corpus, runs[1], resume=True)
    expected, found = (load_file(run / "dcp.safetensors") for run in (whole, parts))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(runs[0]) == losses(runs[1])


def test_gates_of_a_tuned_adapter_are_taught_by_the_base_itself(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    shards = [corpus / "shard.npy"]
    first = CHEAP.change(tune="low rank", rank=2, lr=0.05)
    tuned = train(first, shards, corpus, tmp_path / "tuned", init=base)
    told = train(CHEAP, shards, corpus, tmp_path / "told", init=tuned, teacher=base)
    alone = train(CHEAP, shards, corpus, tmp_path / "alone", init=tuned)
    expected, found = (load_file(run / "dcp.safetensors") for run in (told, alone))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_low_ranks_need_a_base_to_lie_beside(corpus: Path, base: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    whole = train(TINY.change(stage="prune"), shards, corpus, tmp_path / "whole", init=base)
    with pytest.raises(RequestError, match="not from a whole pruned model"):
        build(CHEAP.change(tune="low rank"), corpus, whole)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_frozen_head_gives_the_gates_the_gradient_of_whole_logits(
    share: float, corpus: Path, base: Path
) -> None:
    whole = TINY.change(stage="prune", kind="hard", distill=share, spread=2.0, gamma=0.0)
    data = Shards.open([corpus / "shard.npy"])
    gradients = []
    for settings in (whole, whole.change(tune="gates")):
        model, _, _ = build(settings, corpus, base)
        # The teacher of the whole head must be the base without its gates.
        teacher = load(base, gates=False).transformer if settings.optimiser.tune == "all" else model
        done = one_step(settings, data, model, teacher)
        gradients.append([p.grad for n, p in model.named_parameters() if is_gate(n)])
    for expected, found in zip(*gradients, strict=True):
        assert torch.allclose(expected, found, atol=1e-6, rtol=1e-4)
    assert done.loss > 0


def test_levelled_windows_weigh_one_on_average_and_the_price_with_them(
    corpus: Path, base: Path
) -> None:
    settings = CHEAP.change(level=0.7, spread=3.0, centre=-1.0)
    dial = torch.linspace(-4.0, 2.0, 6001)
    assert float(window_weights(settings.dial, dial).mean()) == pytest.approx(1.0, rel=1e-3)
    # At one shift alone the weight is 1, whatever the level.
    data = Shards.open([corpus / "shard.npy"])
    gradients = []
    for level in (0.0, 0.7):
        model, _, _ = build(CHEAP, corpus, base)
        settings = CHEAP.change(level=level, spread=0.0, centre=2.0)
        one_step(settings, data, model, model)
        gradients.append(model.blocks[0].q_int.weight.grad)
    assert torch.allclose(*gradients, rtol=1e-4)


def test_copies_of_a_window_are_read_at_shifts_of_their_own(corpus: Path, base: Path) -> None:
    data = Shards.open([corpus / "shard.npy"])
    seen: list[torch.Tensor] = []

    model, _, _ = build(CHEAP, corpus, base)
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    one_step(CHEAP, data, model, model)
    assert [len(ids) for ids in seen] == [1, 2, 1, 2]  # the teacher reads a window once
    assert torch.equal(seen[1], seen[0].expand(2, -1))
    assert not torch.equal(seen[0], seen[2])


def test_what_no_window_fills_is_not_read(corpus: Path, base: Path) -> None:
    data = Shards.open([corpus / "shard.npy"])
    ends = np.append(data.starts[0][1:], len(data.tokens[0]))
    longest = int((ends - data.starts[0]).max())
    settings = CHEAP.change(context=4 * longest, length=2 * longest, batch=2, micro=2)
    read: list[int] = []
    model, _, _ = build(settings.change(length=32), corpus, base)
    model.config = replace(model.config, context=settings.data.length)
    model.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    one_step(settings, data, model, model)
    assert longest // 2 < max(read) < longest

"""The trainer on a toy text: it learns, resumes exactly, prunes, and fails early."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dcp.deaths import ALIVE
from dcp.errors import DataError, DeviceError, RequestError
from dcp.model.masked import MaskedAttend
from dcp.model.transformer import Transformer
from dcp.model.weights import load
from dcp.train.loop import train
from dcp.train.schedule import shifts_at
from dcp.train.sections import Data, Dial
from dcp.train.settings import SECTIONS, TrainSettings
from tests.helpers.training import TINY, losses


def test_pretraining_lowers_the_loss(base: Path) -> None:
    curve = losses(base.parent)
    assert np.mean(curve[-5:]) < np.mean(curve[:5]) - 0.5


def test_a_resumed_run_equals_an_unbroken_one(corpus: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    whole = train(TINY, shards, corpus, tmp_path / "whole")
    # Stops in the constant stretch, where the rate does not know the total.
    train(TINY.change(steps=3, decay=0), shards, corpus, tmp_path / "parts")
    parts = train(TINY, shards, corpus, tmp_path / "parts", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_a_crash_between_checkpoints_leaves_no_row_twice(corpus: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    train(TINY.change(steps=3, decay=0), shards, corpus, tmp_path / "run")
    log, last = tmp_path / "run" / "log.csv", tmp_path / "run" / "last"
    log.write_text(log.read_text() + "3,9,1,1,1,1\n")  # a step done after the last checkpoint
    last.rename(tmp_path / "run" / "last.old")  # and a stop in the middle of a swap
    train(TINY, shards, corpus, tmp_path / "run", resume=True)
    steps = [row.split(",")[0] for row in log.read_text().splitlines()[1:]]
    assert steps == ["0", "1", "2", "3", "4", "5"]


def test_pruning_starts_from_weights_alone_and_logs_what_each_layer_keeps(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    settings = TINY.change(stage="prune", steps=25, gamma=3.0, gate_lr=0.05, warmup=2)
    final = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run", init=base)
    rows = [r.split(",") for r in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    kept = np.asarray([[float(x) for x in row[-2:]] for row in rows[1:]])
    assert rows[0][-2:] == ["kept_0", "kept_1"]
    assert kept[-1].mean() < 0.5
    assert load(final).gates is not None
    assert (final / "tokenizer.json").exists()


def test_a_run_says_what_it_was_told_and_how_it_attends(
    corpus: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [corpus / "shard.npy"]
    settings = TINY.change(stage="prune", kind="hard", steps=1, distill=0.5)
    train(settings, shards, corpus, tmp_path / "run", init=base, teacher=base)
    said = "hard attention: cpu; teacher, causal attention: cpu"
    assert said in capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["attention"] == said
    assert run["settings"]["teacher"]["distill"] == 0.5
    wrong = settings.change(impl="triton")
    with pytest.raises(DeviceError, match=r"impl triton .*; use auto or reference"):
        train(wrong, shards, corpus, tmp_path / "none", init=base, teacher=base)
    assert not (tmp_path / "none").exists()


def test_the_reference_trains_as_the_kernels_do(corpus: Path, base: Path, tmp_path: Path) -> None:
    for way in ("soft", "hard"):
        curves = []
        for impl in ("reference", "cpu"):
            settings = TINY.change(stage="prune", kind=way, steps=3, gamma=1.0, impl=impl)
            run = train(settings, [corpus / "shard.npy"], corpus, tmp_path / way / impl, init=base)
            curves.append(losses(run.parent))
        assert curves[0] == pytest.approx(curves[1], abs=1e-3)


def test_the_dense_twin_has_no_gates(corpus: Path, base: Path, tmp_path: Path) -> None:
    settings = TINY.change(stage="dense", steps=2)
    final = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run", init=base)
    assert not (final / "dcp.safetensors").exists()
    assert load(final, gates=False).gates is None


def test_a_run_is_never_overwritten_by_mistake(corpus: Path, base: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    with pytest.raises(RequestError, match="already holds a run: resume it"):
        train(TINY, shards, corpus, base.parent)
    with pytest.raises(RequestError, match="no run to resume"):
        train(TINY, shards, corpus, tmp_path / "none", resume=True)
    with pytest.raises(RequestError, match="starts from a base model"):
        train(TINY.change(stage="prune"), shards, corpus, tmp_path / "none")


def test_tokens_outside_the_vocabulary_are_refused(corpus: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.full(1000, 9999, dtype=np.uint16))
    np.save(tmp_path / "big.starts.npy", np.zeros(1, dtype=np.int64))
    with pytest.raises(DataError, match="token 9999 but the vocabulary ends at 269"):
        train(TINY, [tmp_path / "big.npy"], corpus, tmp_path / "run")


def test_a_full_disk_is_named_before_any_work(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 0))
    with pytest.raises(RequestError, match="0 MiB free"):
        train(TINY, [corpus / "shard.npy"], corpus, tmp_path / "run")
    assert not (tmp_path / "run" / "last").exists()


def test_a_diverged_run_stops_and_keeps_the_last_good_state(corpus: Path, tmp_path: Path) -> None:
    wild = TINY.change(steps=40, lr=1e30, muon_lr=1e30, save_every=1)
    with pytest.raises(DataError, match="lower the learning rate"):
        train(wild, [corpus / "shard.npy"], corpus, tmp_path / "run")
    assert (tmp_path / "run" / "last" / "config.json").exists()


def test_unknown_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[model]\nwidht = 3")
    with pytest.raises(RequestError, match="unknown setting 'widht'"):
        TrainSettings.read(tmp_path / "s.toml")
    with pytest.raises(RequestError, match="multiple of micro"):
        TrainSettings().change(batch=5, micro=2)
    assert TrainSettings.read(None, steps=7, gamma=None).run.steps == 7


def test_a_step_is_shared_evenly_by_processes_or_refused() -> None:
    assert Data(batch=8, micro=4).share(2) == 4
    assert Data(batch=8, micro=4, copies=2).share(4) == 2
    for data, processes in ((Data(batch=8, micro=4), 3), (Data(batch=8, micro=4, copies=4), 4)):
        with pytest.raises(RequestError, match=f"evenly by {processes} processes"):
            data.share(processes)


def test_no_two_sections_share_a_key() -> None:
    keys = [field.name for kind in SECTIONS.values() for field in fields(kind)]
    assert len(set(keys)) == len(keys)
    assert [field.name for field in fields(TrainSettings)] == list(SECTIONS)


def test_a_flat_settings_file_is_told_where_each_key_has_gone(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text('length = 64\nmicro = 2\ngates = "hard"\nlr = 0.1\n')
    with pytest.raises(RequestError) as raised:
        TrainSettings.read(file, gamma=0.2)
    assert str(raised.value) == (
        f"{file}: settings are in sections now, move these keys: "
        "[data] length, micro; [gates] kind (was gates); [optimiser] lr"
    )
    file.write_text("[model]\nlr = 0.1\n")
    with pytest.raises(RequestError, match=r"'lr' is in \[model\] and belongs in \[optimiser\]"):
        TrainSettings.read(file)
    file.write_text("[modle]\nlr = 0.1\n")
    with pytest.raises(RequestError, match=r"unknown section \[modle\]; known: model, data"):
        TrainSettings.read(file)


def test_a_file_says_its_own_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[gates]\nkind = "hard"\ngamma = 1\n[eviction]\npolicy = "sink"\nwindows = [3, 4]\n'
    )
    read = TrainSettings.read(file, gamma=0.25, seed=3)
    assert read == TrainSettings().change(
        kind="hard", gamma=0.25, policy="sink", windows=(3, 4), seed=3
    )
    assert read.model == TrainSettings().model


def test_every_settings_file_of_the_repository_can_be_read() -> None:
    configs = Path(__file__).parents[2] / "configs"
    stages = [f for f in configs.rglob("*.toml") if f.name != "trials.toml"]
    assert len(stages) > 10
    for file in stages:
        TrainSettings.read(file)
    trials = tomllib.loads((configs / "trials.toml").read_text())
    start = TrainSettings().merged(trials["start"])
    for changes in trials["arm"].values():
        changes.pop("shards", None)
        start.merged(changes)


def test_hard_gates_learn_to_drop_and_the_dial_turns_both_ways(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    settings = TINY.change(
        stage="prune", kind="hard", beta=1.0, steps=25, gamma=0.3, gate_lr=0.02, spread=1.0
    )
    final = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run", init=base)
    rows = [r.split(",") for r in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    kept = np.asarray([[float(x) for x in row[-2:]] for row in rows[1:]]).mean(1)
    assert kept[-3:].mean() < kept[:3].mean() - 0.2
    model, ids = load(final), torch.arange(30)[None]
    shares = []
    for shift in (-1.0, 0.0, 1.0):
        hard = MaskedAttend(shift)
        model.transformer(ids, ids, hard)
        shares.append(int((hard.deaths == ALIVE).sum()))
    assert shares == sorted(shares)
    assert shares[0] < shares[2]


def test_shifts_fill_the_dial_evenly_and_are_the_same_for_the_same_step() -> None:
    drawn = shifts_at(5, 1, 8, Dial(spread=2.0))
    parts = sorted(int((shift + 2) / 0.5) for shift in drawn)
    assert parts == list(range(8))
    assert drawn == shifts_at(5, 1, 8, Dial(spread=2.0)) != shifts_at(6, 1, 8, Dial(spread=2.0))
    assert shifts_at(5, 1, 3, Dial()) == [0, 0, 0]
    assert shifts_at(5, 1, 8, Dial(10.0, 2.0)) == pytest.approx([shift + 10 for shift in drawn])
    skewed = shifts_at(5, 1, 8, Dial(spread=2.0, skew=2.0))
    assert skewed == pytest.approx([4 * (shift / 4 + 0.5) ** 2 - 2 for shift in drawn])


def last_kept(corpus: Path, base: Path, out: Path, **changes: Any) -> float:
    plain = TINY.change(
        stage="prune", kind="hard", beta=1.0, steps=16, gamma=0.3, gate_lr=0.01, spread=2.0
    )
    train(plain.change(**changes), [corpus / "shard.npy"], corpus, out, init=base)
    last = (out / "log.csv").read_text().splitlines()[-1].split(",")
    return sum(float(share) for share in last[-2:])


def test_tilt_makes_sparser_windows_pay_more_for_what_they_keep(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    even, tilted = (last_kept(corpus, base, tmp_path / str(t), tilt=t) for t in (0.0, 2.0))
    assert tilted < even


def test_each_layer_may_have_its_own_price(corpus: Path, base: Path, tmp_path: Path) -> None:
    even = last_kept(corpus, base, tmp_path / "even", gamma=0.15)
    assert last_kept(corpus, base, tmp_path / "same", gamma=0.3, gamma_layers=(0.5, 0.5)) == even
    assert last_kept(corpus, base, tmp_path / "one", gamma=0.3, gamma_layers=(0.5, 5.0)) < even
    with pytest.raises(RequestError, match="2 numbers"):
        last_kept(corpus, base, tmp_path / "none", gamma_layers=(1.0,))


def test_gates_learned_on_one_body_serve_another(corpus: Path, base: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    settings = TINY.change(stage="prune", kind="hard", gate_lr=0.05, precision="no")
    first = train(settings, shards, corpus, tmp_path / "first", init=base)
    still = settings.change(steps=1, lr=0.0, muon_lr=0.0, gate_lr=0.0, weight_decay=0.0)
    second = train(still, shards, corpus, tmp_path / "second", init=base, gates_of=first)
    theirs, own = (load_file(run / "dcp.safetensors") for run in (first, second))
    assert all(torch.equal(theirs[name], own[name]) for name in theirs)
    narrow = TINY.change(layers=1)
    small = train(narrow, shards, corpus, tmp_path / "small")
    gated = train(narrow.change(stage="prune"), shards, corpus, tmp_path / "g", init=small)
    with pytest.raises(RequestError, match="shape is another"):
        train(settings, shards, corpus, tmp_path / "none", init=base, gates_of=gated)
    twin = TINY.change(stage="dense")
    with pytest.raises(RequestError, match="only the stage prune"):
        train(twin, shards, corpus, tmp_path / "none", init=base, gates_of=first)


def test_the_twin_of_a_taught_model_is_trained_on_text_alone(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    shards = [corpus / "shard.npy"]
    for share in (0.0, 0.5):
        settings = TINY.change(stage="dense", distill=share)
        train(settings, shards, corpus, tmp_path / str(share), init=base)
    assert losses(tmp_path / "0.0") == losses(tmp_path / "0.5")


def test_gamma_may_rise_slowly(corpus: Path, base: Path, tmp_path: Path) -> None:
    now, slow = (last_kept(corpus, base, tmp_path / str(n), gamma_steps=n) for n in (0, 1000))
    assert now < slow


def test_a_teacher_is_read_where_it_is_asked_for(corpus: Path, base: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    settings = TINY.change(stage="prune", kind="hard", distill=0.9)
    with pytest.raises(RequestError, match="a teacher and the setting distill need each other"):
        train(settings, shards, corpus, tmp_path / "none", init=base)
    taught = train(settings, shards, corpus, tmp_path / "a", init=base, teacher=base)
    plain = train(settings.change(distill=0.0), shards, corpus, tmp_path / "b", init=base)
    one, other = (load_file(run / "model.safetensors") for run in (taught, plain))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_two_processes_share_a_step(corpus: Path, base: Path, tmp_path: Path) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text(
        "[data]\nlength = 32\nbatch = 4\nmicro = 2\n[optimiser]\nwarmup = 1\ndecay = 2\n"
        '[run]\nsteps = 3\nprecision = "no"\n[gates]\nkind = "hard"\nbeta = 1.0\n'
        "[dial]\nspread = 1.0\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    stage = ["-m", "dcp", "train", "prune", "--config", settings, "--base", base]
    where = ["--shards", corpus / "shard.npy", "--out", tmp_path / "run"]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launch, *stage, *where]
    ran = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(losses(tmp_path / "run")) == 3
    assert load(tmp_path / "run" / "final").gates is not None


def test_the_twin_may_be_trained_under_an_eviction(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    shards = [corpus / "shard.npy"]
    runs = [
        losses(train(settings, shards, corpus, tmp_path / name, init=base).parent)
        for name, settings in (
            ("whole", TINY.change(stage="dense")),
            ("local", TINY.change(stage="dense", policy="local", windows=(2,))),
            ("none", TINY.change(stage="dense", policy="local", windows=(1000,))),
        )
    ]
    assert runs[0] == runs[2] != runs[1]


def test_without_muon_adamw_trains_the_matrices_too(corpus: Path, tmp_path: Path) -> None:
    settings = TINY.change(muon_lr=0.0, steps=30)
    run = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run")
    curve = losses(run.parent)
    assert np.mean(curve[-5:]) < np.mean(curve[:5]) - 0.3


def test_gates_whose_input_is_small_start_with_the_same_spread(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    spread = []
    for factor in (1.0, 0.1):
        model = load(base, gates=False).transformer
        gated = Transformer(model.config, 8)
        gated.load_state_dict(model.state_dict(), strict=False)
        gated.blocks[0].attn_norm.weight.data *= factor
        gated.initialise_gates(0, 1.0)
        block = gated.blocks[0]
        hidden = block.attn_norm(gated.embed(torch.arange(100)))
        z = block.q_int(hidden) @ block.k_int(hidden).T
        spread.append(float(z.detach().std()))
    assert spread[0] == pytest.approx(spread[1], rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('gates.kind = "hrad"', "kind must be one of soft, hard"),
        ('gates.priced = "layers"', "priced must be one of pairs, steps"),
        ('gates.priced = "steps"', 'priced = "steps" needs kind = "hard"'),
        ("dial.spread = 1.0", r"needs kind = \"hard\" in \[gates\]"),
        ('gates.kind = "hard"\ndial.spread = -1.0', "0 or more"),
        ("teacher.distill = 1.5", "0 … 1"),
        ("optimiser.rate_last = -0.5", "0 … 1"),
        ("dial.skew = 0", "more than 0"),
        ("gates.depth = -1", "0 or more"),
        ("gates.alpha_first = 0.5", "1 … 16"),
        ("gates.gamma_layers = [1, -1]", "not be negative"),
        ('optimiser.tune = "biases"', "one of all, norms, low rank, gates"),
        ('optimiser.tune = "gates"\ndata.copies = 3', "multiple of copies"),
        ("data.copies = 2", "need tune"),
        ('eviction.policy = "local"', "need each other"),
        ('eviction.policy = "lokal"\neviction.windows = [3]', "policy must be one of local"),
        ("eviction.windows = 3", "windows must be a list of numbers, not 3"),
        ("eviction.windows = [3.5]", "windows must be a list of numbers"),
        ("model.heads = 3", "multiple of kv_heads"),
        ("model.width = 20", "multiple of twice heads"),
        ("model.tied = 1", "tied must be true or false, not 1"),
        ("run.steps = 2.5", "steps must be a whole number, not 2.5"),
        ("run.steps = true", "steps must be a whole number, not True"),
        ("run.seed = 4294967296", "seed must be less than"),
        ("run.stage = 3", "stage must be text, not 3"),
        ('optimiser.lr = "fast"', "lr must be a number, not 'fast'"),
        ("optimiser.lr = nan", "lr must be a number, not nan"),
        ("optimiser.lr = -1", "lr must be 0 or more"),
    ],
)
def test_settings_refuse_what_makes_no_sense(wrong: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(wrong)
    with pytest.raises(RequestError, match=said) as raised:
        TrainSettings.read(tmp_path / "s.toml")
    assert str(raised.value).startswith(str(tmp_path / "s.toml"))
    assert "\n" not in str(raised.value)

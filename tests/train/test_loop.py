"""The trainer on a toy text: it learns, resumes exactly, prunes, and fails early."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dcp.errors import DataError, RequestError
from dcp.model.weights import load
from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.schedule import shift_at
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

TINY = TrainSettings(
    layers=2, width=32, heads=2, kv_heads=2, ffn=48, context=48, interaction=8, length=32,
    batch=4, micro=2, steps=6, warmup=1, decay=2, save_every=3, precision="no",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    text = "\n\n".join(" ".join(rng.choice(words, 120)) for _ in range(40))
    (folder / "text.txt").write_text(text)
    train_tokenizer([folder / "text.txt"], 270, folder)
    pack_file(folder / "text.txt", folder, folder / "shard.npy")
    return folder


@pytest.fixture(scope="module")
def base(corpus: Path) -> Path:
    shards = [corpus / "shard.npy"]
    return train(replace(TINY, steps=30), shards, corpus, corpus / "base")


def losses(run: Path) -> list[float]:
    rows = (run / "log.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[1]) for row in rows]


def test_pretraining_lowers_the_loss(base: Path) -> None:
    curve = losses(base.parent)
    assert np.mean(curve[-5:]) < np.mean(curve[:5]) - 0.5


def test_a_resumed_run_equals_an_unbroken_one(corpus: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    whole = train(TINY, shards, corpus, tmp_path / "whole")
    # Stops in the constant stretch, where the rate does not know the total.
    train(replace(TINY, steps=3, decay=0), shards, corpus, tmp_path / "parts")
    parts = train(TINY, shards, corpus, tmp_path / "parts", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_a_crash_between_checkpoints_leaves_no_row_twice(corpus: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    train(replace(TINY, steps=3, decay=0), shards, corpus, tmp_path / "run")
    log, last = tmp_path / "run" / "log.csv", tmp_path / "run" / "last"
    log.write_text(log.read_text() + "3,9,1,1,1,1\n")  # a step done after the last checkpoint
    last.rename(tmp_path / "run" / "last.old")  # and a stop in the middle of a swap
    train(TINY, shards, corpus, tmp_path / "run", resume=True)
    steps = [row.split(",")[0] for row in log.read_text().splitlines()[1:]]
    assert steps == ["0", "1", "2", "3", "4", "5"]


def test_pruning_starts_from_weights_alone_and_logs_what_each_layer_keeps(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    settings = replace(TINY, stage="prune", steps=25, gamma=3.0, gate_lr=0.05, warmup=2)
    final = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run", init=base)
    rows = [r.split(",") for r in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    kept = np.asarray([[float(x) for x in row[-2:]] for row in rows[1:]])
    assert rows[0][-2:] == ["kept_0", "kept_1"]
    assert kept[-1].mean() < 0.5
    assert load(final).gates is not None
    assert (final / "tokenizer.json").exists()


def test_the_dense_twin_has_no_gates(corpus: Path, base: Path, tmp_path: Path) -> None:
    settings = replace(TINY, stage="dense", steps=2)
    final = train(settings, [corpus / "shard.npy"], corpus, tmp_path / "run", init=base)
    assert not (final / "dcp.safetensors").exists()
    assert load(final, gates=False).gates is None


def test_a_run_is_never_overwritten_by_mistake(corpus: Path, base: Path, tmp_path: Path) -> None:
    shards = [corpus / "shard.npy"]
    with pytest.raises(RequestError, match="add --resume"):
        train(TINY, shards, corpus, base.parent)
    with pytest.raises(RequestError, match="no run to resume"):
        train(TINY, shards, corpus, tmp_path / "none", resume=True)
    with pytest.raises(RequestError, match="give --base"):
        train(replace(TINY, stage="prune"), shards, corpus, tmp_path / "none")


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
    wild = replace(TINY, steps=40, lr=1e30, muon_lr=1e30, save_every=1)
    with pytest.raises(DataError, match="lower the learning rate"):
        train(wild, [corpus / "shard.npy"], corpus, tmp_path / "run")
    assert (tmp_path / "run" / "last" / "config.json").exists()


def test_unknown_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("widht = 3")
    with pytest.raises(RequestError, match="unknown setting 'widht'"):
        TrainSettings.read(tmp_path / "s.toml")
    with pytest.raises(RequestError, match="multiple of micro"):
        TrainSettings(batch=5, micro=2)
    assert TrainSettings.read(None, steps=7, gamma=None).steps == 7


def test_the_shift_is_drawn_anew_each_step_and_a_step_at_infinity_keeps_all(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    shards, shifts = [corpus / "shard.npy"], (-1.5, 0.0, np.inf)
    settings = replace(TINY, stage="prune", steps=12, shifts=shifts)
    train(settings, shards, corpus, tmp_path / "run", init=base)
    rows = [r.split(",") for r in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    column = rows[0].index("shift")
    drawn = [float(row[column]) for row in rows[1:]]
    assert set(drawn) == set(shifts)
    assert drawn == [shift_at(step, settings.seed, shifts) for step in range(12)]
    for row, shift in zip(rows[1:], drawn, strict=True):
        shares = [float(share) for share in row[rows[0].index("kept_0") :]]
        assert (shares == [1, 1]) == np.isinf(shift)


def test_tilt_makes_sparser_steps_pay_more_for_what_they_keep(
    corpus: Path, base: Path, tmp_path: Path
) -> None:
    plain = replace(TINY, stage="prune", steps=16, shifts=(-2.0,), gamma=0.5, gate_lr=0.01)
    kept = []
    for name, tilt in (("even", 0.0), ("tilted", 2.0)):
        settings = replace(plain, tilt=tilt)
        train(settings, [corpus / "shard.npy"], corpus, tmp_path / name, init=base)
        last = (tmp_path / name / "log.csv").read_text().splitlines()[-1].split(",")
        kept.append(sum(float(share) for share in last[-2:]))
    assert kept[1] < kept[0]


def test_settings_refuse_shifts_that_are_no_shifts(tmp_path: Path) -> None:
    for wrong in ("[]", "[nan]", "[-inf]", '["a"]', "3"):
        (tmp_path / "s.toml").write_text(f"shifts = {wrong}")
        with pytest.raises(RequestError, match=r"shifts|wrong type"):
            TrainSettings.read(tmp_path / "s.toml")

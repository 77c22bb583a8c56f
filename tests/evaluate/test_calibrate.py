"""Calibration writes what evaluation measures, and a checkpoint that still loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcp.errors import DeviceError, ModelError
from dcp.evaluate.calibrate import calibrate, fold
from dcp.evaluate.perplexity import evaluate, read_windows
from dcp.model.weights import load
from dcp.text.tokens import Tokenizer
from dcp.train.data import pack_file
from dcp.train.loop import train
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import train_tokenizer

TINY = TrainSettings().change(
    layers=2, width=32, heads=2, kv_heads=2, ffn=48, context=32, interaction=4, length=32,
    batch=2, micro=2, steps=2, warmup=1, decay=0, precision="no", beta=0.2,
)  # fmt: skip


def test_the_dial_is_measured_and_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "white", "black", "and", "or"]
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choice(words, 90)) for _ in range(4)))
    train_tokenizer([text], 270, tmp_path)
    pack_file(text, tmp_path, tmp_path / "shard.npy")
    shards = [tmp_path / "shard.npy"]
    base = train(TINY, shards, tmp_path, tmp_path / "base")
    pruned = train(TINY.change(stage="prune"), shards, base, tmp_path / "pruned", init=base)

    report = calibrate(pruned, base, [text], 32, [-1.0, 2.0])

    gates = load(pruned).gates
    assert gates is not None
    assert [p.delta for p in gates.calibration] == [-1.0, 0.0, 2.0]
    found = [p.sparsity for p in gates.calibration]
    assert found == sorted(found, reverse=True)
    assert found == [r["sparsity"] for r in report["results"]]
    trained = report["results"][1]
    assert all(
        row["held_ratio"] == pytest.approx(row["held_entries"] / trained["held_entries"])
        for row in report["policies"]
    )

    # Another context joins what is known, and the same one takes its place.
    for shifts in ([-1.0], [2.0]):
        calibrate(pruned, base, [text], 16, shifts)
        both = load(pruned).gates
        assert both is not None
        assert [(p.context, p.delta) for p in both.calibration] == [
            *((16, delta) for delta in sorted({0.0, *shifts})),
            *((32, delta) for delta in (-1.0, 0.0, 2.0)),
        ]
        assert both.shares == gates.shares

    fold(pruned, 2.0)

    own = load(pruned)
    assert own.gates is not None
    assert own.gates.calibration == ()
    again = calibrate(pruned, base, [text], 32, [-2.0])["results"]
    before = {r["gate_shift"]: r["sparsity"] for r in report["results"]}
    assert {r["gate_shift"] + 2: r["sparsity"] for r in again} == pytest.approx(
        {shift: before[shift] for shift in (0.0, 2.0)}
    )

    unfolded = (pruned / "dcp.safetensors").read_bytes()
    with pytest.raises(DeviceError):
        calibrate(pruned, base, [text], 32, [], folded=-2.0, device="abacus")
    assert (pruned / "dcp.safetensors").read_bytes() == unfolded
    back = calibrate(pruned, base, [text], 32, [2.0], folded=-2.0)["results"]
    assert {r["gate_shift"]: r["sparsity"] for r in back} == pytest.approx(
        {shift: before[shift] for shift in (0.0, 2.0)}
    )
    tuned = load(pruned)
    assert tuned.gates is not None
    assert [p.delta for p in tuned.gates.calibration] == [0.0, 2.0]
    scored = evaluate(tuned, read_windows(text, Tokenizer.load(pruned), 32), [0.0])
    assert scored[0].sparsity == pytest.approx(before[0.0])
    with pytest.raises(ModelError, match=r"no dcp_config\.json, so no gates"):
        fold(base, 1.0)
    with pytest.raises(ModelError, match="no dcp_config"):
        calibrate(base, base, [text], 32, [])
    with pytest.raises(DeviceError, match="device 'abacus' is not known"):
        calibrate(pruned, base, [text], 32, [], device="abacus")

"""Rivals whose shares are chosen on other documents: what is measured, on a tiny model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import rivals
from benchmarks.rival_rows import Arm
from dcp.evaluate.beside import read_dense, score_beside
from dcp.evaluate.rivals import Rival, budget_of, ruled
from dcp.evaluate.score import score
from dcp.evaluate.windows import Windows
from dcp.model.registry import open_model
from dcp.policies.budget import TOLERANCE

CONTEXT = 48


@pytest.fixture
def measured(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "white", "black", "and", "or", "the", "old"]
    documents = [" ".join(rng.choice(words, 40)) for _ in range(16)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))

    def run() -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", [
            "rivals", "--model", str(tiny_checkpoint("llama", drop=0.6)),
            "--file", str(tmp_path / "text.txt"), "--windows", "12", "--choose", "3",
            "--context", str(CONTEXT), "--gate-shift", "0", "--attention", "entries",
            "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out.json"),
        ])  # fmt: skip
        rivals.main()
        found: list[dict[str, Any]] = json.loads((tmp_path / "out.json").read_text())
        return found

    return run


def test_rivals_hold_as_much_and_are_chosen_elsewhere(
    measured: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (row,) = measured()
    assert row["documents"] == row["windows"] == 12
    assert row["chosen_on"]["documents"] == row["chosen_on"]["windows"] == 3
    named = [(r["policy"], r["layers"], r["equal"]) for r in row["rivals"]]
    assert named[-3:] == [(p, "as gates", "entries") for p in ("h2o", "tova", "snapkv")]
    assert [n[2] for n in named].count("bytes") == [n[2] for n in named].count("bytes16") == 1
    for rival in row["rivals"]:
        wanted = {"entries": 1.0}.get(rival["equal"])
        if wanted and rival["policy"] in ("window", "tova", "h2o"):
            assert rival["held_ratio"] == pytest.approx(wanted, abs=0.05)
        ours, theirs = sum(row["document_nats"]["pruned"]), sum(rival["document_nats"])
        ratio = math.exp((ours - theirs) / sum(row["document_tokens"]))
        assert ratio == pytest.approx(rival["pruned_over_policy"][0], rel=1e-4)
    for layers in ("equal", "as gates"):
        candidates = (
            c
            for c in row["chosen_on"]["candidates"]
            if c["layers"] == layers and abs(c["held_ratio"] - 1) <= TOLERANCE
        )
        cheapest = min(candidates, key=lambda candidate: candidate["nats"])
        best = {k: v for k, v in cheapest.items() if k not in ("nats", "held_ratio")}
        assert any(best.items() <= rival.items() for rival in row["rivals"])
    # Again from the files of the parts alone: nothing is scored twice.
    monkeypatch.setattr(rivals, "score", None)
    assert measured() == [row]


@pytest.mark.parametrize("name", ["window", "sink", "strided"])
def test_what_looks_at_nothing_is_the_same_for_every_text(
    tiny_checkpoint: Callable[..., Path], name: str
) -> None:
    model = open_model(tiny_checkpoint("llama"))
    ids = np.random.default_rng(0).integers(0, 200, (3, CONTEXT))
    windows = Windows(ids, np.ones_like(ids), np.arange(3))
    held = np.linspace(4, 20, model.info.layers)[:, None].repeat(CONTEXT, 1)
    rival = Rival(name, "as gates")
    budget = budget_of(rival, held)
    known = read_dense(model.loaded, windows)
    (beside,) = score_beside(known, [(model.loaded, ruled(rival, budget))])
    way = rivals._way(Arm(rival), budget, 3)
    found = score(model.loaded, windows, lambda: way)
    assert torch.equal(torch.from_numpy(found.held), torch.from_numpy(beside.scored.held))
    assert found.nats == pytest.approx(beside.scored.nats, rel=1e-6)

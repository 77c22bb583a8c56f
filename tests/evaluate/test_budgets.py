"""Policies at one budget: what is held is matched, figures are a plain loop's, pieces keep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.cli.main import main
from dcp.errors import RequestError
from dcp.evaluate.budgets import SHIFTED, Piece, measure, wanted_of
from dcp.evaluate.kept import Bench
from dcp.evaluate.side_by_side import compare
from dcp.evaluate.windows import Windows
from dcp.model.ruled import RuledAttend
from dcp.model.weights import LoadedModel, load
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, uniform_budget
from dcp.progress import silent

CONTEXT, BUDGET = 63, 24


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Callable[..., Path]) -> LoadedModel:
    return load(tiny_checkpoint("llama", drop=0.5))


@pytest.fixture(scope="module")
def windows() -> Windows:
    ids = np.random.default_rng(1).integers(0, 256, (12, CONTEXT))
    return Windows(ids, np.ones_like(ids), np.arange(12))


@pytest.fixture(scope="module")
def pieces(model: LoadedModel, windows: Windows) -> dict[str, Piece]:
    bench = Bench(model, None, None, silent, print)
    names = ("gates", SHIFTED, "window", "tova", "citrus", "strided")
    return {name: bench.whole(windows, BUDGET, name, 0) for name in names}


def test_what_is_held_is_matched_or_said_not_to_be(
    pieces: dict[str, Piece], windows: Windows
) -> None:
    found = {r.policy: r for r in compare([*pieces.values()], {CONTEXT: windows})}
    for name in ("gates", "window", "tova", "citrus", SHIFTED):
        assert found[name].matched, name
        assert abs(found[name].held_ratio - 1) <= found[name].tolerance == 0.01
    for name in ("gates", "window", "tova"):
        # A hard budget is full at every step.
        assert found[name].step_gap == pytest.approx(0, abs=1e-9)
        assert pieces[name].held == pytest.approx(wanted_of(BUDGET, CONTEXT))
    assert found[SHIFTED].step_gap > 0.01
    assert found["window"].gates_over_policy is not None
    assert found["gates"].gates_over_policy is None
    assert found["strided"].matched == (abs(found["strided"].held_ratio - 1) <= 0.01)
    assert (found["strided"].gates_over_policy is None) == (not found["strided"].matched)
    assert wanted_of(BUDGET, CONTEXT).tolist() == [min(t + 1, BUDGET + 1) for t in range(CONTEXT)]


def test_figures_are_those_of_a_plain_loop(
    model: LoadedModel, pieces: dict[str, Piece], windows: Windows
) -> None:
    policy, layers = policy_of("tova"), model.config.layers
    ids = torch.from_numpy(windows.ids)
    steps = torch.arange(CONTEXT).expand_as(ids)
    rule = policy.start(Setup(len(ids), layers, CONTEXT, 1, uniform_budget(24, layers, CONTEXT)))
    from dcp.model.masked import MaskedAttend

    with torch.inference_mode():
        mine = model.transformer(ids, steps, RuledAttend(policy, rule)).log_softmax(-1)[:, :-1]
        full = model.transformer(ids, steps, MaskedAttend(prune=False)).log_softmax(-1)[:, :-1]
    told = ids[:, 1:, None]
    (found,) = compare([pieces["tova"]], {CONTEXT: windows})
    assert math.log(found.ppl) == pytest.approx(-float(mine.gather(-1, told).mean()), abs=1e-5)
    assert math.log(found.ppl_dense) == pytest.approx(
        -float(full.gather(-1, told).mean()), abs=1e-5
    )
    kl = float((full.exp() * (full - mine)).sum(-1).mean())
    assert found.kl == pytest.approx(kl, abs=1e-5)
    same = float((full.argmax(-1) == mine.argmax(-1)).double().mean())
    assert found.agreement == pytest.approx(same, abs=1e-9)
    for name in ("kl", "agreement", "ppl_over_dense"):
        low, high = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        assert low < getattr(found, name) < high
    assert found.ppl_over_dense == pytest.approx(found.ppl / found.ppl_dense)
    assert found.bits_per_byte == pytest.approx(math.log2(found.ppl))


def test_a_piece_keeps_and_joins_and_its_pairs_are_the_same(
    model: LoadedModel, pieces: dict[str, Piece], windows: Windows
) -> None:
    again = [Piece.from_json(json.loads(json.dumps(p.to_json()))) for p in pieces.values()]
    assert compare(again, {CONTEXT: windows}) == compare([*pieces.values()], {CONTEXT: windows})
    for wrong in ({}, {**pieces["tova"].to_json(), "nats": "many"}, {"policy": "tova"}):
        with pytest.raises(RequestError, match="no measurement"):
            Piece.from_json(wrong)
    halves = [
        Windows(windows.ids[part], windows.token_bytes[part], windows.documents[part])
        for part in (slice(0, 5), slice(5, 12))
    ]
    one, two = (measure(model, half, "tova", BUDGET) for half in halves)
    (joint,), (whole,) = (
        compare([piece], {CONTEXT: windows}) for piece in (one.joined(two), pieces["tova"])
    )
    assert joint.kl == pytest.approx(whole.kl, abs=1e-6)
    assert joint.held == pytest.approx(whole.held)
    assert joint.agreement == whole.agreement
    fewer = Windows(windows.ids[:5], windows.token_bytes[:5], windows.documents[:5])
    with pytest.raises(RequestError, match="other windows"):
        compare(again, {CONTEXT: fewer})


@pytest.mark.parametrize(
    ("policy", "budget", "message"),
    [
        ("tova", 63, "drops nothing"),
        ("tova", 0, "at least 1"),
        ("snapkv", 20, "at least 33"),
        ("none", 20, "keeps everything"),
        ("citrus-shared", 20, "asks nothing"),
        ("best", 20, "unknown policy"),
        (SHIFTED, 20, "needs the shift"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    model: LoadedModel, windows: Windows, policy: str, budget: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        measure(model, windows, policy, budget)


def test_the_command_goes_on_where_it_was(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, stranger = tiny_checkpoint("llama", drop=0.5), tiny_checkpoint("gpt2")
    text = "\n\n".join(f"Chapter {i}. " + "The river rose again, slowly. " * 6 for i in range(11))
    (tmp_path / "text.txt").write_text(text)
    words = ["eval", "--model", str(folder), "--file", str(tmp_path / "text.txt")]
    words += ["--context", "64", "128", "--budget", "16", "80", "--keep", str(tmp_path / "kept")]
    words += ["--windows", "11", "--json"]
    assert main([*words, "--policies", "gates", "tova"]) == 0
    first = json.loads(capsys.readouterr().out)
    # A budget that drops nothing in the shorter context is left out there.
    assert [(r["context"], r["budget"], r["policy"]) for r in first] == [
        (64, 16, "gates"), (64, 16, "tova"), (128, 16, "gates"), (128, 16, "tova"),
        (128, 80, "gates"), (128, 80, "tova"),
    ]  # fmt: skip
    kept = tmp_path / "kept"
    times = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    (kept / "64-16-tova-0.json").write_text("{")
    (kept / "128-16-tova-0.json").write_text("{}")
    assert main([*words, "--policies", "gates", "tova", "window"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [row for row in again if row["policy"] != "window"] == first
    unchanged = {p.name for p in kept.iterdir() if times.get(p.name) == p.stat().st_mtime_ns}
    assert unchanged == set(times) - {"64-16-tova-0.json", "128-16-tova-0.json"}
    other = [*words[:2], str(stranger), *words[3:]]
    capsys.readouterr()
    for wrong, message in (
        ([*other, "--policies", "tova"], "another model or text"),
        ([*words[:-1], "--gate-shift", "1"], "without --gate-shift"),
        ([*words[:5], "--keep", "x"], "--keep is for --budget"),
        ([*words[:5], "--context", "64", "--budget", "64"], "drops nothing"),
        ([*words[:-1], "--policies", "best"], "unknown policy"),
    ):
        assert main(wrong) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.strip().count("\n") == 0


def test_other_gates_of_the_same_dense_model_find_its_policies_measured(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept of one model's gates is never told of another's."""
    (tmp_path / "text.txt").write_text("The river rose again, slowly. " * 12)
    kept, twin = tmp_path / "kept", tiny_checkpoint("llama", seed=5)

    def rows(seed: int, *words: str) -> dict[str, dict[str, object]]:
        model = tiny_checkpoint("llama", seed=seed)
        asked = ["eval", "--model", str(model), "--baseline", str(twin), "--context", "64"]
        asked += ["--file", str(tmp_path / "text.txt"), "--budget", "16", "--json", *words]
        assert main([*asked, "--policies", "gates", "gates-shift", "tova"]) == 0
        found = json.loads(capsys.readouterr().out)
        return {row["policy"]: row for row in found}

    first = rows(1, "--keep", str(kept))
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    second = rows(2, "--keep", str(kept))
    assert {p.name: p.stat().st_mtime_ns for p in kept.iterdir() if p.name in before} == before
    new = {path.name for path in kept.iterdir()} - set(before)
    assert new
    assert all("gates" in name or "shift" in name for name in new)
    assert second == rows(2)  # as measured from nothing
    assert second["tova"]["kl"] == first["tova"]["kl"]
    assert second["gates"]["kl"] != first["gates"]["kl"]


def test_where_changes_apply_is_asked_by_shifts_alone(
    model: LoadedModel, windows: Windows, tmp_path: Path
) -> None:
    assert model.gates is not None
    moved = replace(model, gates=replace(model.gates, changes_below=99.0))

    def kept(model: LoadedModel, name: str) -> set[str]:
        Bench(model, None, tmp_path, silent, print).whole(windows, BUDGET, name, 0)
        return {path.name for path in tmp_path.iterdir()}

    by_margin = kept(model, "gates")
    assert kept(moved, "gates") == by_margin
    shifted = kept(model, SHIFTED)
    assert kept(moved, SHIFTED) > shifted


def test_a_model_without_gates_is_measured_without_them(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(tiny_checkpoint("gpt2"), folder)
    for gate in ("dcp_config.json", "dcp.safetensors"):
        (folder / gate).unlink()
    (tmp_path / "text.txt").write_text("The river rose again, slowly. " * 12)
    words = ["eval", "--model", str(folder), "--file", str(tmp_path / "text.txt")]
    words += ["--context", "64", "--budget", "40", "--json"]
    assert main(words) == 0
    found = [row["policy"] for row in json.loads(capsys.readouterr().out)]
    # What cannot keep a budget is left out unless it was asked for.
    assert main([*words, "--budget", "20"]) == 0
    said = capsys.readouterr()
    assert "left out: snapkv" in said.err
    assert "snapkv" not in said.out
    assert main([*words, "--budget", "20", "--policies", "snapkv"]) == 2
    assert "at least 33" in capsys.readouterr().err
    assert "gates" not in found
    assert {"window", "h2o", "tova", "snapkv", "citrus", "keynorm", "random"} <= set(found)
    assert main([*words, "--policies", "gates"]) == 2
    assert "has no gates" in capsys.readouterr().err

"""The layer at which predictions settled: against `transformers`, in the trace, as a statistic."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.errors import RequestError, TraceError
from dcp.model.registry import open_model
from dcp.runs.recorder import record
from dcp.runs.settled import Depths, depths, settle
from dcp.stats.settling import settling
from dcp.trace import Trace
from tests.helpers.traces import random_trace

TEXT = "The river rose for three days. Then it fell, and nobody spoke of it again in the town."


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_layers_say_what_the_logit_lens_of_transformers_says(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    from transformers import AutoModelForCausalLM

    folder = tiny_checkpoint(architecture, drop=0)
    model = open_model(folder)
    trace = record(TEXT, model=model, new_tokens=9, temperature=0)
    found = depths(model, trace)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    norm = theirs.model.norm if architecture == "llama" else theirs.transformer.ln_f
    queries = trace.n_queries
    ids = torch.from_numpy(trace.token_ids[:queries].astype(np.int64))[None]
    raw = []
    blocks = theirs.model.layers if architecture == "llama" else theirs.transformer.h
    for block in blocks:
        block.register_forward_hook(
            lambda m, a, out: raw.append((out[0] if isinstance(out, tuple) else out)[0])
        )
    with torch.inference_mode():
        theirs(ids)
        states = [state.reshape(queries, -1) for state in raw]
        logits = [theirs.lm_head(norm(state)) for state in states]
    told = torch.stack(logits).argmax(dim=-1).numpy()
    assert np.array_equal(found.agree, told == told[-1])
    top = torch.stack(logits).softmax(dim=-1).sort(dim=-1).values.numpy()
    np.testing.assert_allclose(found.confidence[0], top[..., -1], atol=2e-5)
    np.testing.assert_allclose(found.confidence[1], top[..., -1] - top[..., -2], atol=2e-5)
    cosine = torch.nn.functional.cosine_similarity(states[1], states[2], dim=-1).numpy()
    np.testing.assert_allclose(found.confidence[2, 2], cosine, atol=2e-5)
    assert (found.confidence[2, 0] == 0).all()
    assert found.agree.shape == (3, queries)


def test_first_settled_and_exit_layers_by_hand() -> None:
    # Three steps in four layers: agrees twice, with a gap; only at the end; from the start.
    agree = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    confidence = np.zeros((3, 4, 3), np.float32)
    confidence[0, :, 0] = [0.1, 0.5, 0.9, 0.2]
    found = Depths(agree, confidence, tokens=5)
    assert found.first.tolist() == [0, 3, 0, -1, -1]
    assert found.settled.tolist() == [2, 3, 0, -1, -1]
    assert found.exits(0.5)[0].tolist() == [1, 3, 3, -1, -1]
    assert found.exits(0.6)[0].tolist() == [2, 3, 3, -1, -1]
    assert found.exits(1.0)[:, :3].min() == 3
    assert found.exits(0.0)[:, :3].max() == 0
    with pytest.raises(RequestError, match="from 0 to 1"):
        found.exits(1.5)


def test_a_trace_keeps_it_and_says_nonsense_is_nonsense(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    model = open_model(tiny_checkpoint("llama", drop=0.4))
    trace = record(TEXT, model=model, new_tokens=4)
    full = settle(model, trace, 0.3)
    full.save(tmp_path / "run.safetensors")
    again = Trace.load(tmp_path / "run.safetensors")
    assert again == full
    assert again != trace
    assert again.meta.exit_threshold == 0.3
    assert again.settled is not None
    assert again.exits is not None
    assert (again.settled[: trace.n_queries] >= 0).all()
    assert (again.exits[:, trace.n_queries :] == -1).all()
    for name, wrong in (
        ("settled", again.settled + 3),
        ("settled", np.zeros(trace.tokens, np.int32)),
        ("exits", again.exits[:2]),
        ("exits", -again.exits - 1),
    ):
        with pytest.raises(TraceError, match=name):
            replace(again, **{name: wrong})
    with pytest.raises(RequestError, match="from 0 to 1"):
        settle(model, trace, float("nan"))
    with pytest.raises(RequestError, match="other weights"):
        settle(open_model(tiny_checkpoint("gpt2")), trace)


def early_first(seed: int, *, late: bool = False) -> Trace:
    """200 tokens in two layers; those that settle at layer 0 die young (with ``late``: old)."""
    rng = np.random.default_rng(seed)
    trace = random_trace(seed, layers=2, tokens=200)
    queries = trace.n_queries
    settled = np.full(200, -1, np.int32)
    settled[:queries] = rng.integers(0, 2, queries)
    young = (settled == 0) ^ late
    # Within 16 steps two thirds of the young die and none of the old.
    age = np.where(young, rng.integers(1, 25, (2, 200)), rng.integers(20, 60, (2, 200)))
    death = np.arange(200) + age
    death = np.where(death < queries, death, ALIVE).astype(np.int32)
    margin = np.where(death == ALIVE, 1, -1).astype(np.float32)
    meta = replace(trace.meta, prompt_tokens=queries)
    seconds = np.full(200, np.nan, np.float32)
    return replace(
        trace, death=death, settled=settled, margin=margin, meta=meta, step_seconds=seconds
    )


def test_the_statistic_finds_an_effect_and_its_direction_and_none_where_there_is_none() -> None:
    sooner = settling([early_first(i) for i in range(12)], horizon=16)
    assert sooner.interval == "texts"
    assert sooner.rates["group"].tolist() == ["layer 0", "layer 1"]
    for found in (sooner.raw, sooner.at_position):
        assert found.value == pytest.approx(2 / 3, abs=0.04)
        assert 0.6 < found.low < found.value < found.high < 0.75
    later = settling([early_first(i, late=True) for i in range(12)], horizon=16)
    assert later.raw.value == pytest.approx(-2 / 3, abs=0.04)
    few = settling([early_first(i) for i in range(9)], horizon=16)
    assert np.isnan([few.raw.low, few.raw.high]).all()
    assert few.raw.value == pytest.approx(2 / 3, abs=0.04)
    rng = np.random.default_rng(0)
    shuffled = []
    for trace in [early_first(i) for i in range(12)]:
        settled = trace.settled.copy()
        rng.shuffle(settled[: trace.n_queries])
        shuffled.append(replace(trace, settled=settled))
    nothing = settling(shuffled, horizon=16)
    for found in (nothing.raw, nothing.at_position):
        assert found.low < 0 < found.high
        assert abs(found.value) < 0.05


def test_the_difference_at_equal_position_is_not_fooled_by_position() -> None:
    """Early tokens of a text settle early and die young, whatever their layer: no effect."""
    traces = []
    for seed in range(12):
        trace = early_first(seed)
        queries, rng = trace.n_queries, np.random.default_rng(seed)
        first = np.arange(200) < 64
        settled = np.where(rng.random(200) < np.where(first, 0.8, 0.2), 0, 1).astype(np.int32)
        settled[queries:] = -1
        age = np.where(first, rng.integers(1, 9, (2, 200)), rng.integers(20, 60, (2, 200)))
        death = np.arange(200) + age
        death = np.where(death < queries, death, ALIVE).astype(np.int32)
        margin = np.where(death == ALIVE, 1, -1).astype(np.float32)
        traces.append(replace(trace, death=death, settled=settled, margin=margin))
    found = settling(traces, horizon=16)
    assert found.raw.value > 0.4
    assert abs(found.at_position.value) < 0.05
    with pytest.raises(RequestError, match="does not say"):
        settling([random_trace(1)])
    one = np.where(traces[0].settled < 0, -1, 0).astype(np.int32)
    with pytest.raises(RequestError, match="settled at one layer"):
        settling([replace(traces[0], settled=one)])
    with pytest.raises(RequestError, match="no token of source"):
        settling(traces[:1], source="generated")


def test_the_command_line_reports_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run.safetensors"
    words = ["trace", "--model", "dcp-mini", "--text", TEXT * 4, "--new-tokens", "3"]
    words += ["--out", str(run)]
    assert main(words) == 0
    capsys.readouterr()
    calm = ["calm", str(run), "--model", "dcp-mini"]
    before = run.read_bytes()
    assert main([*calm, "--json", "--horizon", "8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["mean_settled_layer"] < 7
    assert set(found["mean_exit_layer"]) == {"softmax_max", "softmax_diff", "state"}
    assert {row["horizon"] for row in found["rates"]} == {8}
    assert -1 <= found["early_less_late"]["value"] <= 1
    assert run.read_bytes() == before
    assert main([*calm, "--save", "--threshold", "0.2"]) == 0
    said = capsys.readouterr()
    assert "less that of the last" in said.out
    assert "left at 0.2" in said.err
    assert Trace.load(run).meta.exit_threshold == 0.2
    assert main([*calm, "--threshold", "1.2"]) == 2
    assert "from 0 to 1" in capsys.readouterr().err


def test_a_policys_run_and_one_that_settles_nowhere_are_told_of(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy's run has no gates: its weights are those of the base."""
    folder, run = str(tiny_checkpoint("llama", drop=0.4)), tmp_path / "run.safetensors"
    words = ["trace", "--model", folder, "--text", TEXT, "--new-tokens", "3", "--out", str(run)]
    assert main([*words, "--policy", "tova", "--budget", "20"]) == 0
    capsys.readouterr()
    assert main(["calm", str(run), "--model", folder, "--json", "--source", "generated"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["rates"] == []
    assert "at one layer" in said.err or "no token of source" in said.err

"""A policy's run is an ordinary trace: by the library, by the command line, on any model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.model.registry import open_model
from dcp.policies.registry import POLICIES
from dcp.runs.plans import drop_now, put_back
from dcp.runs.recorder import record
from dcp.runs.request import TextRequest, as_dropped
from dcp.runs.rescore import effect
from dcp.runs.rewrite import rewrite
from dcp.trace import Trace

TEXT = "The museum opened in 1901. It closed for a year, and then it opened again."


@pytest.mark.parametrize("name", POLICIES)
def test_a_run_under_a_policy_is_a_trace(
    tiny_checkpoint: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    folder = tiny_checkpoint("llama", drop=0.1)
    budget = 16 if POLICIES[name].budgeted else None
    settings: dict[str, Any] = {"window": 3} if name == "snapkv" else {}
    if POLICIES[name].instructed != "no":
        settings = {"instruction": "When did it open?"}
    options = {"new_tokens": 6, "policy": name, "budget": budget, "policy_settings": settings}
    run = record(TEXT, model=folder, **options)
    run.save(tmp_path / "run.safetensors")
    again = Trace.load(tmp_path / "run.safetensors")
    assert again == run
    if name != "gates" or budget:
        assert (again.meta.policy, again.meta.budget) == (name, budget)
    dead = run.death != ALIVE
    if name == "none":
        assert not dead.any()
    else:
        assert dead.any()
        # After its prompt a step sees what was kept, and itself.
        assert run.held()[:, run.prompt_tokens + 1 :].max() <= 17
    if name != "gates":
        assert np.isnan(run.margin).all()
    # What it says of itself makes the same run again.
    remade = record(TEXT, model=folder, new_tokens=6, **as_dropped(run.meta))
    assert np.array_equal(remade.death, run.death)
    assert remade.meta.policy_settings == run.meta.policy_settings


WRITTEN_ON = [name for name in POLICIES if POLICIES[name].instructed != "must"]


@pytest.mark.parametrize("name", WRITTEN_ON)
def test_a_run_under_a_rule_is_written_on_twice_by_that_rule(
    tiny_checkpoint: Callable[..., Path], name: str
) -> None:
    model = open_model(tiny_checkpoint("llama", drop=0.1))
    budget = 9 if POLICIES[name].budgeted else None
    settings: dict[str, Any] = {"window": 3} if name == "snapkv" else {}
    run = record(
        TEXT, model=model, new_tokens=12, policy=name, budget=budget, policy_settings=settings
    )
    gone = np.flatnonzero((run.death != ALIVE).any(axis=0))
    plan = put_back(run, int(gone[len(gone) // 2])) if len(gone) else drop_now(run, 3, 5)
    found = rewrite(model, run, plan, new_tokens=12)
    assert found.start == run.prompt_tokens
    # As it was, it is the recorded text again: the same rule, seed and sampling.
    recorded = "".join(run.fragments()[found.start :])
    # A character that is still open at the end belongs to no piece yet.
    assert "".join(found.as_was) == recorded.rstrip("\ufffd")
    assert len(found.changed) == 12
    if name != "none":
        assert found.changed == found.as_was or found.apart is not None


def test_a_rule_that_hears_a_question_is_not_written_on(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    model = open_model(tiny_checkpoint("llama"))
    settings = {"instruction": "When did it open?"}
    run = record(
        TEXT, model=model, new_tokens=6, policy="citrus-shared", budget=16, policy_settings=settings
    )
    token = int(np.flatnonzero((run.death != ALIVE).any(axis=0))[0])
    with pytest.raises(RequestError, match="reads its question anew after each chunk"):
        rewrite(model, run, put_back(run, token))
    stranger = replace(run, meta=replace(run.meta, policy="dms", policy_settings=None))
    with pytest.raises(RequestError, match="a rule that is not known here"):
        rewrite(model, stranger, put_back(stranger, token))
    # What the drop did to each later token is told all the same.
    found = effect(model, run, put_back(run, token), n=2)
    assert np.isfinite(found.change).any()


def test_a_policy_needs_no_gates(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(tiny_checkpoint("gpt2"), folder)
    for gate in ("dcp_config.json", "dcp.safetensors"):
        (folder / gate).unlink()
    run = record(TEXT, model=folder, new_tokens=2, policy="h2o", sparsity=0.6)
    assert run.sparsity_mean_steps() == pytest.approx(0.6, abs=0.05)


def test_the_command_line_says_what_decided(
    tiny_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", "--model", str(tiny_checkpoint("llama")), "--text", TEXT, "--json"]
    words += ["--new-tokens", "2"]
    chosen = ["--policy", "snapkv", "--budget", "9", "--policy-setting", "window=4"]
    assert main([*words, *chosen]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["policy"], found["budget"]) == ("snapkv", 9)
    assert found["policy_settings"] == {"window": 4, "kernel": 5}
    assert len(found["held_per_layer"]) == found["layers"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == "gates"
    for wrong, message in (
        (["--policy", "h2o"], "needs a budget"),
        (["--policy", "best", "--budget", "9"], "unknown policy"),
        (["--policy", "sink", "--budget", "3"], "at least 5"),
        (["--policy", "none", "--budget", "3"], "keeps everything"),
        (["--policy", "tova", "--budget", "9", "--gate-shift", "1"], "no gates to shift"),
        (["--policy", "snapkv", "--budget", "9", "--policy-setting", "window"], "KEY=VALUE"),
        (["--policy", "snapkv", "--budget", "9", "--policy-setting", "w=3"], "no setting 'w'"),
        (["--budget", "0"], "at least 1"),
        (["--policy", "tova", "--budget", "9", "--impl", "native"], "impl"),
        (["--policy", "snapkv", "--budget", "9", "--policy-setting", "window=0"], "from 1 to"),
    ):
        assert main([*words, *wrong]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_sparsity_means_the_same_share_for_every_length() -> None:
    for tokens in (40, 400):
        for name in ("window", "sink", "tova"):
            if (tokens, name) == (40, "sink"):
                continue
            eviction = TextRequest("x", policy=name, sparsity=0.7).eviction(tokens)
            assert eviction is not None
            assert eviction.budget is not None
            steps = np.arange(1, tokens)
            held = np.minimum(steps, eviction.budget)
            assert (1 - held / steps).mean() == pytest.approx(0.7, abs=0.03)
    # Four sinks and a window of one are more than that.
    with pytest.raises(RequestError, match="sink can drop 62% of 40 tokens, not 70%"):
        TextRequest("x", policy="sink", sparsity=0.7).eviction(40)
    with pytest.raises(RequestError, match="one of them"):
        TextRequest("x", policy="h2o", budget=4, sparsity=0.5)


def test_what_a_policy_cost_is_read_on_the_weights_it_ran_on(
    tiny_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", "--model", str(tiny_checkpoint("llama")), "--text", TEXT, "--json"]
    words += ["--new-tokens", "2", "--policy", "tova", "--budget", "9", "--gates-off"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["gates_off"]["kl"] > 0


def test_the_help_names_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert all(f"{name}," in said or f"{name} (" in said for name in POLICIES)

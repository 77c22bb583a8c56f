"""What a user can get wrong with policies, by every door: one line that says how to mend it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcp.cli.main import main
from dcp.errors import DcpError
from dcp.model.dial import share_at, shift_at, shift_for_budget
from dcp.model.gate_config import Calibration, GateConfig, Shares
from dcp.model.registry import open_model, shift_for
from dcp.policies.budget import dropped_share
from dcp.policies.registry import POLICIES
from dcp.runs.recorder import record

TEXT = "The museum opened in 1901. It closed for a year, and then it opened again."
BUDGETED = [policy for policy in POLICIES.values() if policy.budgeted]
SHIFTED = {"policy_settings": {"by": "shift"}}


def refused(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("policy", BUDGETED, ids=lambda policy: policy.name)
def test_a_budget_below_the_smallest_is_refused_and_the_smallest_runs(
    tiny_checkpoint: Callable[..., Path], policy
) -> None:
    folder = tiny_checkpoint("llama", drop=0.2)
    given = {"instruction": "When?"} if policy.instructed != "no" else {}
    options = {"model": folder, "new_tokens": 2, "policy": policy.name, "policy_settings": given}
    least = policy.least(policy.with_settings(given), len(TEXT) + 2)
    run = record(TEXT, **options, budget=least)
    assert run.meta.budget == least
    with pytest.raises(DcpError, match="at least") as wrong:
        record(TEXT, **options, budget=least - 1)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("impl", ["native", "triton"])
@pytest.mark.parametrize("name", ["window", "h2o", "citrus-shared"])
def test_a_rule_takes_the_slow_path_and_a_named_kernel_refuses_it(
    tiny_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str], name: str, impl: str
) -> None:
    words = ["trace", "--model", str(tiny_checkpoint("llama")), "--text", TEXT, "--json"]
    words += ["--new-tokens", "1", "--policy", name, "--budget", "16"]
    if name == "citrus-shared":
        words += ["--instruction", "Who?"]
    assert main(words) == 0
    # Never the native step, whatever auto would choose for the gates; and the trace names it.
    assert json.loads(capsys.readouterr().out)["impl"] in ("cpu", "reference")
    assert main([*words, "--impl", impl]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--policy", "h20", "--budget", "9"], "unknown policy 'h20'; use one of: gates, none,"),
        (["--policy", "h2o", "--budget", "9", "--policy-setting", "k=1"], "its settings: recent"),
        (["--budget", "9", "--policy-setting", "by=magic"], "by must be margin or shift"),
        (["--policy-setting", "by=shift"], "need one: give the entries a layer"),
        (["--budget", "9", "--policy-setting", "by=shift", "--gate-shift", "1"], "budget alone"),
        (["--budget", "9", "--policy-setting", "by=shift", "--sparsity", "0.5"], "budget alone"),
        (["--policy", "sink", "--budget", "68", "--policy-setting", "sinks=64"], ""),
        (["--policy", "sink", "--budget", "64", "--policy-setting", "sinks=64"], "at least 65"),
        (["--policy", "citrus-shared", "--budget", "16", "--instruction", "Who? " * 60],
         "leave no room for text"),
    ],
)  # fmt: skip
def test_the_command_line(
    tiny_checkpoint: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    start = ["trace", "--model", str(tiny_checkpoint("llama", drop=0.2)), "--text", TEXT]
    start += ["--new-tokens", "1"]
    if message:
        refused(capsys, [*start, *words], message)
    else:
        assert main([*start, *words]) == 0


def test_a_shift_for_a_budget_is_that_of_as_large_a_share() -> None:
    points = tuple(Calibration(d, 512, s, 1.0) for d, s in ((-2.0, 0.9), (0.0, 0.7), (4.0, 0.3)))
    gates = GateConfig(8, points)
    # By hand: what a window of 40 drops of 1 … 511 earlier tokens.
    share = sum(max(0, t - 40) / t for t in range(1, 512)) / 511
    assert dropped_share(40, 512) == pytest.approx(share)
    # Without measured lengths that of the calibration counts, whatever is read.
    for tokens in (30, 512, 9000):
        assert shift_for_budget(gates, 40, tokens) == pytest.approx(shift_for(points, share))
    assert shift_for_budget(gates, 511, 512) == 4.0
    least = next(n for n in range(1, 512) if dropped_share(n, 512) <= 0.9)
    assert -2.0 <= shift_for_budget(gates, least, 512) < 0
    with pytest.raises(DcpError, match=f"the smallest budget is {least}"):
        shift_for_budget(gates, least - 1, 512)
    with pytest.raises(DcpError, match="no calibration"):
        shift_for_budget(GateConfig(8), 40, 512)
    lengths = Shares((64, 512), (-2.0, 4.0), ((0.6, 0.9), (0.1, 0.3)))
    measured = GateConfig(8, points, shares=lengths)
    for tokens in (64, 200, 512):
        wanted = max(dropped_share(40, tokens), share_at(lengths, 4.0, tokens))
        assert shift_for_budget(measured, 40, tokens) == shift_at(measured, wanted, tokens)


def test_gates_shifted_for_a_budget_run_without_a_rule_and_say_so() -> None:
    model = open_model("dcp-mini")
    options = {"model": model, "new_tokens": 4, "temperature": 0}
    run = record(TEXT, **options, budget=64, **SHIFTED)
    delta = shift_for_budget(model.info, 64, len(model.tokenizer.encode(TEXT)) + 3)
    same = record(TEXT, **options, gate_shift=delta)
    assert (run.death == same.death).all()
    assert (run.meta.policy, run.meta.budget) == ("gates", 64)
    assert run.meta.policy_settings == {"by": "shift"}
    assert run.meta.gate_shift == pytest.approx(delta)
    # The fast step stays: no rule takes part.
    assert run.meta.impl == same.meta.impl


def test_an_open_model_without_gates_does_not_quietly_keep_everything(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    bare = open_model(tiny_checkpoint("llama"), gates=False)
    with pytest.raises(DcpError, match="choose a policy that needs none"):
        record(TEXT, model=bare)
    assert record(TEXT, model=bare, new_tokens=1, policy="tova", budget=9).meta.policy == "tova"
    # What was kept for gate keys is not counted where no gate takes part.
    gated = open_model(tiny_checkpoint("llama"))
    for policy, more in (("tova", 0), ("gates", 4 * gated.loaded.gates.interaction)):
        memory = record(TEXT, model=gated, new_tokens=1, policy=policy, budget=9).meta.memory
        assert memory.row == memory.entry + more


def test_inside_transformers_too(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from dcp import hf

    folder = tmp_path / "calibrated"
    shutil.copytree(tiny_checkpoint("llama", drop=0.3), folder)
    told = json.loads((folder / "dcp_config.json").read_text())
    points = tuple(Calibration(d, 256, s, 1.0) for d, s in ((-2.0, 0.9), (3.0, 0.3)))
    (folder / "dcp_config.json").write_text(
        json.dumps({**told, "calibration": [vars(point) for point in points]})
    )
    model = AutoModelForCausalLM.from_pretrained(folder)
    for wrong in ({}, {"budget": 9, "sparsity": 0.5}, {"budget": 9, "gate_shift": 1.0}):
        with pytest.raises(DcpError, match="a budget alone"):
            hf.prune(model, folder, **SHIFTED, **wrong)
    with pytest.raises(DcpError, match="the smallest budget is"):
        hf.prune(model, folder, **SHIFTED, budget=1)
    delta = shift_for_budget(GateConfig(8, points), 40, 256)
    deaths = []
    for options in ({**SHIFTED, "budget": 40}, {"gate_shift": delta}):
        with hf.pruned(model, folder, **options):
            ids = torch.arange(3, 40)[None]
            model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
            deaths.append(hf.trace(model, AutoTokenizer.from_pretrained(folder)).death)
    assert (deaths[0] == deaths[1]).all()
    assert (deaths[0] < 40).any()

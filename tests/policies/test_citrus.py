"""CItruS under an instruction: by hand on eager attention, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcp.cli.main import main
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.weights import load
from dcp.policies.rule import Eviction
from dcp.runs.recorder import record
from tests.helpers.policy_oracle import Eager, instructed

FORMS = ("citrus", "citrus-shared", "citrus-individual")
PROMPT, NEW, BUDGET = 43, 17, 20
INSTRUCTION = [3, 141, 59, 26, 53, 58, 97]
TEXT = "The museum opened in 1901. It closed for a year, and then it opened again."


def run_of(folder: Path, form: str, prompts: list[list[int]], instruction=INSTRUCTION, **options):
    eviction = Eviction(form, BUDGET, {"instruction": "?"}, tuple(instruction))
    run = Engine(load(folder)).run(
        prompts,
        new_tokens=NEW,
        sampling=Sampling(temperature=0),
        eviction=eviction,
        **options,
    )
    return run, list(run)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("form", FORMS)
def test_deaths_are_those_of_the_published_algorithm(
    tiny_checkpoint: Callable[..., Path], form: str, architecture: str
) -> None:
    folder = tiny_checkpoint(architecture)
    prompt = np.random.default_rng(5).integers(0, 256, PROMPT).tolist()
    run, steps = run_of(folder, form, [prompt])
    death, _ = run.lives(0)
    drawn = [t for step in steps for part in step.rows for t in part.tokens.tolist()][PROMPT:]
    ids = [*prompt, *drawn][:-1]
    expected = instructed(Eager(folder), ids, PROMPT, INSTRUCTION, form, BUDGET)
    assert np.array_equal(expected, death[:, : len(ids)])
    assert (expected == PROMPT).any()


@pytest.mark.parametrize("form", FORMS)
def test_batch_and_chunk_change_nothing_and_the_instruction_leaves_nothing(
    tiny_checkpoint: Callable[..., Path], form: str
) -> None:
    folder = tiny_checkpoint("llama")
    config = load(folder).config
    first, second = list(range(PROMPT)), list(range(9, 38))
    both, steps = run_of(folder, form, [first, second], chunk=64)
    row = 2 * config.layers * config.kv_heads * config.head_dim * 4
    for step in steps:
        for part in step.rows:
            # Two caches, until the first new token is read.
            reading = part.queries <= (PROMPT, len(second))[part.row]
            caches = 2 if reading and form == "citrus-individual" else 1
            assert part.memory.live <= caches * BUDGET * row
    for i, prompt in enumerate((first, second)):
        alone, _ = run_of(folder, form, [prompt])
        assert np.array_equal(both.lives(i)[0], alone.lives(0)[0])


def test_another_question_keeps_other_tokens(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama")
    options = {"model": folder, "new_tokens": 3, "budget": 16}
    for form in FORMS:
        one, other = (
            record(TEXT, **options, policy=form, policy_settings={"instruction": question})
            for question in ("Who closed it?", "Where is the river?")
        )
        assert not np.array_equal(one.death, other.death)
        assert one.meta.policy_settings["instruction"] == "Who closed it?"
        # What is read is the text alone.
        assert one.prompt_tokens == len(TEXT)
    plain = record(TEXT, **options, policy="citrus")
    assert not np.array_equal(plain.death, record(TEXT, **options, policy="tova").death)


def test_the_command_line_takes_an_instruction(
    tiny_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", "--model", str(tiny_checkpoint("llama")), "--text", TEXT, "--json"]
    words += ["--new-tokens", "2", "--policy", "citrus-shared"]
    asked = ["--budget", "16", "--instruction", "Who?"]
    assert main([*words, *asked]) == 0
    assert '"instruction": "Who?"' in capsys.readouterr().out
    for wrong, message in (
        (["--budget", "16"], "give one"),
        (["--budget", "16", "--instruction", "  "], "give one"),
        (["--budget", "3", "--instruction", "Who?"], "at least 4"),
        (["--sparsity", "0.5", "--instruction", "Who?"], "needs a budget"),
        (["--budget", "16", "--instruction", "Who? " * 60], "leave no room"),
        (["--budget", "16", "--instruction", "Who? " * 40], "of the instruction"),
        (["--budget", "16", "--policy", "tova", "--instruction", "Who?"], "no setting"),
        ([*asked, "--impl", "triton"], "policy citrus-shared"),
    ):
        assert main([*words, *wrong]) == 2
        said = capsys.readouterr().err
        assert message in said or "--impl" in wrong
        assert said.count("\n") == 1


def test_where_no_instruction_can_be_heard_it_is_refused(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM

    from dcp import hf

    folder = tiny_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(RequestError, match=r"use dcp\.record"):
        hf.prune(model, policy="citrus-shared", budget=8, policy_settings={"instruction": "Who?"})
    (tmp_path / "text.txt").write_text("One line. " * 40)
    words = ["eval", "--model", str(folder), "--file", str(tmp_path / "text.txt")]
    assert main([*words, "--context", "64", "--policies", "citrus-shared"]) == 2
    assert "a corpus asks nothing" in capsys.readouterr().err
    with pytest.raises(RequestError, match="needs the token ids"):
        run_of(folder, "citrus-shared", [[1, 2, 3]], instruction=())

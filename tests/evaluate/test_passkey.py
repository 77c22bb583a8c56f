"""Passkey retrieval: prompts that hold their key where they say, and scores that a reader of the
masked forward finds again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from dcp.cli.main import main
from dcp.errors import RequestError
from dcp.evaluate.passkey import evaluate_passkey, passkey
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel, open_model
from dcp.text.tokens import Tokenizer
from tests.helpers.checkpoints import write_tokenizer


@pytest.fixture(scope="module")
def mini() -> OpenModel:
    return open_model("dcp-mini")


@settings(max_examples=30, deadline=None)
@given(
    context=st.integers(160, 600),
    depth=st.floats(0, 1),
    key=st.integers(10_000, 99_999),
)
def test_a_prompt_is_as_long_as_fits_and_tells_its_key_twice(
    mini: OpenModel, context: int, depth: float, key: int
) -> None:
    tokenizer = mini.tokenizer
    prompt = passkey(tokenizer, context, depth, str(key))
    assert len(prompt.ids) <= context
    assert context - len(prompt.ids) < 40  # less than one more filler
    assert tokenizer.decode(prompt.ids[prompt.answer :]).strip() == str(key)
    question = tokenizer.decode(prompt.ids[: prompt.answer])
    assert question.rstrip(" ").endswith("What is the pass key? The pass key is")
    told = tokenizer.decode(prompt.ids[prompt.told]).split()
    assert "".join(told) == f"{key}" * 2
    # The line lies where depth says, to within a filler.
    at = prompt.told[0] / prompt.answer
    assert abs(at - (0.1 + 0.8 * depth)) < 0.25


def test_depth_moves_the_key_from_front_to_back(mini: OpenModel) -> None:
    places = [
        int(passkey(mini.tokenizer, 512, depth, "54321").told[0]) for depth in (0, 0.25, 0.5, 1)
    ]
    assert places == sorted(places)
    assert places[1] < 300 < places[-1]


def test_a_space_that_is_a_token_of_its_own_is_not_the_key(tmp_path: Path) -> None:
    """As in SmolLM2's vocabulary, where each digit is a token: the space before tells nothing."""
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    prompt = passkey(tokenizer, 700, 0.5, "54321")
    assert [tokenizer.decode([t]) for t in prompt.ids[prompt.answer :]] == list("54321")
    assert tokenizer.decode(prompt.ids[: prompt.answer]).endswith("The pass key is ")


def test_what_a_vocabulary_puts_after_a_text_is_not_the_key(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    end = "<|endoftext|>"
    ends = [(end, tokenizer.backend.token_to_id(end))]
    tokenizer.backend.post_processor = TemplateProcessing(f"{end} $A {end}", None, ends)
    prompt = passkey(tokenizer, 700, 0.5, "54321")
    assert tokenizer.decode(prompt.ids[prompt.answer :]) == "54321"


def test_scores_are_those_of_the_masked_forward(mini: OpenModel) -> None:
    found = evaluate_passkey(
        mini.loaded, mini.tokenizer, [200], (None, 0.0), depths=(0.5,), keys=3, seed=7
    )
    keys = np.random.default_rng(7).integers(10_000, 100_000, size=3)
    for result, shift in zip(found, (None, 0.0), strict=True):
        right, nats, held = 0, [], []
        for key in keys:
            prompt = passkey(mini.tokenizer, 200, 0.5, str(key))
            ids = torch.from_numpy(prompt.ids)[None]
            way = MaskedAttend(prune=False) if shift is None else MaskedAttend(shift)
            with torch.inference_mode():
                steps = torch.arange(ids.shape[1])[None]
                logits = mini.loaded.transformer(ids, steps, way)[0]
            answer = range(prompt.answer, len(prompt.ids))
            right += all(int(logits[t - 1].argmax()) == int(ids[0, t]) for t in answer)
            nats += [-float(logits[t - 1].log_softmax(-1)[ids[0, t]]) / len(answer) for t in answer]
            deaths = way.deaths[:, 0, torch.from_numpy(prompt.told)]
            held.append(float((deaths >= prompt.answer).double().mean()))
        assert result.accuracy == right / 3
        assert result.nats == pytest.approx(sum(nats) / 3, abs=1e-4)
        assert result.key_held == pytest.approx(np.mean(held))
    dense, pruned = found
    assert dense.key_held == 1
    assert dense.sparsity == pytest.approx(0)
    assert 0 < pruned.sparsity < 1


def test_what_cannot_be_asked_is_one_line(mini: OpenModel) -> None:
    with pytest.raises(RequestError, match="does not fit 40 tokens"):
        passkey(mini.tokenizer, 40, 0.5, "12345")
    with pytest.raises(RequestError, match="depth must be between 0 and 1"):
        passkey(mini.tokenizer, 400, 1.5, "12345")
    with pytest.raises(RequestError, match="longer than the model's"):
        evaluate_passkey(mini.loaded, mini.tokenizer, [10**6])


def test_the_command_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--task", "passkey", "--context", "160", "--limit", "1", "--json"]
    assert main(["eval", "--model", "dcp-mini", *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["depth"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert {row["n"] for row in rows} == {1}

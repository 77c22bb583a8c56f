"""Inside `transformers`: the same tokens and deaths as our engine, and rows really freed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import dcp.hf
from dcp.deaths import ALIVE
from dcp.engine.engine import Engine
from dcp.errors import DcpError, ModelError, RequestError
from dcp.hf.rows import rows_of
from dcp.model.config import Sampling
from dcp.model.weights import load
from dcp.policies.rule import Eviction

ARCHITECTURES = ["llama", "gpt2", "mistral", "qwen2", "qwen3"]
PROMPTS = [list(range(3, 40)), list(range(60, 71)), [5]]
NEW = 9


def model_of(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def batch_of(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Left-padded."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def greedy(model: Any, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    given = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    out = model.generate(**batch_of(prompts), **{**given, **options})
    return out[:, -NEW:].tolist()


def engine_run(folder: Path, prompts: list[list[int]], **options: Any) -> Any:
    run = Engine(load(folder), "cpu").run(
        prompts, new_tokens=NEW, sampling=Sampling(temperature=0), **options
    )
    tokens: list[list[int]] = [[] for _ in prompts]
    for step in run:
        for part in step.rows:
            tokens[part.row] += part.tokens.tolist()
    return run, [ids[-NEW:] for ids in tokens]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generate_gives_the_tokens_and_the_deaths_of_the_engine(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    folder = tiny_checkpoint(architecture, drop=0.3)
    run, expected = engine_run(folder, PROMPTS)
    model = dcp.hf.prune(model_of(folder), folder)
    made = dcp.hf.cache(model)
    assert greedy(model, PROMPTS, past_key_values=made) == expected
    rows = rows_of(made)
    assert rows is not None
    for row, prompt in enumerate(PROMPTS):
        read = len(prompt) + NEW - 1
        death, _ = run.lives(row)
        assert np.array_equal(rows.death[row][:, :read], death[:, :read])
    assert made.get_seq_length() == len(PROMPTS[0]) + NEW - 1


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_call_without_a_cache_forgets_too(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    from dcp.model.masked import MaskedAttend

    folder = tiny_checkpoint(architecture, drop=0.4)
    ids = torch.tensor([PROMPTS[0]])
    model = dcp.hf.prune(model_of(folder), folder)
    with torch.no_grad():
        logits = model(ids).logits
    masked, ours = MaskedAttend(), load(folder)
    with torch.no_grad():
        expected = ours.transformer(ids, torch.arange(ids.shape[1])[None], masked)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert (masked.deaths != ALIVE).any()


def test_what_was_added_is_taken_away(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", drop=0.5)
    model = model_of(folder)
    before = greedy(model, PROMPTS)
    with dcp.hf.pruned(model, folder) as inside:
        assert inside is model
        during = greedy(model, PROMPTS)
    assert greedy(model, PROMPTS) == before != during
    assert not any("dcp" in name for name in vars(model))
    assert dcp.hf.restore(model) is model
    assert model.config._attn_implementation != "dcp"


def test_rows_are_freed(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", drop=0.5)
    model = dcp.hf.prune(model_of(folder), folder, gate_shift=-0.5)
    made = dcp.hf.cache(model)
    greedy(model, PROMPTS[:1], past_key_values=made)
    rows = rows_of(made)
    assert rows is not None
    held = [slots.count for slots in rows.cache.rows(0)]
    read = len(PROMPTS[0]) + NEW - 1
    alive = (rows.death[0][:, :read] == ALIVE).sum(axis=1)
    assert held == alive.tolist()
    assert min(held) < read // 2


@pytest.mark.parametrize("name", ["tova", "h2o", "window", "snapkv"])
def test_any_policy_of_the_registry(tiny_checkpoint: Callable[..., Path], name: str) -> None:
    folder = tiny_checkpoint("llama")
    settings = {"window": 4} if name == "snapkv" else {}
    model = dcp.hf.prune(model_of(folder), policy=name, budget=12, policy_settings=settings)
    # A prompt is told from what follows by nobody here: a rule that waits for its end waits for
    # its first token.
    run, expected = engine_run(folder, PROMPTS[:1], eviction=Eviction(name, 12, settings))
    made = dcp.hf.cache(model)
    found = greedy(model, PROMPTS[:1], past_key_values=made)
    rows = rows_of(made)
    assert rows is not None
    assert max(slots.count for slots in rows.cache.rows(0)) <= 12
    if name != "snapkv":
        assert found == expected
        read = len(PROMPTS[0]) + NEW - 1
        death = rows.death[0][:, :read].copy()
        death[death >= read] = ALIVE
        assert np.array_equal(death, run.lives(0)[0][:, :read])


def test_beams_sampling_and_several_sequences(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", drop=0.3)
    model = dcp.hf.prune(model_of(folder), folder, gate_shift=100.0)
    dense = model_of(folder)
    options = {"num_beams": 3, "num_return_sequences": 2}
    inputs = batch_of(PROMPTS[:2])
    given = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0, **options}
    # Nothing is dropped at this shift: the beams are those of the dense model.
    assert torch.equal(model.generate(**inputs, **given), dense.generate(**inputs, **given))
    dcp.hf.prune(model, folder)
    torch.manual_seed(0)
    out = model.generate(**inputs, max_new_tokens=NEW, do_sample=True, pad_token_id=0, **options)
    assert out.shape[0] == 4


def test_a_cache_is_used_again_over_turns(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama", drop=0.3)
    model = dcp.hf.prune(model_of(folder), folder)
    ids = torch.tensor([PROMPTS[0]])
    whole = dcp.hf.cache(model)
    model(ids, past_key_values=whole)
    turns = dcp.hf.cache(model)
    for part in (ids[:, :20], ids[:, 20:21], ids[:, 21:]):
        logits = model(part, past_key_values=turns).logits
    assert torch.allclose(logits[:, -1], model(ids).logits[:, -1], atol=1e-4)
    one, other = rows_of(whole), rows_of(turns)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.death[0], other.death[0])


def test_a_run_becomes_a_trace(tiny_checkpoint: Callable[..., Path]) -> None:
    from transformers import AutoTokenizer

    from dcp.runs.recorder import record

    folder = tiny_checkpoint("llama", drop=0.3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "The museum opened in 1901."
    expected = record(text, model=folder, new_tokens=NEW, temperature=0, impl="cpu")
    model = dcp.hf.prune(model_of(folder), folder)
    inputs = tokenizer(text, return_tensors="pt")
    model.generate(**inputs, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)
    count = inputs["input_ids"].shape[1]
    found = dcp.hf.trace(model, tokenizer, prompt_tokens=count)
    n = expected.n_queries
    assert np.array_equal(found.token_ids, expected.token_ids[:n])
    assert np.array_equal(found.death, expected.death[:, :n])
    assert np.allclose(found.margin, expected.margin[:, :n], atol=1e-4, equal_nan=True)
    assert np.allclose(found.logprob[count:], expected.logprob[count:n], atol=1e-4)
    assert expected.text.startswith(found.text)
    assert found.prompt_tokens == count
    assert found._repr_html_()
    with torch.no_grad():
        model(inputs["input_ids"])
    scored = dcp.hf.trace(model, tokenizer)
    assert np.allclose(scored.logprob[1:], expected.logprob[1:count], atol=1e-4)


def test_a_saved_prompt_goes_on_bit_for_bit(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_checkpoint("llama", drop=0.3)
    model = dcp.hf.prune(model_of(folder), folder)
    ids = torch.tensor([PROMPTS[0]])
    made = dcp.hf.cache(model)
    model(ids[:, :30], past_key_values=made)
    dcp.hf.save_cache(model, made, tmp_path / "prompt.safetensors")
    again = dcp.hf.load_cache(model, tmp_path / "prompt.safetensors")
    one = model(ids[:, 30:], past_key_values=made).logits
    other = model(ids[:, 30:], past_key_values=again).logits
    assert torch.equal(one, other)
    first, second = rows_of(made), rows_of(again)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.death[0], second.death[0])
    elsewhere = dcp.hf.prune(model_of(tiny_checkpoint("llama", drop=0.3, seed=1)), folder)
    with pytest.raises(RequestError, match="other weights"):
        dcp.hf.load_cache(elsewhere, tmp_path / "prompt.safetensors")
    dcp.hf.prune(model, folder, gate_shift=1.0)
    with pytest.raises(RequestError, match="gate shift"):
        dcp.hf.load_cache(model, tmp_path / "prompt.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(RequestError, match="not a saved cache"):
        dcp.hf.load_cache(model, tmp_path / "bad.safetensors")


def test_what_cannot_work_is_refused_in_one_line(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama")
    model = model_of(folder)
    refused: list[tuple[type[DcpError], str, Callable[[], Any]]] = [
        (RequestError, "not pruned", lambda: dcp.hf.cache(model)),
        (RequestError, "needs a checkpoint", lambda: dcp.hf.prune(model)),
        (RequestError, "needs a budget", lambda: dcp.hf.prune(model, policy="h2o")),
        (RequestError, "at least 5", lambda: dcp.hf.prune(model, policy="sink", budget=2)),
        (RequestError, "unknown policy", lambda: dcp.hf.prune(model, policy="best", budget=2)),
        (
            RequestError,
            "compiled",
            lambda: dcp.hf.prune(torch.compile(model, backend="eager"), folder),
        ),
        (ModelError, "not for this model", lambda: dcp.hf.prune(model, "dcp-mini")),
        (RequestError, "no run to trace", lambda: dcp.hf.trace(model, None)),
    ]
    for kind, message, call in refused:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    dcp.hf.prune(model, folder)
    made = dcp.hf.cache(model)
    model(torch.tensor([[1, 2]]), past_key_values=made)
    with pytest.raises(RequestError, match="holds 1 sequences"):
        model(torch.tensor([[1], [2]]), past_key_values=made)
    with pytest.raises(RequestError, match="assisted decoding"):
        made.crop(1)

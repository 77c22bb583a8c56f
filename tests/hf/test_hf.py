"""Inside `transformers`: the same tokens and deaths as our engine, and rows really freed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dcp.hf
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.hf.layers import rows_of
from dcp.model.checkpoint import base_of
from dcp.model.files import stamp_of
from dcp.model.registry import OpenModel, find, open_model
from dcp.model.weights import load
from dcp.policies.registry import POLICIES
from dcp.policies.rule import Eviction
from tests.helpers import gguf_models, smollm2
from tests.helpers.hf_runs import NEW, PROMPTS, batch_of, engine_run, greedy, model_of, same_lives

ARCHITECTURES = ["llama", "gpt2", "mistral", "qwen2", "qwen3"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generate_gives_the_tokens_and_the_deaths_of_the_engine(
    tiny_checkpoint: Callable[..., Path], architecture: str
) -> None:
    folder = tiny_checkpoint(architecture, drop=0.3)
    run, expected = engine_run(folder, PROMPTS)
    model = dcp.hf.prune(model_of(folder), folder)
    made = dcp.hf.cache(model)
    assert greedy(model, PROMPTS, past_key_values=made) == expected
    assert same_lives(made, run, PROMPTS)
    assert made.get_seq_length() == len(PROMPTS[0]) + NEW - 1


@pytest.mark.parametrize("name", ["dcp-mini", pytest.param(smollm2.NAME, marks=smollm2.needs_base)])
def test_shipped_models_give_the_tokens_and_the_deaths_of_the_engine(name: str) -> None:
    model = shipped(name, torch.float32)
    prompts, opened = read_by(name, "float32")
    run, expected = engine_run(opened.loaded, prompts)
    dcp.hf.prune(model, name)
    made = dcp.hf.cache(model)
    assert greedy(model, prompts, past_key_values=made) == expected
    assert same_lives(made, run, prompts)
    rows: Any = rows_of(made)
    assert rows is not None
    assert (rows.death[0] != ALIVE).any()


def test_bfloat16_differs_from_the_engine_in_few_decisions() -> None:
    """`transformers` multiplies for q, k and v apart and our loop at once, which rounds otherwise:
    equality is for float32."""
    model = dcp.hf.prune(shipped("dcp-mini", torch.bfloat16), "dcp-mini")
    prompts, opened = read_by("dcp-mini", "bfloat16")
    run, _ = engine_run(opened.loaded, prompts)
    made = dcp.hf.cache(model)
    with torch.no_grad():
        model(**batch_of(prompts), past_key_values=made)
    rows: Any = rows_of(made)
    assert rows is not None
    count = len(prompts[0])
    death = run.lives(0)[0][:, :count]
    here = np.where(death < count, death, ALIVE)
    assert (here != ALIVE).any()
    assert (here != rows.death[0][:, :count]).mean() < 0.05


def read_by(name: str, dtype: str) -> tuple[list[list[int]], OpenModel]:
    opened = open_model(name, dtype)
    texts = ("The river rose for three days before anyone spoke of leaving.", "Snow fell")
    return [opened.tokenizer.encode(text).ids.tolist() for text in texts], opened


def shipped(name: str, dtype: torch.dtype) -> Any:
    """The model of `transformers`, with the base's weights for an adapter."""
    folder = find(name)
    base = base_of(folder, stamp_of(folder))
    if base is None:
        return model_of(folder, dtype=dtype)
    return smollm2.hf_model().to(dtype)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
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


def test_a_gguf_file_opened_by_transformers_forgets_as_the_engine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = gguf_models.write(tmp_path / "base")
    folder = gguf_models.write_adapter(tmp_path / "adapter", base)
    monkeypatch.setenv("DCP_BASE", str(base.parent))
    model = model_of(base.parent, gguf_file=base.name, dtype=torch.float32)
    hf_tokens = greedy(dcp.hf.prune(model, folder), PROMPTS[:1])
    _, tokens = engine_run(open_model(folder).loaded, PROMPTS[:1])
    assert hf_tokens == tokens


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
    rows: Any = rows_of(made)
    assert rows is not None
    held = [slots.count for slots in rows.cache.rows(0)]
    read = len(PROMPTS[0]) + NEW - 1
    alive = (rows.death[0][:, :read] == ALIVE).sum(axis=1)
    assert held == alive.tolist()
    assert min(held) < read // 2


@pytest.mark.parametrize("name", sorted(n for n in POLICIES if POLICIES[n].instructed != "must"))
def test_every_policy_of_the_registry_decides_as_in_the_engine(
    tiny_checkpoint: Callable[..., Path], name: str
) -> None:
    folder = tiny_checkpoint("llama", drop=0.3)
    policy = POLICIES[name]
    # A cache knows no length in advance: without a stride it has one that keeps the budget over the
    # whole context.
    settings = {"snapkv": {"window": 4}, "strided": {"stride": 6}}.get(name, {})
    budget = 12 if policy.budgeted else None
    checkpoint = folder if "margin" in policy.needs else None
    model = dcp.hf.prune(
        model_of(folder), checkpoint, policy=name, budget=budget, policy_settings=settings
    )
    run, expected = engine_run(
        folder, PROMPTS, eviction=Eviction(name, budget, settings), gate_shift=0.0
    )
    made = dcp.hf.cache(model)
    assert greedy(model, PROMPTS, past_key_values=made) == expected
    assert same_lives(made, run, PROMPTS)
    rows: Any = rows_of(made)
    assert rows is not None
    if budget is not None:
        assert max(slots.count for slots in rows.cache.rows(0)) <= budget


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

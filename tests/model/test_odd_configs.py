"""Odd but legal configurations: the logits of `transformers` on the same folder, or a refusal."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcp.errors import ModelError
from dcp.model.config import ModelConfig
from dcp.model.weights import load
from tests.model.test_gguf import logits

SEEDS = range(48)
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def odd(draw: random.Random) -> dict[str, Any]:
    """A configuration by hand, as people and old versions write them."""
    config: dict[str, Any] = {
        "model_type": draw.choice(["llama", "mistral", "qwen2", "qwen3"]), "vocab_size": 40,
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": draw.choice([1, 2, 4]), "head_dim": 8,
        "max_position_embeddings": 64,
    }  # fmt: skip

    def rope() -> dict[str, Any] | None:
        kind = draw.choice(["default", "linear", "linear", "llama3", "yarn", None])
        if kind is None:
            return None
        found: dict[str, Any] = {draw.choice(["rope_type", "type"]): kind}
        if kind != "default":
            found["factor"] = draw.choice([2.0, 4.0])
        if kind == "llama3":
            found |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
            found["original_max_position_embeddings"] = 16
        return found | draw.choice([{}, {"rope_theta": 500.0}])

    for name, values in {
        "tie_word_embeddings": [True, True, False],
        "rope_theta": [50.0, 100000.0],
        "rope_scaling": [rope(), rope()],
        "rope_parameters": [rope(), rope()],
        "hidden_act": ["silu", "gelu", "gelu_pytorch_tanh", "relu"],
        "attention_bias": [True, False],
        "mlp_bias": [True],
        "rms_norm_eps": [1e-5, 1e-3],
        "sliding_window": [None, 8, 64],
        "use_sliding_window": [True, False],
        "layer_types": [["full_attention"] * 2, ["full_attention", "sliding_attention"]],
        "quantization_config": [None],
        "partial_rotary_factor": [1.0],
    }.items():
        if draw.random() < 0.35:
            config[name] = draw.choice(values)
    if config["model_type"] == "mistral":
        config.setdefault("sliding_window", None)
    return config


def verdict(folder: Path, seed: int) -> str:
    import transformers

    draw = random.Random(seed)
    (folder / "config.json").write_text(json.dumps(odd(draw)))
    try:
        model: Any = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.from_pretrained(folder)
        )
    # Legal here, refused there: nothing to compare with.
    except Exception:
        return "theirs"
    torch.manual_seed(seed)
    state = {
        name: torch.randn_like(tensor) * 0.3 + (tensor.ndim == 1)
        for name, tensor in model.state_dict().items()
    }
    if model.config.tie_word_embeddings:
        for name in draw.choice([(), (HEAD,), (HEAD,), (EMBED,)]):
            state.pop(name)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    try:
        found = logits(load(folder, gates=False))
    except ModelError:
        return "refused"
    try:
        theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.inference_mode():
            wanted = theirs.eval()(torch.arange(40)[None]).logits[0]
    # Some of these it finds odd only when it reads or runs them.
    except Exception:
        return "theirs"
    limit = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=limit, rtol=0, msg=lambda m: f"{seed}: {m}")
    return "equal"


def test_odd_configurations_give_the_logits_of_transformers_or_are_refused(tmp_path: Path) -> None:
    verdicts = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        verdicts.append(verdict(folder, seed))
    # Most of them must have been compared, and what is not done refused.
    assert verdicts.count("equal") > len(SEEDS) / 4
    assert verdicts.count("refused") > 3


@pytest.mark.parametrize("change", ["equal", "other", "alone"])
def test_a_stored_head_of_a_tied_model_is_taken_as_transformers_takes_it(
    tiny_checkpoint: Any, tmp_path: Path, change: str
) -> None:
    import shutil

    import transformers

    folder = tmp_path / "tied"
    shutil.copytree(tiny_checkpoint("llama", tie_word_embeddings=True), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[HEAD] = tensors[EMBED].clone()
    if change == "other":
        tensors[HEAD] = tensors[HEAD].flip(0).contiguous()
    if change == "alone":
        tensors.pop(EMBED)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        wanted = theirs(torch.arange(40)[None]).logits[0]
    found = load(folder)
    torch.testing.assert_close(logits(found), wanted, atol=1e-4, rtol=0)
    assert found.config.tied == (change != "other")


def test_of_two_rope_entries_the_older_one_counts() -> None:
    plain = {
        "model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 7.0},
        "rope_scaling": {"type": "linear", "factor": 2.0},
    }  # fmt: skip
    config = ModelConfig.from_hf(plain)
    assert config.rope_scaling is not None
    assert (config.rope_scaling.kind, config.rope_theta) == ("linear", 10000.0)


@pytest.mark.parametrize(
    "change",
    [
        {"rms_norm_eps": -1e-5},
        {"rms_norm_eps": float("nan")},
        {"rope_theta": float("inf")},
        {"num_hidden_layers": 2**31 - 1},
        {"max_position_embeddings": 2**30},
        {"vocab_size": 2**30},
        {"hidden_size": 2**30},
    ],
)
def test_numbers_that_no_model_has_are_refused_at_once(change: dict[str, Any]) -> None:
    plain = {
        "model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16,
    }  # fmt: skip
    with pytest.raises(ModelError, match="damaged"):
        ModelConfig.from_hf(plain | change)

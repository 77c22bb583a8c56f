"""Checkpoints: what loads is what was saved, and whatever cannot run is named in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcp.engine.engine import Engine
from dcp.errors import ModelError
from dcp.model import int8, saving, weights
from dcp.model.config import ARCHITECTURES, ModelConfig
from dcp.model.int8 import Int8Linear
from dcp.model.saving import save
from dcp.model.weights import load
from tests.helpers.oracle import MaskedAttention


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path) -> Callable[..., Path]:
    """A copy that a test may spoil."""

    def copy(architecture: str = "llama", **settings) -> Path:
        return Path(
            shutil.copytree(tiny_checkpoint(architecture, **settings), tmp_path / architecture)
        )

    return copy


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, change: Callable[[dict], object], name="model.safetensors") -> None:
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name)


def logits(model: weights.LoadedModel) -> torch.Tensor:
    ids = torch.arange(40)[None] % model.config.vocab
    with torch.inference_mode():
        return model.transformer(ids, torch.arange(40)[None], MaskedAttention(prune=False))[0]


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("gpt2", {"activation_function": "gelu", "n_inner": 72, "tie_word_embeddings": False}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        (
            "llama",
            {
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 16,
                }
            },
        ),
        ("mistral", {"sliding_window": None, "rope_theta": 500.0}),
        ("mistral", {"sliding_window": 256}),
        ("qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
        ("qwen3", {"head_dim": 16, "attention_bias": True}),
    ],
)
def test_every_switch_gives_the_logits_of_transformers(tiny_checkpoint, architecture, changes):
    import transformers

    folder = tiny_checkpoint(architecture, **changes)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = theirs(torch.arange(40)[None]).logits[0]
    torch.testing.assert_close(logits(load(folder)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_loads_back_equal_here_and_in_transformers(
    tiny_checkpoint, tmp_path, monkeypatch, architecture
):
    import transformers

    monkeypatch.setattr(saving, "SHARD_BYTES", 30_000)
    model = load(tiny_checkpoint(architecture))
    hf_config = json.loads((tiny_checkpoint(architecture) / "config.json").read_text())
    save(tmp_path, model.transformer, hf_config, model.gates, torch.float32)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = load(tmp_path)
    expected = model.transformer.state_dict()
    assert again.transformer.state_dict().keys() == expected.keys()
    for name, tensor in again.transformer.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        found = theirs(torch.arange(40)[None]).logits[0]
    torch.testing.assert_close(found, logits(model), atol=1e-4, rtol=0)


def test_sixteen_bit_weights_load_as_float32_by_default(tiny_checkpoint, tmp_path):
    model = load(tiny_checkpoint("qwen2"))
    hf_config = json.loads((tiny_checkpoint("qwen2") / "config.json").read_text())
    save(tmp_path, model.transformer, hf_config, model.gates, torch.bfloat16)
    again = load(tmp_path)
    assert again.dtype == torch.float32
    assert {p.dtype for p in again.transformer.parameters()} == {torch.float32}
    rounded = model.transformer.embed.weight.bfloat16().float()
    assert torch.equal(again.transformer.embed.weight, rounded)
    half = load(tmp_path, torch.bfloat16)
    kinds = {n.split(".")[-2]: p.dtype for n, p in half.transformer.named_parameters()}
    assert kinds["qkv"] == torch.bfloat16
    assert kinds["q_int"] == torch.float32


def test_the_hash_follows_weights_and_gates(checkpoint):
    folder = checkpoint("llama")
    before = load(folder)
    base = load(folder, gates=False)
    assert load(folder).weights_sha256 == before.weights_sha256 != base.weights_sha256
    edit_tensors(folder, lambda t: t["layers.0.beta"].add_(1), "dcp.safetensors")
    assert load(folder).weights_sha256 != before.weights_sha256
    assert load(folder, gates=False).weights_sha256 == base.weights_sha256


def test_a_fused_model_gives_the_same_gates_and_logits(tiny_checkpoint):
    for architecture in ("gpt2", "llama"):
        plain, fused = load(tiny_checkpoint(architecture)), load(tiny_checkpoint(architecture))
        fused.transformer.fuse()
        torch.testing.assert_close(logits(fused), logits(plain), atol=1e-5, rtol=0)
        seen = []
        for model in (plain, fused):
            attend = MaskedAttention()
            ids = torch.arange(30)[None]
            with torch.inference_mode():
                model.transformer(ids, ids, attend)
            seen.append(torch.stack(attend.logits))
        torch.testing.assert_close(seen[1], seen[0], atol=1e-5, rtol=0)
        expected = plain.transformer.state_dict()
        for name, tensor in fused.transformer.state_dict().items():
            assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_is_fused_where_its_weights_are(tiny_checkpoint, architecture):
    transformer = load(tiny_checkpoint(architecture)).transformer.to("meta")
    transformer.fuse()
    assert {p.device.type for p in transformer.parameters()} == {"meta"}


# int8


def test_an_int8_layer_loses_only_what_rounding_its_weights_loses():
    g = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(33, 64, generator=g), torch.randn(33, generator=g)
    x = torch.randn(2, 7, 64, generator=g)
    layer = Int8Linear(weight, bias)
    rounded = (weight / layer.scale[:, None]).round() * layer.scale[:, None]
    expected = x.double() @ rounded.double().T + bias.double()
    # A digit pair resolves max|x| / (127 * 254), half of it either way, summed like noise.
    noise = float(x.abs().max()) / (127 * 254) / 12**0.5 * float(weight.norm(dim=1).max())
    assert float((layer(x) - expected).abs().max()) < 5 * noise
    assert float((rounded - weight).abs().max()) <= float(layer.scale.max()) / 2 * 1.001


def test_an_int8_row_is_the_same_in_every_batch():
    g = torch.Generator().manual_seed(1)
    layer = Int8Linear(torch.randn(50, 64, generator=g), None)
    x = torch.randn(9, 64, generator=g)
    together = layer(x)
    for i in range(9):
        assert torch.equal(layer(x[i : i + 1])[0], together[i])


def test_an_int8_layer_without_vnni_computes_the_same(monkeypatch):
    g = torch.Generator().manual_seed(2)
    weight, x = torch.randn(20, 64, generator=g), torch.randn(3, 64, generator=g)
    fast = Int8Linear(weight, None)(x)
    monkeypatch.setattr(int8, "has_int8_dot", lambda: False)
    torch.testing.assert_close(Int8Linear(weight, None)(x), fast, atol=1e-4, rtol=1e-5)


def test_int8_zeros_stay_zero():
    layer = Int8Linear(torch.zeros(4, 8), None)
    assert torch.equal(layer(torch.zeros(2, 8)), torch.zeros(2, 4))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_int8_models_run_close_to_float32(tiny_checkpoint, architecture):
    folder = tiny_checkpoint(architecture)
    full, small = load(folder), load(folder, torch.int8)
    assert small.dtype == torch.float32
    error = (logits(small) - logits(full)).norm() / logits(full).norm()
    assert 0 < float(error) < 0.05
    steps = list(Engine(small).run([[1, 2, 3]], new_tokens=5))
    assert sum(len(p.tokens) for s in steps for p in s.rows) == 8


# What is refused


def damaged_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "gone.safetensors"}}'
    )


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")


def larger_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text())
    found["model"]["vocab"]["!"] = 259
    path.write_text(json.dumps(found))


def no_vocab(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": null}')


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def gate_setting(**changes):
    def change(folder: Path) -> None:
        path = folder / "dcp_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def config(**changes):
    return lambda folder: edit_config(folder, **changes)


def tensors(change, name="model.safetensors"):
    return lambda folder: edit_tensors(folder, change, name)


def without(name):
    return lambda folder: (folder / name).unlink()


NORM = "model.norm.weight"
SPOILED = [
    ("llama", config(model_type="mamba"), "architecture 'mamba'"),
    ("llama", config(rope_parameters={"rope_type": "yarn", "factor": 2.0}), "RoPE scaling 'yarn'"),
    ("llama", config(rope_parameters={"rope_type": "llama3"}), "factor"),
    ("mistral", config(sliding_window=64), "sliding_window 64"),
    ("qwen2", config(use_sliding_window=True, sliding_window=64), "sliding_window 64"),
    ("gpt2", config(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx"),
    ("gpt2", config(scale_attn_weights=False), "scale_attn_weights"),
    ("llama", config(hidden_act="relu"), "activation 'relu'"),
    ("llama", config(num_key_value_heads=3), "3 key/value heads"),
    ("llama", config(hidden_size="wide"), "config.json is damaged"),
    ("llama", config(num_hidden_layers=0), "layers is 0"),
    ("llama", config(num_hidden_layers=10**12), "config.json is damaged"),
    ("llama", config(quantization_config={"bits": 4}), "quantised"),
    ("llama", config(vocab_size=260), "config.json says [260, 32]"),
    ("llama", config(num_hidden_layers=4), "lacks tensor 'model.layers.3"),
    ("llama", config(num_hidden_layers=2), "has tensor 'model.layers.2"),
    ("llama", lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    ("llama", lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
    ("llama", lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    ("llama", without("config.json"), "has no config.json"),
    ("llama", without("model.safetensors"), "no model.safetensors"),
    ("llama", without("dcp.safetensors"), "has no dcp.safetensors, so no gates"),
    ("llama", without("dcp_config.json"), "no dcp_config.json, so no gates: train them"),
    ("llama", pickle_only, "pickled weights"),
    ("llama", damaged_index, "gone.safetensors is missing"),
    ("llama", truncated, "not a readable safetensors"),
    ("llama", larger_tokenizer, "token id 259"),
    ("llama", no_vocab, "not a readable tokenizer"),
    ("llama", tensors(lambda t: t.pop(NORM)), f"lacks tensor '{NORM}'"),
    ("llama", tensors(lambda t: t.update({NORM: t[NORM][:-1].clone()})), "has shape [31]"),
    ("llama", tensors(lambda t: t[NORM].fill_(float("nan"))), "NaN"),
    ("llama", tensors(lambda t: t[NORM][:1].fill_(float("inf"))), "NaN or infinity"),
    ("llama", tensors(lambda t: t.update({NORM: t[NORM].to(torch.int32)})), "is int32"),
    ("llama", tensors(lambda t: t.update(lora=torch.zeros(2))), "has tensor 'lora'"),
    (
        "gpt2",
        tensors(lambda t: t.update({"transformer.wpe.weight": torch.zeros(9, 32)})),
        "[9, 32]",
    ),
    ("llama", tensors(lambda t: t.pop("layers.1.beta"), "dcp.safetensors"), "layers.1.beta"),
    (
        "llama",
        tensors(lambda t: t["layers.1.beta"].fill_(float("nan")), "dcp.safetensors"),
        "NaN",
    ),
    ("llama", gate_setting(interaction=5), "dcp_config.json says [5, 32]"),
    ("llama", gate_setting(delay=3), "delay"),
    ("llama", gate_setting(format=99), "format 99"),
    ("llama", gate_setting(calibration=[{"delta": "x"}]), "damaged"),
]


@pytest.mark.parametrize(
    ("architecture", "spoil", "says"), SPOILED, ids=[f"{a}: {s}" for a, _, s in SPOILED]
)
def test_what_cannot_run_is_named_in_one_line(checkpoint, architecture, spoil, says):
    folder = checkpoint(architecture)
    spoil(folder)
    with pytest.raises(ModelError) as refused:
        load(folder)
    message = str(refused.value)
    assert says in message
    assert "\n" not in message
    # To which the command line adds how to train them.
    assert (refused.value.remedy == "gates") == ("so no gates" in message)


def test_paths_that_are_no_folder_and_dtypes_that_are_none_are_refused(tiny_checkpoint, tmp_path):
    for path in (tmp_path / "nowhere", tiny_checkpoint("llama") / "config.json"):
        with pytest.raises(ModelError, match="not a folder"):
            load(path)
    with pytest.raises(ModelError, match="dtype"):
        load(tiny_checkpoint("llama"), torch.float16)


def test_an_index_cannot_reach_out_of_its_folder(checkpoint):
    folder = checkpoint("llama")
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"outside.safetensors is missing"):
        load(folder)


def test_gates_are_not_needed_for_a_base_model(checkpoint):
    folder = checkpoint("llama")
    without("dcp.safetensors")(folder)
    without("dcp_config.json")(folder)
    assert load(folder, gates=False).gates is None


def test_old_gpt2_names_and_buffers_are_understood(checkpoint):
    folder = checkpoint("gpt2")
    expected = logits(load(folder))

    def rename(t: dict) -> None:
        for name in list(t):
            t[name.removeprefix("transformer.")] = t.pop(name)
        t["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)

    edit_tensors(folder, rename)
    assert torch.equal(logits(load(folder)), expected)


def test_config_reads_both_spellings_of_rope():
    plain = {
        "model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16,
    }  # fmt: skip
    old = ModelConfig.from_hf(plain | {"rope_theta": 7.0, "rope_scaling": None})
    new = ModelConfig.from_hf(
        plain | {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}
    )
    assert old == new
    assert old.rope_theta == 7.0

"""`train prune --base … --data …` on tiny stand-ins that `transformers` saved: two steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dcp.cli.main import main
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.weights import load
from dcp.trace import Trace
from dcp.train.data import Shards
from tests.helpers import checkpoints

SETTINGS = """
[run]
steps = 2
precision = "no"

[data]
length = 63
batch = 2
micro = 1

[optimiser]
warmup = 1
decay = 0

[gates]
interaction = 5
beta = 0.3
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    words = ["river", "rose", "three", "days", "café", "—", "nobody", "slept"]
    for name in ("one", "two"):
        documents = (" ".join(rng.choice(words, 40)) for _ in range(5))
        (folder / f"{name}.txt").write_text("\n\n".join(documents))
    (folder / "settings.toml").write_text(SETTINGS)
    return folder


def stand_in(folder: Path, architecture: str) -> Path:
    """A base model as a user has it: saved by `transformers`, no gates."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoints.base(architecture, {}).save_pretrained(folder)
    checkpoints.write_tokenizer(folder)
    return folder


def command(text: Path, base: str | Path, out: Path, *more: str, stage: str = "prune") -> list[str]:
    words = ["train", stage, "--base", str(base), "--config", str(text / "settings.toml")]
    return [
        *words,
        "--data",
        str(text / "one.txt"),
        str(text / "two.txt"),
        "--out",
        str(out),
        *more,
    ]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_any_base_learns_to_prune_and_loads_back(
    text: Path, tmp_path: Path, architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = stand_in(tmp_path / "base", architecture)
    assert main(command(text, base, tmp_path / "run")) == 0
    final = Path(capsys.readouterr().out.strip())
    model, before = load(final), load(base, gates=False)
    assert model.gates is not None
    # At most H_kv · d / 4, which is 4 in this llama.
    assert model.gates.interaction == {"gpt2": 5, "llama": 4}[architecture]
    moved = model.transformer.embed.weight != before.transformer.embed.weight
    assert moved.any()
    ids = torch.arange(63)[None]
    way = MaskedAttend()
    logits = model.transformer(ids, torch.arange(63)[None], way)
    assert (way.deaths < 63).any()
    assert torch.isfinite(logits).all()
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(final, dtype=torch.float32)(ids).logits
    ours = model.transformer(ids, torch.arange(63)[None], MaskedAttend(prune=False))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


SHAPES: dict[str, Callable[[], torch.nn.Module]] = {
    # GPT-2 with half the layers, 12 heads; width 768 stands here for 12 heads of 4.
    "distilgpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=259, n_positions=256, n_embd=48, n_layer=6, n_head=12,
            bos_token_id=256, eos_token_id=256,
        )
    ),
    # Qwen2.5-0.5B: 14 heads on 2, biases on q, k, v alone, tied, θ of a million, no window in use.
    "qwen2": lambda: hf.Qwen2ForCausalLM(
        hf.Qwen2Config(
            vocab_size=259, hidden_size=56, intermediate_size=96, num_hidden_layers=4,
            num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=256,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6}, rms_norm_eps=1e-6,
            tie_word_embeddings=True, use_sliding_window=False, sliding_window=128,
            max_window_layers=4, bos_token_id=256, eos_token_id=256, pad_token_id=None,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_gates_alone_learn_on_any_base_are_opened_recorded_and_exported(
    text: Path, tmp_path: Path, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base, recipe = tmp_path / "base", Path("configs/smollm2-prune.toml").read_text()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SHAPES[shape]()
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                # A fresh bias is 0, which would hide one that got lost.
                torch.nn.init.normal_(weight, 0, 0.5)
    model.save_pretrained(base)
    checkpoints.write_tokenizer(base)
    # The recipe of SmolLM2, with fewer and shorter steps, and gates that close at once.
    for was, now in (
        ("steps = 300", "steps = 3"),
        ("length = 1024", "length = 48"),
        ("decay = 200", "decay = 0"),
        ("warmup = 3", "warmup = 1"),
        ("beta = 3.0", "beta = 0.3"),
    ):
        assert was in recipe
        recipe = recipe.replace(was, now)
    (tmp_path / "recipe.toml").write_text(recipe)
    words = ["train", "prune", "--base", str(base), "--config", str(tmp_path / "recipe.toml")]
    words += ["--data", str(text / "one.txt"), "--out", str(tmp_path / "run")]
    assert main(words) == 0
    final = Path(capsys.readouterr().out.strip())
    assert not list(final.glob("model*"))
    gates = load_file(final / "dcp.safetensors")
    assert not [name for name in gates if name.startswith("delta.")]
    assert load_file(tmp_path / "run" / "last" / "dcp.safetensors").keys() == gates.keys()

    opened = open_model(final)
    ids, steps = torch.arange(63)[None], torch.arange(63)[None]
    with torch.inference_mode():
        ours = opened.loaded.transformer(ids, steps, MaskedAttend(prune=False))
        theirs = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)(ids).logits
    # With its gates off it is its base.
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)

    saved = tmp_path / "run.trace"
    asked = ["trace", "--model", str(final), "--text", "The river rose.", "--new-tokens", "20"]
    assert main([*asked, "--out", str(saved)]) == 0
    trace = Trace.load(saved)
    assert trace.layers == model.config.num_hidden_layers
    assert trace.tokens == 35
    assert 0 < trace.sparsity_at_end() < 1
    assert main(["export", "hub", "--model", str(final), "--out", str(tmp_path / "hub")]) == 0
    sent = load_file(tmp_path / "hub" / "dcp.safetensors")
    assert all(torch.equal(sent[name], gates[name]) for name in gates)


def test_the_text_is_packed_once_with_the_bases_own_tokenizer(text: Path, tmp_path: Path) -> None:
    base = stand_in(tmp_path / "base", "llama")
    run = tmp_path / "run"
    assert main(command(text, base, run, stage="dense")) == 0
    shards = Shards.open([run / "shards"])
    assert len(shards.tokens) == 2
    assert all(tokens[-1] == 256 for tokens in shards.tokens)  # its <|endoftext|>
    stamps = {path: path.stat().st_mtime_ns for path in (run / "shards").iterdir()}
    assert main(command(text, base, run, "--resume", "--steps", "3", stage="dense")) == 0
    assert {path: path.stat().st_mtime_ns for path in (run / "shards").iterdir()} == stamps
    assert len((run / "log.csv").read_text().splitlines()) == 4
    assert main(command(text, base, run, stage="dense")) == 2  # a run is never overwritten
    assert {path: path.stat().st_mtime_ns for path in (run / "shards").iterdir()} == stamps


def test_what_cannot_be_a_base_is_refused_in_one_line(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    base = stand_in(tmp_path / "base", "llama")
    capsys.readouterr()

    def offline(hub_id: str, **_: object) -> str:
        asked.append(hub_id)
        raise OSError("no network here\nand more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)

    def refusal(*words: str) -> str:
        assert main(list(words)) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    run = tmp_path / "run"
    error = refusal(*command(text, "gpt2", run))
    assert asked == ["openai-community/gpt2"]
    assert "cannot be fetched from the Hub: no network here" in error
    assert "no model" in refusal(*command(text, tmp_path / "nowhere", run))
    assert "two texts are named 'one'" in refusal(
        *command(text, base, run)[:-3], str(text / "one.txt"), "--out", str(run)
    )
    long = tmp_path / "long.toml"
    long.write_text(SETTINGS.replace("63", "400"))
    error = refusal(*command(text, base, run, "--config", str(long)))
    assert "length 400 is longer than the base's context 256" in error
    with monkeypatch.context() as launched:
        launched.setenv("WORLD_SIZE", "2")
        error = refusal(*command(text, base, tmp_path / "other"))
    assert "several processes cannot pack" in error
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    assert "architecture 'mamba' is not supported" in refusal(
        "train", "prune", "--base", str(base), "--shards", "x", "--out", str(run)
    )

"""The repository that ``dcp export hub`` writes: its card, its files, its ``custom_generate``."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

import dcp.hf
from dcp.cli.main import main
from dcp.errors import ModelError, RequestError
from dcp.hf import hub
from dcp.model.gate_config import GateConfig

IDS = torch.tensor([list(range(3, 40))])


def exported(capsys: Any, out: Path, *words: str) -> dict[str, Any]:
    assert main(["export", "hub", "--out", str(out), "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_whole_model_is_ready_to_push(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hub"
    found = exported(capsys, out, "--model", "dcp-mini", "--hub-id", "someone/dcp-mini")
    assert found["files"] == sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    )
    assert {"config.json", "dcp.safetensors", "tokenizer.json"} <= set(found["files"])
    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.license == "cc-by-sa-4.0"
    assert {"custom_generate", "dynamic-context-pruning", "arxiv:2305.15805"} <= set(card.data.tags)
    assert "https://arxiv.org/abs/2305.15805" in card.text
    assert 'custom_generate="someone/dcp-mini"' in card.text
    points = dcp.open_model("dcp-mini").info.calibration
    assert card.data.eval_results is not None
    assert [result.metric_value for result in card.data.eval_results] == [
        round(point.perplexity_ratio, 4) for point in points
    ]
    assert 'CHECKPOINT = "someone/dcp-mini"' in (out / "custom_generate/generate.py").read_text()
    # What was written there is written again; the folder's .git is its owner's.
    (out / ".git").mkdir()
    assert exported(capsys, out, "--model", "dcp-mini")["files"] == found["files"]
    # An export of an export says everything once.
    again = hub.build(out).written["README.md"]
    assert again.count("## In transformers") == 1
    # It is a checkpoint like any other.
    assert dcp.open_model(out).info.layers == 8


def test_an_adapter_names_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hub"
    exported(capsys, out, "--model", "dcp-mini")
    found = exported(capsys, out, "--model", "smollm2-135m")
    assert found["files"] == sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    )
    assert not any(name.startswith("model") for name in found["files"])
    card = ModelCard.load(out / "README.md")
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card.data.to_dict()["base_model_relation"] == "adapter"
    config = json.loads((out / "dcp_config.json").read_text())
    assert GateConfig.from_json(config).base is not None
    assert "folder" not in config["base"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_recipe_is_a_generate_that_forgets(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    # An editable install goes on saying the version at which it was made.
    versions = importlib.metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version",
        lambda name: dcp.__version__ if name == "dcp" else versions(name),
    )
    folder, out = tiny_checkpoint("llama", drop=0.4), tmp_path / "hub"
    hub.write(hub.build(folder), out)
    options: dict[str, Any] = {"max_new_tokens": 9, "min_new_tokens": 9, "do_sample": False}
    model = AutoModelForCausalLM.from_pretrained(out)
    dense = model.generate(IDS, **options)
    recipe = {"custom_generate": str(out), "trust_remote_code": True, **options}
    found = model.generate(IDS, **recipe, gate_shift=-0.2)
    assert torch.equal(model.generate(IDS, **options), dense)
    with dcp.hf.pruned(model, folder, gate_shift=-0.2):
        assert torch.equal(model.generate(IDS, **options), found)
    assert not torch.equal(found, dense)
    # The base from elsewhere, the gates named; and a rule that needs none.
    elsewhere = AutoModelForCausalLM.from_pretrained(folder)
    named = elsewhere.generate(IDS, **recipe, checkpoint=str(folder), gate_shift=-0.2)
    assert torch.equal(named, found)
    with dcp.hf.pruned(model, policy="window", budget=5):
        expected = model.generate(IDS, **options)
    assert torch.equal(model.generate(IDS, **recipe, policy="window", budget=5), expected)


def test_a_card_is_made_where_there_is_none(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_checkpoint("llama")
    text = hub.build(folder).written["README.md"]
    card = ModelCard(text)
    assert "base_model" not in card.data.to_dict()
    assert "https://arxiv.org/abs/2305.15805" in text
    copied = tmp_path / "model"
    shutil.copytree(folder, copied)
    (copied / "README.md").write_text("---\nlicense: mit\ntags: [mine]\n---\nMy words.\n")
    card = ModelCard(hub.build(copied).written["README.md"])
    assert card.data.to_dict()["license"] == "mit"
    assert card.data.to_dict()["tags"][0] == "mine"
    assert "My words." in card.text


def test_what_cannot_be_exported_is_refused(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_checkpoint("llama")
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RequestError, match="holds other files"):
        hub.write(hub.build(folder), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(RequestError, match="cannot write"):
        hub.write(hub.build(folder), tmp_path / "mine.txt")
    with pytest.raises(RequestError, match="OWNER/NAME"):
        hub.build(folder, "../..")
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(ModelError, match="only a model with gates"):
        hub.build(bare)
    shutil.copytree(folder, tmp_path / "torn")
    (tmp_path / "torn" / "README.md").write_text("---\n[: no yaml\n---\n")
    with pytest.raises(ModelError, match="no YAML"):
        hub.build(tmp_path / "torn")
    assert AutoTokenizer.from_pretrained(folder) is not None

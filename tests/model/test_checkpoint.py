"""A checkpoint folder is read once for as long as nothing in it changes, and again when it does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcp.errors import ModelError
from dcp.model import checkpoint as module
from dcp.model import files
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import open_model
from dcp.text.tokens import Tokenizer


@pytest.fixture
def folder(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_checkpoint("llama"), tmp_path / "tiny"))


def test_every_json_file_is_parsed_once_and_the_tokenizer_loaded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    loaded: list[Path] = []
    read_json, load = files.read_json, Tokenizer.load

    def reading(path: Path) -> dict[str, object]:
        parsed.append(path.name)
        return read_json(path)

    def loading(path: Path) -> Tokenizer:
        loaded.append(path)
        return load(path)

    monkeypatch.setattr(module, "read_json", reading)
    monkeypatch.setattr(Tokenizer, "load", loading)
    for dtype in ("float32", "bfloat16", "float32"):
        for gates in (True, False):
            open_model(folder, dtype, gates=gates)
    assert sorted(parsed) == sorted(set(parsed))
    assert {"config.json", "dcp_config.json", "tokenizer_config.json"} <= set(parsed)
    assert loaded == [folder]


def test_a_replaced_checkpoint_is_seen(folder: Path) -> None:
    before = open_model(folder)
    assert open_model(folder) is before
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, folder / "new.safetensors")
    os.replace(folder / "new.safetensors", folder / "model.safetensors")
    after = open_model(folder)
    assert after is not before
    assert after.loaded.weights_sha256 != before.loaded.weights_sha256
    torch.testing.assert_close(
        after.loaded.transformer.norm.weight, before.loaded.transformer.norm.weight + 1
    )


def test_a_tokenizer_that_changed_is_another(folder: Path) -> None:
    before = Checkpoint.read(folder)
    assert before.tokenizer is Checkpoint.read(folder).tokenizer
    os.utime(folder / "tokenizer.json", ns=(1, 1))
    after = Checkpoint.read(folder)
    assert after != before
    assert after.tokenizer is not before.tokenizer


def test_one_folder_by_two_paths_is_one_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert Checkpoint.read(".") is Checkpoint.read(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"chat_template.jinja": "A"}, "A"),
        ({"tokenizer_config.json": json.dumps({"chat_template": "B"})}, "B"),
        (
            {
                "tokenizer_config.json": json.dumps(
                    {"chat_template": [{"name": "default", "template": "C"}, {"name": "tool"}]}
                )
            },
            "C",
        ),
        ({"tokenizer_config.json": '{"chat_template": 7}'}, None),
        ({}, None),
    ],
)
def test_the_chat_template_is_found_where_tokenizers_keep_it(
    folder: Path, files: dict[str, str], expected: str | None
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    assert Checkpoint.read(folder).chat_template == expected


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ModelError, match="not a folder"):
            Checkpoint.read(path)

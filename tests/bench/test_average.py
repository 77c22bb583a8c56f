"""An average of two adapters lies between them, number by number, on the base of both."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import average
from dcp.errors import RequestError
from dcp.model.checkpoint import GATES
from dcp.model.weights import load
from tests.helpers.tuned import write_tuned


def test_an_average_lies_between_two_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_tuned(tmp_path)
    monkeypatch.setenv("DCP_BASE", str(tmp_path / "base"))
    second = tmp_path / "second"
    second.mkdir()
    (second / "dcp_config.json").write_bytes((first / "dcp_config.json").read_bytes())
    mine = load_file(first / GATES)
    theirs = {name: value + 0.5 * torch.randn_like(value) for name, value in mine.items()}
    save_file(theirs, second / GATES)
    out = tmp_path / "out"
    asked = ["--model", str(first), str(second), "--share", "0.25", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["average", *asked])
    average.main()
    found = load_file(out / GATES)
    assert found.keys() == mine.keys()
    for name, value in found.items():
        wanted = 0.75 * mine[name] + 0.25 * theirs[name]
        # bfloat16 rounds by 2⁻⁹ of a number; norms are kept as differences to 1.
        torch.testing.assert_close(value.float(), wanted, rtol=2**-8, atol=2**-8)
    assert load(out).transformer.config == load(first).transformer.config


def test_adapters_of_two_bases_have_no_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = write_tuned(tmp_path)
    monkeypatch.setenv("DCP_BASE", str(tmp_path / "base"))
    out = tmp_path / "out"
    asked = ["--model", str(tuned), "dcp-mini", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["average", *asked])
    with pytest.raises(SystemExit, match="one base"):
        average.main()
    assert not out.exists()


def test_other_numbers_have_no_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCP_BASE", str(tmp_path / "base"))
    tuned = load(write_tuned(tmp_path), apart=True).transformer
    plain = load(tmp_path / "plain").transformer
    with pytest.raises(RequestError, match="same numbers"):
        average.average(tuned, plain, 0.5)

"""``dcp figure``: what it writes, what it reports, what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest

from dcp.cli.main import main
from dcp.speech.tagger import load_tagger
from dcp.speech.words import words_of
from dcp.stats import drop_table
from tests.helpers.traces import random_trace


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved trace, and the folder to work in."""
    random_trace(2, layers=2, tokens=300, prompt_tokens=280).save(tmp_path / "run 1.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def figure(*words: str) -> int:
    return main(["figure", "run 1.safetensors", *words])


def test_the_report_tells_how_to_make_the_figure_again(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kind", "text", "--style", "acl", "--width", "text", "--step", "63", "--span", "50"]
    words += ["69", "--chosen", "drawn with seed 2", "--out", "fig.pdf", "--json"]
    assert figure(*words, "--data", "fig.csv", "--caption", "fig.txt") == 0
    report = json.loads(capsys.readouterr().out)
    first = (saved / "fig.pdf").read_bytes()
    assert report["width_in"] == 6.3
    assert report["bytes"] == len(first)
    assert report["rows"] == len(pd.read_csv(saved / "fig.csv")) == 20
    assert report["caption"] == (saved / "fig.txt").read_text().rstrip("\n")
    assert "Choice of text: drawn with seed 2." in report["caption"]
    # Strangers read the metadata of a paper's figures: no folder of this machine is in it.
    assert str(saved) not in report["command"]
    assert str(saved).encode() not in first
    (saved / "fig.pdf").unlink()
    again = shlex.split(report["command"])
    assert again[:3] == ["python", "-m", "dcp"]
    assert main(again[3:]) == 0
    assert (saved / "fig.pdf").read_bytes() == first


def test_a_kind_with_parts_of_speech_says_that_it_tags(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dcp.trace import Trace

    assert figure("--kind", "pos", "--out", "fig.svg", "--data", "fig.csv", "--horizon", "16") == 0
    said = capsys.readouterr().err
    assert "tagging parts of speech" in said
    assert "caption: " in said
    assert "by dcp-ewt, 9" in said
    trace = Trace.load(saved / "run 1.safetensors")
    table = drop_table([(trace, words_of(trace, load_tagger()))], horizon=16)
    written = pd.read_csv(saved / "fig.csv")
    gates = written[written["arm"] == "gates"]
    assert gates["group"].tolist() == table["group"].tolist()
    pd.testing.assert_series_equal(
        gates["drop_rate"].reset_index(drop=True), table["drop_rate"], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "held", "--step", "3", "--out", "f.pdf"], "held takes no --step; it is for"),
        (["--kind", "held", "--tagger", "x", "--out", "f.pdf"], "leave --tagger out"),
        (["--style", "neurips", "--width", "column", "--out", "f.pdf"], "leave the width out"),
        (["--kind", "text", "--span", "9", "3", "--out", "f.pdf"], "tokens 0 to 299"),
        (["--out", "f.tiff"], "must end in .pdf, .svg, .png or .pgf"),
        (["--out", "f.pdf", "--data", "no/such/f.csv"], "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    saved: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert figure(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (saved / "f.pdf").exists()


def test_help_lists_every_kind_first(capsys: pytest.CaptureFixture[str]) -> None:
    from dcp.figures.paper import KINDS

    assert main(["figure", "--help"]) == 0
    said = capsys.readouterr().out
    assert said[said.index("{") + 1 : said.index("}")].split(",") == list(KINDS)
    assert sum(not kind.words for kind in KINDS.values()) >= 8

"""Studies: windows cover the texts, share out over processes, go on, and give one table."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcp.study.folder
from dcp.cli.main import main
from dcp.errors import DataError, RequestError, TraceError
from dcp.model.gate_config import Shares
from dcp.stats import drop_table
from dcp.stats.repeats import document_key
from dcp.stats.study_file import TABLES, from_json, intervals_in, intervals_said, to_json
from dcp.study import (
    StudyPlan,
    Window,
    cut,
    gather,
    make_plan,
    record_share,
    share_of_process,
    write_study,
)
from dcp.text.documents import documents_of
from dcp.trace import Trace
from tests.helpers.traces import with_meta
from tests.stats.test_stats import Cycle, random_sample


class FourLetters:
    """A tokenizer of at most four characters a token, spaces in front."""

    def encode(self, text: str) -> Any:
        spans = [m.span() for m in re.finditer(r"\s*\S{1,4}", text)]
        return SimpleNamespace(offsets=np.array(spans, np.int32).reshape(-1, 2))


PLAN = StudyPlan(
    file="texts.txt",
    text_sha256="0" * 64,
    model="tiny",
    weights_sha256="0" * 64,
    gate_shift=0.0,
    new_tokens=0,
    seed=0,
    context=64,
    windows=5,
)
WINDOWS = [Window(i, f"d{i // 2}", f"window {i}") for i in range(5)]
TAGGER = Cycle("NOUN", "VERB", "DET")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Recording without a model; the numbers of the windows that were recorded."""
    seen: list[int] = []

    def record(window: Window, plan: StudyPlan, model: Any, cancel: Any = None) -> Trace:
        seen.append(window.number)
        trace = random_sample(window.number, layers=2, tokens=60)[0]
        return with_meta(trace, document=window.document)

    monkeypatch.setattr(dcp.study.folder, "record_window", record)
    return seen


def make(folder: Path, processes: int, order: list[int] | None = None) -> dict[str, bytes]:
    for index in order or range(processes):
        record_share(folder, PLAN, WINDOWS, None, TAGGER, index=index, processes=processes)
    shares: list[float] = []
    write_study(
        folder, PLAN, gather(folder, PLAN), n_boot=20, progress=lambda done, _: shares.append(done)
    )
    assert shares[0] == 0
    assert np.allclose(np.diff(shares), 1 - shares[-1]), "equal parts, all of them said"
    files = [folder / "study.json", *(folder / "tables").iterdir()]
    return {file.name: file.read_bytes() for file in files}


# ---- windows


def test_a_blank_line_ends_a_document() -> None:
    text = "one\nstill one\n\n  \n two \r\n\n\n\nthree"
    assert list(documents_of(text)) == ["one\nstill one", "two", "three"]
    assert list(documents_of(" \n\n")) == []


@given(
    words=st.lists(st.text("abcé🙂", min_size=1, max_size=9), min_size=1, max_size=60),
    room=st.sampled_from([1, 3, 16, 63]),
)
def test_windows_are_the_text_and_fit(words: list[str], room: int) -> None:
    text = " ".join(words)
    windows = cut([text], FourLetters(), room)  # type: ignore[arg-type]
    assert "".join(window.text for window in windows) == text
    for window in windows:
        assert len(FourLetters().encode(window.text).offsets) <= room
    # Cut between words wherever a word fits.
    if room >= 3:
        assert " ".join(" ".join(w.text.split()) for w in windows) == text


class Wrapped(FourLetters):
    """Puts a start in front, an end behind, and a mark before a text that begins with a space."""

    def encode(self, text: str) -> Any:
        found = super().encode(text)
        front = 1 + text.startswith(" ")
        offsets = np.concatenate(
            [np.zeros((front, 2), np.int32), found.offsets, np.full((1, 2), len(text), np.int32)]
        )
        return SimpleNamespace(offsets=offsets)


@pytest.mark.parametrize("room", [4, 7, 63])
def test_every_window_fits_with_what_the_tokenizer_puts_around_it(room: int) -> None:
    text = " ".join(f"word{i}" for i in range(200))
    windows = cut([text], Wrapped(), room)  # type: ignore[arg-type]
    assert "".join(window.text for window in windows) == text
    assert max(len(Wrapped().encode(window.text).offsets) for window in windows) in (room, room - 1)


def test_windows_never_cross_documents_and_a_limit_spreads_them() -> None:
    documents = [f"d{i} " * 20 for i in range(6)]
    named = {document_key(document): {f"d{i}"} for i, document in enumerate(documents)}
    windows = cut(documents, FourLetters(), 8)  # type: ignore[arg-type]
    assert all(set(window.text.split()) == named[window.document] for window in windows)
    assert {window.document for window in windows} == set(named)
    some = cut(documents, FourLetters(), 8, limit=4)  # type: ignore[arg-type]
    assert [window.number for window in some] == [0, 1, 2, 3]
    assert some[0].document == document_key(documents[0])
    assert some[-1].document == document_key(documents[5])
    with pytest.raises(DataError):
        cut([], FourLetters(), 8)  # type: ignore[arg-type]


# ---- its folder


def _model(shares: Shares) -> Any:
    return SimpleNamespace(
        info=SimpleNamespace(name="tiny", context=64, calibration=(), shares=shares),
        loaded=SimpleNamespace(weights_sha256="0" * 64),
        tokenizer=FourLetters(),
    )


def test_windows_may_be_shorter_than_the_model_reads_and_the_share_is_theirs() -> None:
    shares = Shares(tokens=(16, 64), deltas=(-2.0, 0.0), dropped=((0.4, 0.8), (0.2, 0.6)))
    text = "word " * 100
    for context, shift in ((0, 0.0), (64, 0.0), (16, -2.0)):
        model = _model(shares)
        share = 0.6 if context != 16 else 0.4
        plan, windows = make_plan(Path("t"), text, model, sparsity=share, context=context)
        assert (plan.context, plan.gate_shift) == (context or 64, shift)
        sizes = [len(FourLetters().encode(window.text).offsets) for window in windows]
        assert max(sizes) <= plan.context
        assert sizes[:-1] == [plan.context] * (len(sizes) - 1)
    with pytest.raises(RequestError, match="tiny reads 64 tokens at most"):
        make_plan(Path("t"), text, _model(shares), context=65)


def test_a_plan_that_a_kill_left_empty_claims_nothing(tmp_path: Path, recorded: list[int]) -> None:
    whole = make(tmp_path / "whole", 1)
    folder = tmp_path / "killed"
    (folder / "windows").mkdir(parents=True)
    (folder / "plan.json").touch()
    old, new = folder / "windows" / ".a.1.part", folder / "windows" / ".b.2.part"
    for part in (old, new):
        part.touch()
    os.utime(old, (0, 0))
    assert make(folder, 1) == whole
    assert json.loads((folder / "plan.json").read_text()) == asdict(PLAN)
    assert not old.exists(), "what a kill left long ago"
    assert new.exists(), "another process may be writing it"


@pytest.mark.parametrize("what", ["folder", "other", "bytes"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, what: str) -> None:
    plan = tmp_path / "plan.json"
    if what == "folder":
        plan.mkdir()
    else:
        plan.write_bytes(b"{}" if what == "other" else b"\xff\xfe")
    with pytest.raises(RequestError):
        record_share(tmp_path, PLAN, WINDOWS, None, TAGGER)  # type: ignore[arg-type]


# ---- many processes


def test_processes_know_their_share() -> None:
    assert share_of_process({}) == (0, 1)
    assert share_of_process({"RANK": "1", "WORLD_SIZE": "3"}) == (1, 3)
    for bad in ({"RANK": "x"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "-1"}):
        with pytest.raises(RequestError):
            share_of_process(bad)


def test_the_tables_do_not_depend_on_how_many_processes_made_them(
    tmp_path: Path, recorded: list[int]
) -> None:
    alone = make(tmp_path / "one", 1)
    three = make(tmp_path / "three", 3, [2, 0, 1])
    assert alone == three
    assert sorted(recorded) == sorted([*range(5), *range(5)])
    study = from_json(alone["study.json"].decode())
    assert (study.about["texts"], study.about["windows"]) == (3, 5)
    for name in TABLES:
        rows = pd.read_csv(tmp_path / "one" / "tables" / f"{name}.csv")
        assert len(rows) == len(getattr(study, name)) > 0


def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path, recorded: list[int]) -> None:
    whole = make(tmp_path / "whole", 1)
    recorded.clear()
    folder = tmp_path / "stopped"
    record_share(folder, PLAN, WINDOWS[:2], None, TAGGER)
    with pytest.raises(TraceError, match="3 windows are missing"):
        gather(folder, PLAN)
    assert make(folder, 1) == whole
    assert recorded == list(range(5))


def test_a_folder_holds_one_study(tmp_path: Path, recorded: list[int]) -> None:
    record_share(tmp_path, PLAN, WINDOWS, None, TAGGER)
    other = replace(PLAN, gate_shift=-1.0)
    with pytest.raises(RequestError, match="another study"):
        record_share(tmp_path, other, WINDOWS, None, TAGGER)


def test_progress_counts_windows_and_the_words_read_now(
    tmp_path: Path, recorded: list[int]
) -> None:
    said: list[tuple[float, str]] = []
    read = [
        record_share(
            tmp_path, PLAN, WINDOWS, None, TAGGER, progress=lambda *heard: said.append(heard)
        )
        for _ in range(2)
    ]
    assert read == [300, 0]
    assert [share for share, _ in said] == [0.2, 0.4, 0.6, 0.8, 1.0] * 2
    assert [line for _, line in said] == [
        *(f"window {n} of 5, {60 * n} words read" for n in range(1, 6)),
        *(f"window {n} of 5, 0 words read" for n in range(1, 6)),
    ]


# ---- a real model


def test_windows_of_a_document_are_recorded_as_that_document(
    tmp_path: Path, tiny_checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command itself, on a model: three documents in seven windows, the first given twice."""
    first = "the river rose and the boats came in over it " * 12
    texts = [first, "a short one about rivers", first, "the owl sat on the old oak and slept " * 10]
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(texts))
    words = ["study", "--model", str(tiny_checkpoint("llama", drop=0.6)), "--file", str(file)]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    folder = tmp_path / "out" / "windows"
    traces = [Trace.load(path) for path in sorted(folder.glob("*.safetensors"))]
    assert about["windows"] == len(traces) > 4
    assert {trace.meta.document for trace in traces} == {document_key(text) for text in texts}
    for trace in traces:
        (of,) = {text for text in texts if document_key(text) == trace.meta.document}
        assert trace.text.strip() in of
    assert about["texts"] == 3
    assert "3 distinct texts" in about["repeats"]
    assert about["intervals"] == {"rates": 0, "triggers": 0, "hazard": 0}
    # Read again from its folder: the table for people names the tokens that drop most.
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "Tokens at which most was dropped" in shown.err
    assert "No intervals: too few texts." in shown.err
    most = pd.read_csv(tmp_path / "out" / "tables" / "triggers.csv").query("by == 'token'")
    assert len(most)
    for token in most["group"].head(3):
        assert f" {token} " in shown.out.replace("\n", " ") or token in shown.out


# ---- the file


def test_a_study_says_how_many_intervals_it_has(tmp_path: Path, recorded: list[int]) -> None:
    text = make(tmp_path, 1)["study.json"].decode()
    study = from_json(text)
    # Three documents are too few for any.
    assert intervals_in(study, "rates") == intervals_in(study, "triggers") == 0
    assert intervals_in(study, "words") == 0
    table = drop_table([random_sample(seed, tokens=60) for seed in range(12)])
    several = replace(study, rates=table)
    assert intervals_in(several, "rates") == len(table)
    assert intervals_said(study) == "No intervals: too few texts."
    said = intervals_said(several)
    assert said.startswith(f"{len(table)} intervals in all ({len(table)} of rates; rates over ")
    assert f"{table.group.nunique()} groups × 1 horizons" in said


def test_a_study_file_that_is_none_is_refused_in_one_line(
    tmp_path: Path, recorded: list[int]
) -> None:
    text = make(tmp_path, 1)["study.json"].decode()
    study = from_json(text)
    assert to_json(study) == text
    data = json.loads(text)
    for bad in (
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({**data, "format": 1}),
        json.dumps({**data, "rates": 3}),
        json.dumps({**data, "rates": {"arm": ["gates"]}}),
        json.dumps({**data, "noise": {**data["noise"], "low": ["<b>"] * len(study.noise)}}),
    ):
        with pytest.raises(TraceError) as error:
            from_json(bad)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "--file", "none.txt", "--out", "x"],
        ["study", "--file", "texts.txt"],
        ["study", "--file", "texts.txt", "--out", "texts.txt"],
        ["study", "--file", "texts.txt", "--out", "x", "--limit", "-1"],
    ],
)
def test_bad_requests_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("A text.\n")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1

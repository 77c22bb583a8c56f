"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.cli.main import COMMANDS, main
from dcp.cli.terminal import print_json, print_table, printable
from dcp.kernels.api import resolve
from dcp.model import registry as models
from dcp.trace import Trace
from tests.helpers.traces import DESIGN

Checkpoint = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
TEXT = "The river rose 🙂 for three days"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("trace", "--text", "x")`` -> exit status, stdout, stderr."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        # What made the fixtures may have printed too.
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def dialled(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint with a sparsity dial."""
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "dialled")
    settings = json.loads((folder / "dcp_config.json").read_text())
    settings["calibration"] = [
        {"delta": d, "context": 256, "sparsity": s, "perplexity_ratio": 1.0}
        for d, s in ((2.0, 0.1), (-2.0, 0.9))
    ]
    (folder / "dcp_config.json").write_text(json.dumps(settings))
    return folder


def refused(result: tuple[int, str, str]) -> str:
    """The one line of a refusal; fails for anything else."""
    status, out, err = result
    assert status == 2
    assert out == ""
    assert err.startswith("dcp: ")
    assert err.count("\n") == 1
    assert "usage" not in err
    assert "Traceback" not in err
    return err


def process(*words: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dcp", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **settings)


# ---- the front door


def test_help_lists_every_command_and_every_command_has_an_example(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for name in COMMANDS:
        assert f"\n    {name}" in out
        status, text, err = run(name, "--help")
        assert (status, err) == (0, "")
        assert "example" in text
        assert f"dcp {name} " in text


def test_help_answers_at_once() -> None:
    # The processor's time, not the clock's: other work on the machine does not count.
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = used()
    assert process("--help").returncode == 0
    assert used() - before < 0.6


def test_the_module_of_training_refuses_in_one_line_too(tmp_path: Path) -> None:
    """``python -m dcp.train`` is ``dcp train``: a wrong setting is no traceback."""
    (tmp_path / "s.toml").write_text("widht = 3")
    words = ["pretrain", "--config", "s.toml", "--shards", "x.npy", "--tokenizer", "t"]
    command = [sys.executable, "-m", "dcp.train", *words, "--out", "o"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env
    )
    assert "widht" in refused((done.returncode, done.stdout, done.stderr))


def test_version(run: Run) -> None:
    assert run("--version")[1].startswith("dcp ")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("no-such-command",),
        ("--no-such-option",),
        ("trace",),
        ("trace", "--text"),
        ("trace", "--text", "a", "--file", "b"),
        ("trace", "--text", "a", "--no-such-option"),
        ("trace", "--text", "a", "--new-tokens", "-3"),
        ("trace", "--text", "a", "--new-tokens", "many"),
        ("trace", "--text", "a", "--temperature", "nan"),
        ("trace", "--text", "a", "--gate-shift", "inf"),
        ("trace", "--text", "a", "--gate-shift", "-1", "--sparsity", "0.5"),
        ("trace", "--text", "a", "--truncate", "middle"),
        ("trace", "--text", "a", "--out", "/no/such/folder/run.safetensors"),
        ("trace", "--text", "a", "--out", "/"),
        ("trace", "--text", "a", "--out", "a\0b"),
        ("trace", "--file", "/no/such/file"),
        ("trace", "--file", "/"),
        ("trace", "--text", "a", "--model", "no-such-model"),
        ("trace", "--text", "a", "--model", "/"),
        ("trace", "--te", "a"),
        ("stats", "/no/such/file"),
        ("stats",),
        ("view", "/no/such/file", "--out", "x.html"),
        ("figure", "/no/such/file", "--out", "x.pdf"),
        ("figure", "/no/such/file", "--out", "x.docx"),
        ("figure", "/no/such/file", "--kind", "no-such-kind", "--out", "x.pdf"),
        ("tag", "--file", "/no/such/file"),
        ("eval", "--file", "/no/such/file"),
        ("train",),
        ("trace", "--text", "a", "--\x1b[31mred\nline"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_2(run: Run, words: tuple[str, ...]) -> None:
    assert "\x1b" not in refused(run(*words))


# ---- trace


def test_trace_prints_what_other_tools_rely_on(
    run: Run, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "run.safetensors"
    words = ("trace", "--text", TEXT, "--model", tiny_checkpoint("gpt2"), "--new-tokens", "9")
    status, printed, err = run(*words, "--out", out, "--json")
    found, trace = json.loads(printed), Trace.load(out)
    assert (status, err) == (0, "")
    assert found["tokens"] == trace.tokens == found["prompt_tokens"] + 9
    assert found["new_tokens"] == 9
    assert found["layers"] == trace.layers == len(found["sparsity_per_layer"]) == 3
    assert found["text"] == trace.text == found["prompt"] + found["continuation"]
    assert found["prompt"] == TEXT
    assert found["sparsity"] == pytest.approx(trace.sparsity_mean_steps())
    assert found["sparsity_at_end"] == pytest.approx(trace.sparsity_at_end())
    for name in ("live", "held", "peak", "dense"):
        assert found[f"kv_bytes_{name}"] == getattr(trace.meta.memory, name) > 0
    assert found["tokens_per_second"] > 0
    assert found["time_to_first_token_s"] > 0
    assert (found["gate_shift"], found["impl"], found["device"]) == (0, resolve("auto"), "cpu")
    assert found["out"] == str(out)
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_trace_without_json_shows_the_text(run: Run, tiny_checkpoint: Checkpoint) -> None:
    folder = tiny_checkpoint("llama")
    status, out, err = run("trace", "--text", TEXT, "--model", folder, "--new-tokens", "3")
    assert status == 0
    assert out.startswith(TEXT)
    assert "31 + 3" not in out
    assert "+ 3 tokens" in err
    assert not [c for c in out if not c.isprintable() and c not in "\n\t"]


def test_trace_reads_a_file_exactly(run: Run, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    text = "one\r\ntwo\u2028three\0\n\n"
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    status, out, _ = run(
        *("trace", "--file", tmp_path / "text.txt", "--model", tiny_checkpoint("llama")),
        *("--new-tokens", "0", "--json"),
    )
    found = json.loads(out)
    assert status == 0
    assert found["prompt"] == found["text"] == text
    assert found["continuation"] == ""
    assert found["tokens_per_second"] is None
    (tmp_path / "text.txt").write_bytes(b"caf\xe9")
    assert "UTF-8" in refused(run("trace", "--file", tmp_path / "text.txt"))


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "5"),
        ("--temperature", "0"),
        ("--top-k", "1"),
        ("--top-p", "0.000001"),
        ("--gate-shift", "-1e1"),
        ("--sparsity", "0.9"),
        ("--new-tokens", "8"),
    ],
    ids=str,
)
def test_every_option_of_trace_changes_the_result(
    run: Run, dialled: Path, options: tuple[str, str]
) -> None:
    words = ("trace", "--text", TEXT, "--model", dialled, "--json", "--new-tokens", "12")
    plain = json.loads(run(*words)[1])
    changed = json.loads(run(*words, *options)[1])
    assert plain["continuation"] != changed["continuation"]
    if options[0] == "--sparsity":
        assert changed["gate_shift"] == pytest.approx(-2.0)


def test_impl_and_dtype_are_recorded(run: Run, tiny_checkpoint: Checkpoint) -> None:
    words = ("trace", "--text", TEXT, "--model", tiny_checkpoint("llama"), "--json")
    found = json.loads(run(*words, "--impl", "reference", "--dtype", "bfloat16")[1])
    assert (found["impl"], found["dtype"]) == ("reference", "bfloat16")
    refused(run(*words, "--impl", "no-such"))
    refused(run(*words, "--dtype", "float16"))


def test_a_text_too_long_is_refused_with_both_counts_unless_truncated(
    run: Run, tiny_checkpoint: Checkpoint
) -> None:
    text = "".join(f"{i} " for i in range(150))
    words = ("trace", "--text", text, "--model", tiny_checkpoint("llama"), "--new-tokens", "6")
    line = refused(run(*words))
    assert f"{len(text)} tokens; in a context of 256 only 250 fit beside 6 new ones" in line
    assert line.rstrip().endswith("(--truncate left or right)")
    for side in ("left", "right"):
        found = json.loads(run(*words, "--json", "--truncate", side)[1])
        assert found["tokens"] == 256
        assert found["truncated"] == side
        kept = found["prompt"]
        assert text.endswith(kept) if side == "left" else text.startswith(kept)


def test_sparsity_outside_of_the_dial_is_one_line(run: Run, dialled: Path) -> None:
    words = ("trace", "--text", TEXT, "--model", dialled)
    assert "0.100 to 0.900" in refused(run(*words, "--sparsity", "0.95"))


def test_a_full_disk_is_one_line_and_leaves_nothing(run: Run, tiny_checkpoint: Checkpoint) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    words = ("trace", "--text", TEXT, "--model", tiny_checkpoint("llama"), "--new-tokens", "1")
    assert "No space left" in refused(run(*words, "--out", "/dev/full"))
    assert Path("/dev/full").is_char_device(), "a device is written to, never replaced"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dcp", "view", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@pytest.mark.parametrize("place", ["name", "parent/x", "taken", "pipe"])
def test_a_place_that_cannot_be_written_is_one_line_before_the_work(
    run: Run, tmp_path: Path, place: str
) -> None:
    (tmp_path / "parent").write_text("a file")
    out = {"name": tmp_path / ("a" * 300), "pipe": Path("/dev/fd/1")}.get(place, tmp_path / place)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "t.txt").write_text("some words")
    if place != "taken":
        if place == "pipe":
            command = [sys.executable, "-m", "dcp", "trace", "--text", "a", "--out", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
            return
        refused(run("trace", "--text", TEXT, "--out", out))
    refused(run("study", "--file", tmp_path / "t.txt", "--out", out))
    refused(run("space", "static", "--out", out))


@pytest.mark.parametrize(("closed", "status"), [(1, 2), (2, 0)])
def test_a_closed_stream_is_refused_or_does_without(closed: int, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dcp", "models", "--json"],
        capture_output=True,
        preexec_fn=lambda: os.close(closed),
        text=True,
        timeout=60,
    )
    assert done.returncode == status
    if closed == 1:
        assert "standard output is closed" in done.stderr
    else:
        assert json.loads(done.stdout)


def test_ctrl_c_ends_with_130_and_leaves_nothing(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    # A pipe that never ends: the command waits for its text, as it would for a long run.
    os.mkfifo(tmp_path / "text")
    words = ["trace", "--file", str(tmp_path / "text"), "--model", str(tiny_checkpoint("llama"))]
    running = subprocess.Popen(
        [sys.executable, "-m", "dcp", *words, "--out", str(tmp_path / "run.safetensors")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts jobs in the background makes them deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    # Opening the other end returns once the command has opened its own.
    with open(tmp_path / "text", "w"):
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out == ""
    assert err == "dcp: interrupted\n"
    assert os.listdir(tmp_path) == ["text"]


def test_a_reader_that_leaves_is_not_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "dcp", "--help"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 141
    assert done.stderr == ""


# ---- what reads traces and files


def test_commands_work_from_any_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DESIGN, tmp_path / "run.safetensors")
    monkeypatch.chdir(tmp_path)
    found = json.loads(run("view", "run.safetensors", "--out", "view.html", "--json")[1])
    assert found["out"] == str(tmp_path / "view.html")
    assert (tmp_path / "view.html").stat().st_size == found["bytes"]
    assert process("models", "--json", cwd=tmp_path).returncode == 0


def test_stats_prints_rows(run: Run) -> None:
    status, out, err = run("stats", DESIGN, "--by", "layer", "--json", "--horizon", "16")
    rows = json.loads(out)
    assert (status, err) == (0, "")
    assert [row["group"] for row in rows] == list(range(6))
    expected = "group words tokens texts at_risk events horizon drop_rate ci_low ci_high"
    assert {*expected.split(), "dropped_share", "median_life"} <= set(rows[0])
    assert {row["horizon"] for row in rows} == {16}
    status, table, _ = run("stats", DESIGN, "--by", "layer")
    assert status == 0
    assert table.splitlines()[0].split()[:3] == ["group", "source", "words"]


@pytest.mark.parametrize(
    "options",
    [
        ("--source", "generated"),
        ("--dropped-in", "generated"),
        ("--layer", "2"),
        ("--by", "frequency"),
        ("--by", "position"),
        ("--horizon", "4"),
        ("--pieces", "all"),
        ("--controls",),
    ],
    ids=str,
)
def test_every_option_of_stats_changes_the_result(run: Run, options: tuple[str, ...]) -> None:
    words = ("stats", DESIGN, "--json")
    assert run(*words)[1] != run(*words, *options)[1]


@pytest.mark.parametrize(
    "options",
    [
        ("--by", "colour"),
        ("--source", "x"),
        ("--layer", "6"),
        ("--layer", "-1"),
        ("--horizon", "0"),
    ],
    ids=str,
)
def test_stats_refuses_what_it_does_not_know(run: Run, options: tuple[str, str]) -> None:
    refused(run("stats", DESIGN, *options))


def test_tag_prints_one_object_a_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("The dog can't run.\n\nI  saw\u2028it\n", encoding="utf-8")
    status, out, err = run("tag", "--file", file, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert len(rows) == 3
    assert rows[0]["words"] == ["The", "dog", "ca", "n't", "run", "."]
    assert rows[0]["pos"][:2] == ["DET", "NOUN"]
    assert rows[1] == {"words": [], "pos": []}
    given = [
        json.loads(line) for line in run("tag", "--file", file, "--json", "--words")[1].splitlines()
    ]
    assert given[0]["words"] == ["The", "dog", "can't", "run."]
    assert given[2]["words"] == ["I", "", "saw\u2028it"]
    assert all(len(row["words"]) == len(row["pos"]) for row in [*rows, *given])
    assert "dog/NOUN" in run("tag", "--file", file)[1]


def test_figure_follows_its_ending_and_style(run: Run, tmp_path: Path) -> None:
    heads = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for ending, head in heads.items():
        out = tmp_path / f"figure.{ending}"
        assert run("figure", DESIGN, "--out", out)[0] == 0
        assert out.read_bytes().startswith(head)
    narrow = (tmp_path / "figure.svg").read_text()
    assert run("figure", DESIGN, "--style", "icml", "--out", tmp_path / "figure.svg")[0] == 0
    wide = (tmp_path / "figure.svg").read_text()
    assert run("figure", DESIGN, "--step", "40", "--out", tmp_path / "figure.svg")[0] == 0
    assert len({narrow, wide, (tmp_path / "figure.svg").read_text()}) == 3
    refused(run("figure", DESIGN, "--step", "100000", "--out", tmp_path / "figure.svg"))
    refused(run("figure", DESIGN, "--out", tmp_path / "figure.docx"))


def test_models_lists_what_is_bundled(
    run: Run, dialled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "BUNDLED", dialled.parent)
    (row,) = json.loads(run("models", "--json")[1])
    assert row["name"] == "dialled"
    assert row["path"] == str(dialled)
    assert row["default"] is True
    assert (row["architecture"], row["layers"], row["context"], row["vocab"]) == (
        *("llama", 3, 256),
        259,
    )
    assert row["parameters"] > 1000
    assert row["calibration"][0]["delta"] == 2.0
    assert "0.10 to 0.90" in run("models")[1]
    assert json.loads(run("trace", "--text", "abc", "--json")[1])["model"] == "dialled"


# ---- eval


def test_eval_prints_one_object_per_setting(run: Run, dialled: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(["the river rose " * 5, "a cat sat on " * 6]))
    words = ("eval", "--model", dialled, "--file", tmp_path / "text.txt", "--context", "40")
    words = (*words, "--json")
    status, out, err = run(*words, "--gate-shift", "-2", "-1e-1", "0.5")
    rows = json.loads(out)
    assert status == 0
    assert "eval:" in err
    assert [row["gate_shift"] for row in rows] == [-2, -0.1, 0.5]
    sparsity = [row["sparsity"] for row in rows]
    assert sparsity == sorted(sparsity, reverse=True)
    first = rows[0]
    assert first["tokens"] % 39 == 0
    assert first["context"] == 40
    assert first["ppl_dense_finetuned"] is None
    names = "sparsity_at_end ppl_pruned ppl_gates_off bits_per_byte_pruned bits_per_byte_gates_off"
    assert all(isinstance(first[name], float) for name in names.split())
    assert isinstance(first["bytes"], int)
    dial = json.loads(run(*words, "--sparsity", "0.9", "0.5")[1])
    assert [row["gate_shift"] for row in dial] == pytest.approx([-2, 0])
    based = json.loads(run(*words, "--baseline", dialled)[1])
    assert based[0]["ppl_dense_finetuned"] == pytest.approx(based[0]["ppl_gates_off"])
    packed = json.loads(run(*words, "--packed")[1])
    assert packed[0]["tokens"] > first["tokens"]
    assert "ppl_pruned" in run(*words[:-1])[1]


def test_eval_refuses_what_does_not_fit(run: Run, dialled: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("short")
    words = ("eval", "--model", dialled, "--file", tmp_path / "text.txt")
    refused(run(*words, "--context", "40"))
    refused(run(*words, "--context", "1"))
    refused(run(*words, "--sparsity", "0.99"))
    refused(run(*words, "--baseline", tmp_path))


# ---- what is printed


def test_json_is_plain_whatever_comes_in(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2), "d": (Path("x"), True)})
    assert json.loads(capsys.readouterr().out) == {
        "a": 1.5,
        "b": None,
        "c": [0, 1],
        "d": ["x", True],
    }


def test_a_terminal_is_never_given_orders() -> None:
    assert printable("a\x1b[2Jb\tc\nd\x9b") == "a\ufffd[2Jb\tc\nd\ufffd"


def test_tables_align_and_leave_gaps_blank(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "a", "n": 1.0}, {"name": "bcd", "n": None}, {"name": "e", "n": 10.25}])
    assert capsys.readouterr().out.splitlines() == [
        "name      n",
        "a         1",
        "bcd",
        "e     10.25",
    ]
    print_table([])
    assert capsys.readouterr().out == "(nothing)\n"

"""Zero-shot tasks on hand-made files: equal to direct scoring one text at a time, no batching."""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from dcp.cli.main import main
from dcp.errors import DataError, RequestError
from dcp.evaluate import task_score
from dcp.evaluate.task_score import evaluate_task
from dcp.evaluate.tasks import TASKS, read_task
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel, open_model
from dcp.model.weights import LoadedModel

LONG = "the river rose for three days and nobody in the valley slept " * 6


ROWS: dict[str, list[dict[str, Any]]] = {
    "lambada": [
        {"context": "Shane took the boat. I waited for", "continuation": "Shane"},
        {"context": "a b", "continuation": "c"},
        {"context": LONG, "continuation": "café"},
    ],
    "hellaswag": [
        {"ctx": "A man sits. he", "endings": ["runs", "eats bread.", "x", "öl"], "label": 1},
        {"ctx": LONG + "he", "endings": ["a", "swims to the far shore", "c d", "e"], "label": 3},
        {"ctx": "one", "endings": ["two", "three three", "four", "five 5"], "label": 0},
    ],
    "piqa": [
        {"goal": "open a jar", "sol1": "twist the lid", "sol2": "eat"},
        {"goal": "dresser", "sol1": "a", "sol2": "bobby pin "},
    ],
    "winogrande": [
        {"context_options": ["As Ann", "As Mary Lou"], "continuation": "won.", "gold": 1},
        {"context_options": ["He", "It"], "continuation": "was cold outside", "gold": 0},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in ROWS.items():
        text = "\n".join(map(json.dumps, rows)) + "\n"
        if name == "piqa":
            (folder / f"{name}.jsonl").write_text(text)
        else:
            (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(text.encode()))
    (folder / "piqa-labels.lst").write_text("1\n0\n")
    return folder


@pytest.fixture(scope="module")
def opened(tiny_checkpoint: Callable[..., Path]) -> OpenModel:
    return open_model(tiny_checkpoint("llama"))


def direct(opened: OpenModel, before: str, after: str, shift: float) -> tuple[float, bool]:
    """Log-prob of ``after``'s tokens and whether each is the likeliest, one text alone."""
    whole = list(opened.tokenizer.encode(before + after).ids)
    context = opened.info.context
    tail = len(whole) - len(opened.tokenizer.encode(before).ids)
    whole = whole[-(context + 1) :]
    ids = torch.tensor([whole[:-1]])
    with torch.no_grad():
        logits = opened.loaded.transformer(
            ids, torch.arange(ids.shape[1])[None], MaskedAttend(shift)
        )[0, -tail:]
    targets = torch.tensor(whole[-tail:])
    chosen = logits.log_softmax(-1).gather(1, targets[:, None])
    return float(chosen.sum()), bool((logits.argmax(1) == targets).all())


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shift", [-0.7, 0.4])
def test_accuracy_equals_direct_scoring(
    folder: Path, opened: OpenModel, name: str, shift: float
) -> None:
    rows = ROWS[name]
    right, nats = 0, []
    for i, row in enumerate(rows):
        if name == "lambada":
            logprob, greedy = direct(opened, row["context"], " " + row["continuation"], shift)
            right += greedy
            nats.append(-logprob)
            continue
        if name == "winogrande":
            texts = [(c, " " + row["continuation"]) for c in row["context_options"]]
            scores = [direct(opened, *text, shift)[0] for text in texts]
            gold = row["gold"]
        elif name == "hellaswag":
            scores = [
                direct(opened, row["ctx"], " " + e, shift)[0] / len(e) for e in row["endings"]
            ]
            gold = row["label"]
        else:
            context = "Question: " + row["goal"] + "\nAnswer:"
            ends = row["sol1"], row["sol2"]
            scores = [direct(opened, context, " " + e, shift)[0] / len(e) for e in ends]
            gold = [1, 0][i]
        right += int(np.argmax(scores)) == gold
    (result,) = evaluate_task(
        opened.loaded, opened.tokenizer, read_task(name, folder), [shift], batch_tokens=700
    )
    assert result.accuracy == right / len(rows)
    assert result.n == len(rows)
    if name == "lambada":
        assert result.perplexity == pytest.approx(math.exp(np.mean(nats)), rel=1e-4)
    else:
        assert result.perplexity is None


class Parrot(torch.nn.Module):
    """Is sure that the next byte is the one that follows in ``text``, wherever it last stood."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.config = SimpleNamespace(context=256, layers=1, vocab=259)
        self.table = torch.nn.Parameter(torch.zeros(259, 259))
        ids = checkpoint_ids(text)
        self.table.data[ids[:-1], ids[1:]] = 9.0

    def hidden(self, ids: torch.Tensor, steps: torch.Tensor, attend: Any) -> torch.Tensor:
        row = torch.zeros(*ids.shape, 1, 1)
        attend(0, row, row, row, None)
        return self.table[ids]

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def checkpoint_ids(text: str) -> list[int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [alphabet.index("Ġ" if c == " " else c) for c in text]


def test_a_last_word_counts_when_each_of_its_tokens_is_the_likeliest(
    tmp_path: Path, opened: OpenModel
) -> None:
    answers = ["now", "nox", "no", "xow"]
    lines = [json.dumps({"context": "sig", "continuation": answer}) for answer in answers]
    (tmp_path / "lambada.jsonl").write_text("\n".join(lines))
    parrot = Parrot("sig now")
    model = replace(opened.loaded, transformer=parrot, config=parrot.config)  # type: ignore[arg-type]
    (result,) = evaluate_task(model, opened.tokenizer, read_task("lambada", tmp_path))
    assert result.accuracy == 2 / 4


def test_the_batch_changes_nothing_and_the_dial_does(folder: Path, opened: OpenModel) -> None:
    task = read_task("lambada", folder)
    loaded, tokenizer = opened.loaded, opened.tokenizer
    one, many = (
        evaluate_task(loaded, tokenizer, task, [-1.0, 1.0, None], batch_tokens=size)
        for size in (1, 10**6)
    )
    for a, b in zip(one, many, strict=True):
        assert a.perplexity == pytest.approx(b.perplexity, rel=1e-5)
        assert a.sparsity == pytest.approx(b.sparsity, abs=1e-9)
    assert one[0].sparsity > one[1].sparsity > one[2].sparsity == 0
    assert len({round(result.perplexity or 0, 3) for result in one}) == 3
    assert one[2].gate_shift is None


def test_sparsity_is_the_mean_over_steps_of_the_dropped_share(
    folder: Path, opened: OpenModel
) -> None:
    task = read_task("winogrande", folder)
    (result,) = evaluate_task(opened.loaded, opened.tokenizer, task, [0.2])
    shares = []
    for item in task.items:
        for before, after in item.requests:
            ids = torch.tensor([list(opened.tokenizer.encode(before + after).ids)[:-1]])
            way = MaskedAttend(0.2)
            with torch.no_grad():
                opened.loaded.transformer(ids, torch.arange(ids.shape[1])[None], way)
            death = way.deaths[:, 0].numpy()
            steps = range(1, ids.shape[1])
            shares.append(np.mean([(death[:, :t] <= t).mean() for t in steps]))
    assert result.sparsity == pytest.approx(np.mean(shares), abs=1e-6)


def test_chance_and_near_chance_are_said(folder: Path, opened: OpenModel) -> None:
    chances = {name: read_task(name, folder).chance for name in TASKS}
    # Of 7 words one is the answer; in the other passages none is.
    assert chances == {
        "lambada": pytest.approx(1 / 7 / 3), "hellaswag": 0.25, "piqa": 0.5, "winogrande": 0.5
    }  # fmt: skip
    (result,) = evaluate_task(opened.loaded, opened.tokenizer, read_task("piqa", folder))
    assert result.ci_low <= result.accuracy <= result.ci_high
    assert result.near_chance is (result.ci_low <= 0.5)


def test_a_limit_takes_items_spread_evenly(folder: Path) -> None:
    whole, two = read_task("lambada", folder), read_task("lambada", folder, limit=2)
    assert two.items == (whole.items[0], whole.items[-1])
    assert read_task("lambada", folder, limit=99).items == whole.items


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("lambada", "", "holds no items"),
        ("lambada", "{", "cannot read"),
        ("lambada", '{"context": "a"}', "line 1 is not of its form"),
        ("lambada", '{"context": "a", "continuation": " "}', "empty continuation"),
        ("hellaswag", '{"ctx": "a", "endings": ["b", "c"], "label": 2}', "answer 2 of 2"),
        ("hellaswag", '{"ctx": "a", "endings": [], "label": 0}', "line 1"),
        ("winogrande", "[1]", "line 1 is not of its form"),
        ("piqa", '{"goal": "a", "sol1": "b", "sol2": "c"}', "cannot read the answers of piqa"),
    ],
)
def test_a_damaged_task_file_is_one_line(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / f"{name}.jsonl").write_text(text)
    with pytest.raises(DataError, match=complaint) as caught:
        read_task(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_unknown_tasks_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown task 'arc'"):
        read_task("arc", tmp_path)
    with pytest.raises(DataError, match=r"no lambada\.jsonl"):
        read_task("lambada", tmp_path)
    (tmp_path / "piqa.jsonl").write_text("[3]")
    (tmp_path / "piqa-labels.lst").write_text("0")
    with pytest.raises(DataError, match="line 1 is not of its form"):
        read_task("piqa", tmp_path)
    (tmp_path / "piqa-labels.lst").write_text("0 1")
    with pytest.raises(DataError, match="2 answers for 1 items"):
        read_task("piqa", tmp_path)


def test_the_command_prints_one_object_per_task_and_setting(
    folder: Path, opened: OpenModel, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--model", str(opened.info.path), "--data", str(folder), "--task"]
    options = ["--gate-shift", "-1", "1", "--limit", "2"]
    dense = ["--baseline", str(opened.info.path)]
    assert main([*words, "piqa", "lambada", *options, *dense, "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [(r["task"], r["gate_shift"]) for r in rows] == [
        *(("piqa", shift) for shift in (-1, 1, None)),
        *(("lambada", shift) for shift in (-1, 1, None)),
    ]
    names = {"sparsity", "accuracy", "ci_low", "ci_high", "n", "chance", "near_chance"}
    assert names <= rows[0].keys()
    assert rows[0]["n"] == 2
    assert {row["model"] for row in rows} == {opened.info.name}
    assert rows[0]["weights_sha256"] != rows[2]["weights_sha256"]  # the twin's are without gates
    assert main([*words, "winogrande"]) == 0
    assert "near_chance" in capsys.readouterr().out


def test_what_is_kept_is_not_scored_again(
    folder: Path,
    opened: OpenModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_score, "_PART_ITEMS", 2)
    model, kept = str(opened.info.path), tmp_path / "kept"
    words = ["eval", "--model", model, "--data", str(folder), "--task", "hellaswag", "--json"]

    def rows(*more: str) -> Any:
        assert main([*words, "--keep", str(kept), *more]) == 0
        return json.loads(capsys.readouterr().out)

    assert main(words) == 0
    expected = json.loads(capsys.readouterr().out)
    assert rows() == expected
    parts = sorted(kept.iterdir())
    assert [path.name.partition("-0@")[0].rpartition("-")[0] for path in parts] == ["hellaswag"] * 2
    # Stopped in the second part: only that one is scored, and a damaged one is too.
    scored: list[int] = []
    score = task_score._score

    def counted(loaded: LoadedModel, items: Any, *rest: Any) -> Any:
        scored.append(len(items))
        return score(loaded, items, *rest)

    monkeypatch.setattr(task_score, "_score", counted)
    assert rows() == expected
    assert scored == []
    last = next(path for path in parts if path.name.endswith("-2.npz"))
    last.unlink()
    assert rows() == expected
    last.write_bytes(last.read_bytes()[:100])
    assert rows() == expected
    np.savez(last, logprob=np.zeros(3))
    assert rows() == expected
    assert scored == [1, 1, 1]
    # Other items, another setting or other weights are no part of it.
    rows("--limit", "1")
    rows("--gate-shift", "1")
    rows("--baseline", model)
    assert scored == [1, 1, 1, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--task", "passkey", "--keep", "DIR"),
        ("--task", "piqa", "--data", ".", "--keep", "MODEL/dcp_config.json"),
        ("--file", "x", "--keep", "DIR"),
        ("--task", "piqa"),
        ("--task", "arc", "--data", "."),
        ("--task", "piqa", "--file", "x", "--data", "."),
        ("--file", "x", "--policies", "none"),
        ("--file", "x", "--baseline", "MODEL", "--policies", "fifo"),
        ("--file", "x", "--device", "abacus"),
    ],
)
def test_the_command_refuses_in_one_line(
    words: tuple[str, ...],
    opened: OpenModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(opened.info.path)
    words = tuple(w.replace("MODEL", model).replace("DIR", str(tmp_path / "kept")) for w in words)
    assert main(["eval", "--model", model, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("dcp: ")

"""The paper's zero-shot tasks: their files, what is scored of each, and what counts as right.

The conventions are those of lm-evaluation-harness, without examples in the prompt:

    task        context                     continuation          right when
    lambada     the passage                 " " + its last word   every token of it is the likeliest
    hellaswag   ctx as stored               " " + each ending     log-prob / characters is highest
    piqa        "Question: goal\\nAnswer:"   " " + each solution   log-prob / characters is highest
    winogrande  up to and with each option  " " + the rest        log-prob is highest

LAMBADA also has a perplexity: exp of the mean nats a word. Its chance is a word of the passage
taken blindly. Files: ``NAME.jsonl`` or ``NAME.jsonl.xz`` in one folder, PIQA's answers in
``piqa-labels.lst``. Knows no model and no tokenizer.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcp.errors import DataError, RequestError

__all__ = ["TASKS", "Item", "Task", "read_task"]

TASKS = ("lambada", "hellaswag", "piqa", "winogrande")
_PUNCTUATION = ".,!?;:\"'()“”‘’"


@dataclass(frozen=True)
class Item:
    """One question: texts to score as (context, continuation), and which of them is right.

    ``lengths`` divide the log-probs before they are compared.
    """

    requests: tuple[tuple[str, str], ...]
    gold: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """A task's items. ``chance`` is the accuracy of an answer taken blindly."""

    name: str
    metric: str
    chance: float
    items: tuple[Item, ...]


def read_task(name: str, folder: Path, limit: int = 0) -> Task:
    """The task ``name`` from its file in ``folder``; ``limit`` > 0 takes that many, spread evenly.

    Raises RequestError for an unknown task, DataError for an unreadable file or a wrong line.
    """
    if name not in TASKS:
        raise RequestError(f"unknown task {name!r}; use some of: {', '.join(TASKS)}")
    rows = _rows(folder, name)
    if name == "piqa":
        rows = _with_labels(rows, folder / "piqa-labels.lst")
    items, guesses = [], []
    for number, row in enumerate(rows, 1):
        try:
            item, guess = _READERS[name](row)
            if not 0 <= item.gold < len(item.requests):
                raise ValueError(f"answer {item.gold} of {len(item.requests)}")
            if not all(continuation.strip() for _, continuation in item.requests):
                raise ValueError("an empty continuation")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as wrong:
            raise DataError(f"{name}: line {number} is not of its form: {wrong!r}") from None
        items.append(item)
        guesses.append(guess)
    if 0 < limit < len(items):
        chosen = [int(i) for i in np.linspace(0, len(items) - 1, limit)]
        items, guesses = [items[i] for i in chosen], [guesses[i] for i in chosen]
    metric = "acc_norm" if name in ("hellaswag", "piqa") else "acc"
    return Task(name, metric, sum(guesses) / len(guesses), tuple(items))


def _rows(folder: Path, name: str) -> list[Any]:
    path = folder / f"{name}.jsonl"
    if not path.exists():
        path = folder / f"{name}.jsonl.xz"
    try:
        raw = path.read_bytes()
        text = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8")
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except FileNotFoundError:
        raise DataError(f"{folder} has no {name}.jsonl nor {name}.jsonl.xz") from None
    except (OSError, ValueError, lzma.LZMAError, RecursionError) as wrong:
        raise DataError(f"cannot read {path}: {wrong}") from None
    if not rows:
        raise DataError(f"{path} holds no items")
    return rows


def _with_labels(rows: Sequence[Any], path: Path) -> list[Any]:
    try:
        labels = [int(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as wrong:
        raise DataError(f"cannot read the answers of piqa from {path}: {wrong}") from None
    if len(labels) != len(rows):
        raise DataError(f"{path} holds {len(labels)} answers for {len(rows)} items")
    return list(zip(rows, labels, strict=True))


def _lambada(row: Any) -> tuple[Item, float]:
    words = [word.strip(_PUNCTUATION).lower() for word in row["context"].split()]
    answer = row["continuation"].strip().lower()
    guess = words.count(answer) / max(1, len(words))
    return Item(((row["context"], " " + row["continuation"].strip()),), 0, (1,)), guess


def _hellaswag(row: Any) -> tuple[Item, float]:
    return _choices(row["ctx"], row["endings"], row["label"])


def _piqa(row: Any) -> tuple[Item, float]:
    found, label = row
    context = f"Question: {found['goal']}\nAnswer:"
    return _choices(context, (found["sol1"], found["sol2"]), label)


def _winogrande(row: Any) -> tuple[Item, float]:
    contexts, rest = row["context_options"], " " + row["continuation"].strip()
    lengths = (1,) * len(contexts)
    item = Item(tuple((str(c), rest) for c in contexts), int(row["gold"]), lengths)
    return item, 1 / len(contexts)


def _choices(context: str, endings: Sequence[str], label: Any) -> tuple[Item, float]:
    requests = tuple((context, " " + ending) for ending in endings)
    lengths = tuple(len(ending) for ending in endings)
    return Item(requests, int(label), lengths), 1 / len(endings)


_READERS = {
    "lambada": _lambada,
    "hellaswag": _hellaswag,
    "piqa": _piqa,
    "winogrande": _winogrande,
}

"""Zero-shot answers of a model that forgets: accuracy with intervals, by hard gates.

Text is tokenised as a whole and split where the context's own tokens end; what is longer than the
model's context loses its front. The choices of an item share what they begin with, which is read
once for all of them (`dcp.evaluate.branches`). Knows the tasks only as texts to score
(`dcp.evaluate.tasks`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcp.evaluate.branches import BranchedAttend, Rows, row_length
from dcp.evaluate.parts import Arrays, Parts
from dcp.evaluate.surprise import surprise
from dcp.evaluate.tasks import Task
from dcp.model.weights import LoadedModel
from dcp.progress import Progress, in_parts, silent
from dcp.stats.intervals import wilson
from dcp.text.tokens import Tokenizer

__all__ = ["TaskResult", "evaluate_task"]

_BATCH_TOKENS = 4096
# Items of a part that is kept: a minute or two of HellaSwag on a CPU.
_PART_ITEMS = 512
_UNKEPT = Parts(None)


@dataclass(frozen=True)
class TaskResult:
    """One task at one setting of the dial.

    accuracy is ``metric`` (acc, or acc_norm: log-probs divided by characters) with a 95 % Wilson
    interval over n items; near_chance: that interval does not lie above chance. sparsity is
    ``sparsity_mean_steps`` over the scored texts, which are short. perplexity (a word) is
    LAMBADA's alone. gate_shift is None for the dense twin, which has no gates.
    """

    task: str
    gate_shift: float | None
    sparsity: float
    metric: str
    accuracy: float
    ci_low: float
    ci_high: float
    n: int
    chance: float
    near_chance: bool
    perplexity: float | None


@dataclass(frozen=True, eq=False)
class _Continuation:
    """ids [n] the whole text; the tokens from ``first`` on are the continuation."""

    ids: npt.NDArray[np.int64]
    first: int


def evaluate_task(
    model: LoadedModel,
    tokenizer: Tokenizer,
    task: Task,
    gate_shifts: Sequence[float | None] = (0.0,),
    *,
    batch_tokens: int = _BATCH_TOKENS,
    parts: Parts = _UNKEPT,
    progress: Progress = silent,
) -> list[TaskResult]:
    """One TaskResult for each gate shift; None runs without gates. What is in ``parts`` of the same
    items, weights and gate shift is not scored again."""
    items = [
        [_continuation(tokenizer, model.config.context, *pair) for pair in item.requests]
        for item in task.items
    ]
    starts = range(0, len(items), _PART_ITEMS)
    begin = in_parts(progress, len(gate_shifts) * len(starts))
    told = hashlib.sha256(repr(task).encode()).hexdigest()[:12]
    results = []
    for shift in gate_shifts:
        setting = "off" if shift is None else f"{shift:g}"
        weights = model.at(shift).weights_sha256[:12]
        found = []
        for start in starts:
            begin(f"{task.name}: gates {setting}, from item {start} of {len(items)}")
            some = items[start : start + _PART_ITEMS]
            name = f"{task.name}-{told}-{setting}@{weights}-{start}.npz"
            score = partial(_score, model, some, shift, batch_tokens)
            found.append(parts.arrays(name, score, partial(_is_of, sum(map(len, some)))))
        joined = {key: np.concatenate([part[key] for part in found]) for key in found[0]}
        results.append(_result(task, shift, joined))
    return results


def _is_of(continuations: int, part: Arrays) -> bool:
    """Whether a part that was kept is what `_score` gives for so many continuations."""
    kinds = {"logprob": np.float64, "likeliest": np.bool_, "sparsity": np.float64}
    return {name: (each.dtype, each.shape) for name, each in part.items()} == {
        name: (np.dtype(kind), (continuations,)) for name, kind in kinds.items()
    }


def _result(task: Task, shift: float | None, scored: Arrays) -> TaskResult:
    logprob, at = scored["logprob"], 0
    right = 0
    for item in task.items:
        scores = logprob[at : at + len(item.requests)]
        if task.name == "lambada":
            right += bool(scored["likeliest"][at])
        else:
            right += int(np.argmax(scores / np.asarray(item.lengths))) == item.gold
        at += len(item.requests)
    low, high = wilson(right, len(task.items))
    return TaskResult(
        task=task.name,
        gate_shift=shift,
        sparsity=float(scored["sparsity"].mean()),
        metric=task.metric,
        accuracy=right / len(task.items),
        ci_low=low,
        ci_high=high,
        n=len(task.items),
        chance=task.chance,
        near_chance=low <= task.chance,
        perplexity=math.exp(-logprob.mean()) if task.name == "lambada" else None,
    )


def _continuation(tokenizer: Tokenizer, context: int, before: str, after: str) -> _Continuation:
    whole = tokenizer.encode(before + after).ids
    # At least one token is scored, also where the last of the context joins the continuation.
    first = min(len(tokenizer.encode(before)), len(whole) - 1)
    cut = max(0, len(whole) - (context + 1))
    return _Continuation(np.asarray(whole[cut:], dtype=np.int64), max(1, first - cut))


@torch.inference_mode()
def _score(
    model: LoadedModel,
    items: Sequence[Sequence[_Continuation]],
    shift: float | None,
    batch_tokens: int,
) -> Arrays:
    """Of each continuation, item by item: logprob [R] float64, whether it is the greedy one,
    likeliest [R] bool, and sparsity [R] float64 of its text."""
    transformer = model.at(shift).transformer
    device = next(transformer.parameters()).device
    places = np.split(np.arange(sum(map(len, items))), np.cumsum([*map(len, items)])[:-1])
    logprob, sparsity = np.zeros(sum(map(len, items))), np.zeros(sum(map(len, items)))
    likeliest = np.zeros(len(logprob), dtype=np.bool_)
    for batch in _batches(items, batch_tokens):
        # Nothing is asked of a text's last token.
        rows = Rows.of([[request.ids[:-1] for request in items[i]] for i in batch])
        way = BranchedAttend(rows, shift, device)
        ids, positions = (torch.from_numpy(x).to(device) for x in (rows.ids, rows.positions))
        hidden = transformer.hidden(ids, positions, way)
        dropped = _dropped(way.held.cpu().numpy(), rows.positions)
        asked = []
        for row, i in enumerate(batch):
            for place, request, columns in zip(places[i], items[i], rows.columns[row], strict=True):
                asked += [(row, column, place) for column in columns[request.first - 1 :]]
                sparsity[place] = dropped[row, columns].sum() / max(1, len(columns) - 1)
        row, column, place = np.asarray(asked).T
        targets = np.concatenate([r.ids[r.first :] for i in batch for r in items[i]])
        # Only the continuations' rows meet the vocabulary.
        at = torch.from_numpy(row), torch.from_numpy(column)
        nats, missed = surprise(transformer, hidden[at], torch.from_numpy(targets).to(device))
        logprob -= np.bincount(place, weights=nats.numpy(), minlength=len(logprob))
        likeliest[place] = True
        likeliest[place[missed.numpy()]] = False
    return {"logprob": logprob, "likeliest": likeliest, "sparsity": sparsity}


def _dropped(held: npt.NDArray[np.float64], past: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """held [B, T], past [B, T], how many tokens came before -> their dropped share, 0 of none."""
    return np.where(past > 0, 1 - (held - 1) / np.maximum(past, 1), 0.0)


def _batches(items: Sequence[Sequence[_Continuation]], tokens: int) -> Iterator[list[int]]:
    """Items of like length together, at most ``tokens`` padded tokens at a time."""
    sizes = [row_length([request.ids[:-1] for request in item]) for item in items]
    batch: list[int] = []
    for i in sorted(range(len(items)), key=sizes.__getitem__):
        if batch and (len(batch) + 1) * sizes[i] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch

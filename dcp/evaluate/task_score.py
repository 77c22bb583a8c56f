"""Zero-shot answers of a model that forgets: accuracy with intervals, by hard gates.

Text is tokenised as a whole and split where the context's own tokens end; what is longer than the
model's context loses its front. Padding comes last, where no gate and no query of the text sees it.
Knows the tasks only as texts to score (`dcp.evaluate.tasks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcp.evaluate.score import held_per_step
from dcp.evaluate.tasks import Task
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.progress import Progress, in_parts, silent
from dcp.stats.intervals import wilson
from dcp.text.tokens import Tokenizer

__all__ = ["TaskResult", "evaluate_task"]

_BATCH_TOKENS = 4096


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
    progress: Progress = silent,
) -> list[TaskResult]:
    """One TaskResult for each gate shift; None runs without gates."""
    pairs = [pair for item in task.items for pair in item.requests]
    requests = [_continuation(tokenizer, model.config.context, *pair) for pair in pairs]
    results = []
    begin = in_parts(progress, len(gate_shifts))
    for shift in gate_shifts:
        begin(f"{task.name}: {'no gates' if shift is None else f'gate shift {shift:g}'}")
        logprob, likeliest, sparsity = _score(model, requests, shift, batch_tokens)
        right, at = 0, 0
        for item in task.items:
            scores = logprob[at : at + len(item.requests)]
            if task.name == "lambada":
                right += bool(likeliest[at])
            else:
                right += int(np.argmax(scores / np.asarray(item.lengths))) == item.gold
            at += len(item.requests)
        low, high = wilson(right, len(task.items))
        results.append(
            TaskResult(
                task=task.name,
                gate_shift=shift,
                sparsity=sparsity,
                metric=task.metric,
                accuracy=right / len(task.items),
                ci_low=low,
                ci_high=high,
                n=len(task.items),
                chance=task.chance,
                near_chance=low <= task.chance,
                perplexity=math.exp(-logprob.mean()) if task.name == "lambada" else None,
            )
        )
    return results


def _continuation(tokenizer: Tokenizer, context: int, before: str, after: str) -> _Continuation:
    whole = tokenizer.encode(before + after).ids
    # At least one token is scored, also where the last of the context joins the continuation.
    first = min(len(tokenizer.encode(before)), len(whole) - 1)
    cut = max(0, len(whole) - (context + 1))
    return _Continuation(np.asarray(whole[cut:], dtype=np.int64), max(1, first - cut))


@torch.inference_mode()
def _score(
    model: LoadedModel, requests: Sequence[_Continuation], shift: float | None, batch_tokens: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], float]:
    """Log-prob [R] of each continuation, whether it is the greedy one [R], and mean sparsity."""
    transformer = (model.dense if shift is None else model).transformer
    device = next(transformer.parameters()).device
    logprob, likeliest = np.zeros(len(requests)), np.zeros(len(requests), dtype=np.bool_)
    sparsity = np.zeros(len(requests))
    for rows in _batches(requests, batch_tokens):
        longest = max(len(requests[r].ids) for r in rows)
        padded = np.zeros((len(rows), longest), dtype=np.int64)
        asked = np.zeros((len(rows), longest - 1), dtype=np.bool_)
        for i, r in enumerate(rows):
            padded[i, : len(requests[r].ids)] = requests[r].ids
            asked[i, requests[r].first - 1 : len(requests[r].ids) - 1] = True
        ids = torch.from_numpy(padded).to(device)
        steps = torch.arange(longest - 1, device=device).expand(len(rows), -1)
        way = MaskedAttend(prune=False) if shift is None else MaskedAttend(shift)
        hidden = transformer.hidden(ids[:, :-1], steps, way)
        wanted = torch.from_numpy(asked).to(device)
        # Only the continuation's rows meet the vocabulary, by far the widest matrix.
        logits = transformer.head(hidden[wanted]).float()
        targets = ids[:, 1:][wanted]
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double()
        row = torch.nonzero(wanted)[:, 0].cpu().numpy()
        logprob[rows] = -np.bincount(row, weights=nats.cpu().numpy(), minlength=len(rows))
        missed = (logits.argmax(dim=1) != targets).cpu().numpy()
        likeliest[rows] = np.bincount(row, weights=missed, minlength=len(rows)) == 0
        sparsity[rows] = _sparsity(way, [len(requests[r].ids) - 1 for r in rows])
    return logprob, likeliest, float(sparsity.mean())


def _sparsity(way: MaskedAttend, lengths: Sequence[int]) -> npt.NDArray[np.float64]:
    """Dropped share of the t previous tokens [B], mean over layers and each text's steps t >= 1."""
    held = held_per_step(way.deaths).double().mean(dim=0).cpu().numpy()
    past = np.arange(held.shape[1])
    dropped = 1 - (held[:, 1:] - 1) / past[1:]
    real = past[1:] < np.asarray(lengths)[:, None]
    return np.asarray((dropped * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1))


def _batches(requests: Sequence[_Continuation], tokens: int) -> Iterator[list[int]]:
    """Rows of like length together, at most ``tokens`` padded tokens at a time."""
    order = sorted(range(len(requests)), key=lambda r: len(requests[r].ids))
    batch: list[int] = []
    for r in order:
        if batch and (len(batch) + 1) * len(requests[r].ids) > tokens:
            yield batch
            batch = []
        batch.append(r)
    if batch:
        yield batch

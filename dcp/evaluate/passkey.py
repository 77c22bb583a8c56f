"""Passkey retrieval: does a number told once survive in a long text that says nothing else?

The prompt is that of Mohtashami and Jaggi (2023, arXiv 2305.16300): a task line, filler, the line
that tells the key, filler, and the question. It is right when every token of the key is the
likeliest after the question. Beside the answer it counts what no accuracy shows: how many of the
key's own entries are still held when the question ends. Needs no data; keys are seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcp.errors import RequestError
from dcp.evaluate.score import held_per_step
from dcp.evaluate.surprise import surprise
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.progress import Progress, in_parts, silent
from dcp.stats.intervals import wilson
from dcp.text.tokens import Tokenizer

__all__ = ["DEPTHS", "Passkey", "PasskeyResult", "evaluate_passkey", "passkey"]

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

_TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there.\n"
)
_FILLER = (
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
)
_TOLD = "The pass key is {key}. Remember it. {key} is the pass key.\n"
_ASKED = "What is the pass key? The pass key is"


@dataclass(frozen=True, eq=False)
class Passkey:
    """One prompt with its answer.

    ids [n] int64; the answer's tokens are those from ``answer`` on: the key's own, without a token
    that is the space before it and nothing else. told [m] int64 are the positions of both mentions
    of the key, question and answer apart.
    """

    ids: npt.NDArray[np.int64]
    answer: int
    told: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PasskeyResult:
    """One length, depth and setting of the dial.

    context is the length asked for, tokens that of the longest prompt; depth 0 tells the key
    first, 1 last. sparsity: share of the previous tokens dropped when the question ends, mean
    over layers. key_held: share of the key's own entries held then, mean over layers. accuracy
    with a 95 % Wilson interval over n keys; nats: of a token of the answer, mean. gate_shift is
    None without gates.
    """

    context: int
    depth: float
    gate_shift: float | None
    tokens: int
    sparsity: float
    key_held: float
    accuracy: float
    ci_low: float
    ci_high: float
    n: int
    nats: float


def passkey(tokenizer: Tokenizer, context: int, depth: float, key: str) -> Passkey:
    """The longest prompt that fits ``context`` tokens, answer included.

    Raises RequestError for a depth outside [0, 1] or a context without room for any filler.
    """
    if not 0 <= depth <= 1:
        raise RequestError(f"depth must be between 0 and 1, not {depth:g}")
    told = _TOLD.format(key=key)
    least = tokenizer.count(_TASK + told + _ASKED + " " + key)
    room = (context - least) // max(1, tokenizer.count(_FILLER) - 1)
    for fillers in range(room, 0, -1):
        before = round(depth * fillers)
        head = _TASK + _FILLER * before
        text = head + told + _FILLER * (fillers - before) + _ASKED
        found = tokenizer.encode(text + " " + key)
        if len(found) <= context:
            ends = np.asarray(found.offsets)[:, 1]
            starts = np.asarray(found.offsets)[:, 0]
            inside = np.zeros(len(found), dtype=np.bool_)
            for at in _mentions(text, key):
                inside |= (starts < at + len(key)) & (ends > at)
            begin = len(text) + len(" ")
            of_key = np.flatnonzero((ends > begin) & (starts < begin + len(key)))
            ids = np.asarray(found.ids, dtype=np.int64)[: of_key[-1] + 1]
            return Passkey(ids, int(of_key[0]), np.flatnonzero(inside))
    raise RequestError(f"a pass key does not fit {context} tokens; ask for a longer context")


@torch.inference_mode()
def evaluate_passkey(
    model: LoadedModel,
    tokenizer: Tokenizer,
    contexts: Sequence[int],
    gate_shifts: Sequence[float | None] = (0.0,),
    *,
    depths: Sequence[float] = DEPTHS,
    keys: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> list[PasskeyResult]:
    """One result for each context, depth and gate shift, all with the same five-digit keys.

    Raises RequestError where a context is longer than the model's.
    """
    if contexts and max(contexts) > model.config.context:
        raise RequestError(
            f"context {max(contexts)} is longer than the model's {model.config.context}"
        )
    drawn = np.random.default_rng(seed).integers(10_000, 100_000, size=keys)
    begin = in_parts(progress, len(contexts) * len(depths) * len(gate_shifts))
    results = []
    for context in contexts:
        for depth in depths:
            prompts = [passkey(tokenizer, context, depth, str(key)) for key in drawn]
            for shift in gate_shifts:
                begin(f"passkey: {context} tokens, depth {depth:g}")
                results.append(_result(model, prompts, context, depth, shift))
    return results


def _mentions(text: str, key: str) -> list[int]:
    first = text.index(key)
    return [first, text.index(key, first + 1)]


def _result(
    model: LoadedModel, prompts: Sequence[Passkey], context: int, depth: float, shift: float | None
) -> PasskeyResult:
    transformer = model.at(shift).transformer
    device = next(transformer.parameters()).device
    right, nats, held, dropped = 0, [], [], []
    for prompt in prompts:
        ids = torch.from_numpy(prompt.ids).to(device)[None]
        way = MaskedAttend(prune=False) if shift is None else MaskedAttend(shift)
        steps = torch.arange(ids.shape[1] - 1, device=device)[None]
        hidden = transformer.hidden(ids[:, :-1], steps, way)
        wanted = ids[0, prompt.answer :]
        of_key, missed = surprise(transformer, hidden[0, prompt.answer - 1 :], wanted)
        right += not missed.any()
        nats.append(float(of_key.mean()))
        asked = prompt.answer - 1
        deaths = way.deaths[:, 0].cpu()
        held.append(float((deaths[:, prompt.told] > asked).double().mean()))
        kept = held_per_step(way.deaths)[:, 0, asked].double().mean() - 1
        dropped.append(1 - float(kept) / asked)
    n = len(prompts)
    low, high = wilson(right, n)
    return PasskeyResult(
        context=context,
        depth=depth,
        gate_shift=shift,
        tokens=max(len(prompt.ids) for prompt in prompts),
        sparsity=float(np.mean(dropped)),
        key_held=float(np.mean(held)),
        accuracy=right / n,
        ci_low=low,
        ci_high=high,
        n=n,
        nats=float(np.mean(nats)),
    )

"""The published rules, written out by hand on the attention of an eager `transformers` forward.

Each decision is looked at by itself: from what was held before it, the rule says who stays. A
decision that differs is a near tie where the scores it turns on lie within float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcp.deaths import ALIVE

Choice = tuple[list[int], np.ndarray, list[int], int]
"""Who stays in any case; scores; among whom; how many of these with the highest stay."""
Choose = Callable[[int, list[int]], Choice | None]

# Attention weights lie in 0 … 1; two float32 forwards of 30 layers differ by less than this.
TIE = 2e-5


class Eager:
    """A `transformers` model whose attention masks are given for each layer."""

    def __init__(self, model: Any) -> None:
        """``model`` in float32 with eager attention, or the folder that has it."""
        from transformers import AutoModelForCausalLM

        if isinstance(model, Path):
            model = AutoModelForCausalLM.from_pretrained(
                model, attn_implementation="eager", dtype=torch.float32
            )
        self.model = model
        self.masks: list[torch.Tensor] = []
        inner = self.model.model if hasattr(self.model, "model") else self.model.transformer
        blocks = inner.layers if hasattr(inner, "layers") else inner.h
        self.layers = len(blocks)
        for i, block in enumerate(blocks):
            attention = block.self_attn if hasattr(block, "self_attn") else block.attn
            attention.register_forward_pre_hook(
                lambda m, args, kw, i=i: (args, {**kw, "attention_mask": self.masks[i]}),
                with_kwargs=True,
            )

    def attention(self, ids: Sequence[int] | torch.Tensor, visible: np.ndarray) -> np.ndarray:
        """ids [T] or [B, T], visible [L, (B,) T, T] bool -> mean over heads [L, (B,) T, T]."""
        tokens = torch.as_tensor(ids)
        seen = torch.from_numpy(np.asarray(visible))
        alone = tokens.ndim == 1
        if alone:
            tokens, seen = tokens[None], seen[:, None]
        zero = torch.zeros(seen.shape[1:])[:, None]
        self.masks = [zero.masked_fill(~layer[:, None], -1e9) for layer in seen]
        with torch.inference_mode():
            out = self.model(tokens, output_attentions=True)
        found = np.stack([weights.mean(dim=1).numpy() for weights in out.attentions])
        return found[:, 0] if alone else found


def visible(death: np.ndarray) -> np.ndarray:
    """death [..., T] -> who each step sees [..., T, T]."""
    steps = np.arange(death.shape[-1])
    return (steps[:, None] >= steps) & (steps[:, None] < death[..., None, :])


@dataclass
class Verdict:
    """Decisions that dropped someone; those that differ by a near tie; those that are wrong."""

    decisions: int = 0
    ties: int = 0
    wrong: list[Any] = field(default_factory=list)


def judge(death: np.ndarray, choose: Choose, verdict: Verdict, where: Any = None) -> None:
    """Hold every decision of death [T] against ``choose``. What falls to the last step shows in no
    death."""
    steps = len(death)
    for step in range(steps - 1):
        kept = [j for j in range(step + 1) if death[j] > step]
        choice = choose(step, kept)
        stays = {j for j in kept if death[j] > step + 1}
        if choice is None:
            expected, scores = set(kept), np.zeros(0)
        else:
            always, scores, among, n = choice
            expected = {*always, *top(scores, among, n)}
        verdict.decisions += len(expected) < len(kept)
        if expected == stays:
            continue
        swapped_in, swapped_out = sorted(stays - expected), sorted(expected - stays)
        if len(swapped_in) == len(swapped_out) and choice is not None:
            gap = scores[swapped_out].max() - scores[swapped_in].min()
            if 0 <= gap < TIE:
                verdict.ties += 1
                continue
        verdict.wrong.append((where, step, swapped_in, swapped_out))


def top(scores: np.ndarray, among: list[int], n: int) -> list[int]:
    return sorted(among, key=lambda j: -scores[j])[: max(n, 0)]


def h2o(attention: np.ndarray, budget: int) -> Choose:
    score = np.zeros(len(attention))

    def choose(step: int, kept: list[int]) -> Choice | None:
        score[: step + 1] += attention[step, : step + 1]
        if len(kept) <= budget:
            return None
        recent = [j for j in kept if j > step - budget // 2]
        others = [j for j in kept if j not in recent]
        return recent, score.copy(), others, budget - len(recent)

    return choose


def tova(attention: np.ndarray, budget: int) -> Choose:
    return lambda step, kept: None if len(kept) <= budget else ([], attention[step], kept, budget)


def snapkv(attention: np.ndarray, budget: int, window: int = 5) -> Choose:
    def choose(step: int, kept: list[int]) -> Choice | None:
        if len(kept) <= budget:
            return None
        recent = [j for j in kept if j > step - window]
        others = [j for j in kept if j not in recent]
        votes = torch.from_numpy(attention[step + 1 - window : step + 1, others].sum(axis=0))
        scores = np.zeros(len(attention))
        scores[others] = torch.nn.functional.avg_pool1d(votes[None], 5, 1, 2)[0].numpy()
        return recent, scores, others, budget - len(recent)

    return choose


def citrus(attention: np.ndarray, budget: int) -> Choose:
    chunk = budget // 4

    def choose(step: int, kept: list[int]) -> Choice | None:
        if (step + 1) % chunk:
            return None
        past = [j for j in kept if j <= step - chunk]
        score = attention[step + 1 - chunk : step + 1].mean(axis=0)
        return [j for j in kept if j > step - chunk], score, past, budget - 2 * chunk

    return choose


BY_HAND = {"h2o": h2o, "tova": tova, "snapkv": snapkv, "citrus": citrus}


def instructed(
    eager: Eager, ids: list[int], prompt: int, instruction: list[int], form: str, budget: int
) -> np.ndarray:
    """Deaths [L, T] of CItruS: ids are prompt and continuation, all read; form "citrus",
    "citrus-shared" or "citrus-individual". Chunk by chunk, a whole forward for every vote."""
    tokens, layers, chunk = len(ids), eager.layers, budget // 4
    k = budget - 2 * chunk
    death = np.full((layers, tokens), ALIVE, dtype=np.int64)
    seen = np.zeros((layers, tokens, tokens), dtype=bool)
    # The cache that reads the text, and the one whose deaths are told: one and the same, or two.
    reading = [set() for _ in range(layers)]
    told = [set() for _ in range(layers)] if form == "citrus-individual" else reading
    starts = [*range(0, prompt, chunk), *range(prompt, tokens, chunk)]
    for start in starts:
        stop = min(start + chunk, prompt if start < prompt else tokens + chunk)
        asked = None
        if start == prompt or (start and form != "citrus"):
            asked = ask(eager, ids[:start], seen, told, instruction)
        if start == prompt:
            for layer in range(layers):
                settle(told[layer], set(told[layer]), asked[layer], k, start, death[layer])
            reading = told
        for step in range(start, min(stop, tokens)):
            for layer in range(layers):
                reading[layer].add(step)
                seen[layer, step, sorted(reading[layer])] = True
        if stop > tokens:
            break
        votes = None
        if form == "citrus" or told is not reading:
            whole = eager.attention(ids[:stop], seen[:, :stop, :stop])
            votes = whole[:, start:stop].mean(axis=1)
        fresh = set(range(start, stop))
        for layer in range(layers):
            if told is not reading:
                told[layer] |= fresh
                nobody = np.zeros(tokens)
                settle(reading[layer], reading[layer] - fresh, votes[layer], k, stop, nobody)
            by = votes if form == "citrus" else asked
            if by is not None:
                settle(told[layer], told[layer] - fresh, by[layer], k, stop, death[layer])
    death[death >= tokens] = ALIVE
    return death


def ask(
    eager: Eager, ids: list[int], seen: np.ndarray, held: list[set[int]], instruction: list[int]
) -> np.ndarray:
    """The instruction's attention to the text before it, mean over its queries and heads [L, T]."""
    n, extra = len(ids), len(instruction)
    masks = np.zeros((eager.layers, n + extra, n + extra), dtype=bool)
    masks[:, :n, :n] = seen[:, :n, :n]
    masks[:, n:, n:] = np.tri(extra, dtype=bool)
    for layer, entries in enumerate(held):
        masks[layer, n:, sorted(entries)] = True
    return eager.attention([*ids, *instruction], masks)[:, n:, :n].mean(axis=1)


def settle(
    held: set[int], past: set[int], score: np.ndarray, k: int, step: int, death: np.ndarray
) -> None:
    """Of ``past`` the ``k`` with the highest score stay; the others leave ``held`` at ``step``."""
    for j in past - set(top(score, sorted(past), k)):
        held.discard(j)
        death[j] = step

"""How much of what the gates lose could hindsight save: drops chosen with the whole text known.

    python -m benchmarks.hindsight --model smollm2-135m --file valid-*.txt.xz --context 1024 --json

Of one window of each file, without any pruning: what taking token j from the attention of layer l
at step t would change in the log-probability of a next token drawn from the model itself, to first
order (`worths`), squared, mean over ``--draws``. That is the entry's worth: twice its part of
KL(dense ‖ pruned), by the Fisher information, as if no other went. A token is dropped where holding
on would cost more than what it is worth from there on (`cheapest_deaths`), at several prices of a
step. Not a bound, as entries do not add up; but it knows the future, which no rule in use does. The
gates beside it, and the gates with a shift for each layer that holds there what hindsight holds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.evaluate.score import held_per_step
from dcp.evaluate.windows import Windows, read_windows
from dcp.kernels.gates import Gates
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.transformer import Transformer
from dcp.model.weights import LoadedModel

_LEAST = 1e-3  # of the weight that is left when an entry goes: the first token may hold it all


@dataclass(frozen=True)
class Row:
    """One rule at one setting, mean over windows; sparsity as ``sparsity_mean_steps``,
    sparsity_at_end as ``sparsity_at(T)``, entries as visible pairs of a window, mean over layers;
    ratio of perplexity on the text to the dense model's, kl to it in nats a token."""

    rule: str
    setting: float
    sparsity: float
    sparsity_at_end: float
    entries: float
    ratio: float
    kl: float


class _Watched:
    """Causal attention whose queries, keys, values and outputs [H, T, d] are kept. Weights are made
    again where they are asked for: of all layers at once, 4,096 tokens have 18 GB of them."""

    def __init__(self) -> None:
        self.read: list[tuple[Tensor, Tensor, Tensor]] = []
        self.outputs: list[Tensor] = []

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        del layer, gates
        group = q.shape[2] // k.shape[2]
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        if out.requires_grad:
            out.retain_grad()
        else:
            out.requires_grad_()
        self.read.append((q.detach(), k.detach(), v.detach()))
        self.outputs.append(out)
        return out.transpose(0, 1)[None]


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """Causal attention weights of one layer [H, T, T]."""
    scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return cast(Tensor, scores.masked_fill(future, -torch.inf).softmax(-1))


def worths(model: Transformer, ids: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """ids [T] int64 -> the change of each drawn next token's surprise when entry j goes at t, to
    first order in the output of attention: [L, T, T] float32, row t and column j < t; and the
    logits [T, V]. Nothing of the model changes.

    With a the weight, o the output, g its gradient: a / (1 - a) g (o - v_j), summed over heads.
    """
    seen = _Watched()
    with torch.enable_grad():
        logits = model(ids[None], torch.arange(len(ids))[None], seen, gated=False)[0].float()
        drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=draw)[:, 0]
        F.cross_entropy(logits, drawn, reduction="sum").backward()  # type: ignore[no-untyped-call]
    changes = []
    for (q, k, v), out in zip(seen.read, seen.outputs, strict=True):
        slope, weights = out.grad, _weights(q, k)
        assert slope is not None
        gain = (slope * out.detach()).sum(-1, keepdim=True) - slope @ v.transpose(1, 2)
        share = weights / (1 - weights).clamp(min=_LEAST)
        # Less surprise where the output moves against the slope.
        changes.append((share * gain).sum(0).tril(-1))
    return torch.stack(changes), logits.detach()


def squared(
    model: Transformer, ids: Tensor, draw: torch.Generator, draws: int
) -> tuple[Tensor, Tensor]:
    """The mean of that many squares of `worths` [L, T, T] float32, and the logits [T, V]."""
    worth, logits = worths(model, ids, draw)
    worth.square_()
    for _ in range(draws - 1):
        worth += worths(model, ids, draw)[0].square_()
    return worth.div_(draws), logits


def cheapest_deaths(worth: Tensor, price: float) -> Tensor:
    """worth [L, T, T] >= 0, row t, column j -> death [L, T] int32: the step that makes
    price x (steps held) - (worth of these steps) least; the first token is never dropped."""
    length = worth.shape[-1]
    held = torch.ones(length, length, dtype=torch.bool).tril()
    deaths = []
    for layer in worth:
        cost = (price - layer).tril(-1).cumsum(0)
        # Row j itself: held for no step, cost 0.
        last = cost.masked_fill(~held, torch.inf).argmin(0)
        deaths.append(torch.where(last == length - 1, ALIVE, last + 1).to(torch.int32))
    found = torch.stack(deaths)
    found[:, 0] = ALIVE
    return found


class _ByLayer(MaskedAttend):
    """Gates with a shift of each layer's own."""

    def __init__(self, shifts: Sequence[float]) -> None:
        super().__init__()
        self._shifts = shifts

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        self._shift = self._shifts[layer]
        return super().__call__(layer, q, k, v, gates)


@torch.inference_mode()
def _read(
    model: Transformer, ids: Tensor, way: MaskedAttend, dense: Tensor
) -> tuple[Tensor, float, float]:
    """Entries held at each step [L, T] float64, and in nats a token: what the text's next tokens
    surprise more than the dense model, and KL(dense ‖ here)."""
    logits = model(ids[None], torch.arange(len(ids))[None], way)[0].float()
    log_p, log_q = dense.log_softmax(-1), logits.log_softmax(-1)
    kl = float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
    more = float((log_p - log_q)[:-1].gather(1, ids[1:, None]).mean())
    return held_per_step(way.deaths)[:, 0].double(), more, kl


def measure(
    model: LoadedModel,
    windows: Windows,
    shifts: Sequence[float],
    prices: Sequence[float],
    seed: int = 0,
    draws: int = 1,
) -> list[Row]:
    """Rows of the gates at each shift, of hindsight at each price, and of the gates with as many
    entries in each layer as hindsight has, their shifts read between those of ``shifts``.
    Hindsight is of the dense model, which is what all are measured against."""
    gated, plain = model.transformer, model.dense.transformer
    draw = torch.Generator().manual_seed(seed)
    texts = [torch.from_numpy(ids) for ids in windows.ids]
    dense, deaths = [], []
    for ids in texts:
        worth, logits = squared(plain, ids, draw, draws)
        dense.append(logits)
        deaths.append([cheapest_deaths(worth, price) for price in prices])

    def row(
        rule: str, setting: float, ways: Sequence[MaskedAttend], reads: Transformer = gated
    ) -> tuple[Row, Tensor]:
        read = [_read(reads, *each) for each in zip(texts, ways, dense, strict=True)]
        at_step = torch.stack([held for held, _, _ in read]).mean(0)
        dropped = 1 - ((at_step[:, 1:] - 1) / torch.arange(1, windows.context)).mean(0)
        ratio = math.exp(np.mean([more for _, more, _ in read]))
        kl = float(np.mean([kl for _, _, kl in read]))
        held = at_step.sum(1)
        sparsity, at_end = float(dropped.mean()), float(dropped[-1])
        return Row(rule, setting, sparsity, at_end, float(held.mean()), ratio, kl), held

    rows, by_shift = [], []
    for shift in sorted(shifts):
        reads = model.at(shift).transformer
        found, held = row("gates", shift, [MaskedAttend(shift) for _ in texts], reads)
        rows.append(found)
        by_shift.append(held)
    held_at = torch.stack(by_shift).numpy()
    for number, price in enumerate(prices):
        ways = [MaskedAttend(deaths=each[number][:, None]) for each in deaths]
        found, held = row("hindsight", price, ways, plain)
        rows.append(found)
        moved = [
            float(np.interp(wanted, held_at[:, layer], sorted(shifts)))
            for layer, wanted in enumerate(held.tolist())
        ]
        rows.append(row("gates, its layers", price, [_ByLayer(moved) for _ in texts])[0])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--file", type=Path, nargs="+", required=True)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--windows", type=int, default=1, help="of each file")
    parser.add_argument("--gate-shift", type=float, nargs="+", default=[4, 2, 0, -1, -2, -3, -4])
    parser.add_argument("--price", type=float, nargs="+", default=[1e-7, 1e-6, 3e-6, 1e-5])
    parser.add_argument("--draws", type=int, default=1, help="of each next token, for its worth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = open_model(args.model)
    windows = Windows.join(
        [
            read_windows(file, model.tokenizer, args.context, limit=args.windows)
            for file in args.file
        ]
    )
    rows = measure(model.loaded, windows, args.gate_shift, args.price, args.seed, args.draws)
    if args.json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
        print()
        return
    for row in rows:
        dropped = f"{row.sparsity:6.1%} dropped, {row.sparsity_at_end:6.1%} at the end"
        print(f"{row.rule:18} {row.setting:8g} {dropped}, {row.ratio:.4f}, KL {row.kl:.4f}")


if __name__ == "__main__":
    main()

"""How well a model predicts text while it forgets: perplexity and bits per byte against sparsity.

Always the hard gate, in one masked forward per window (equal to decoding with the cache, which the
tests show). Windows never cross documents unless ``packed``. The baseline of a claim is a dense
twin fine-tuned equally long; "gates off" on pruned weights is only a diagnostic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dcp.errors import DataError, RequestError
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.policies import POLICIES, fitted
from dcp.tokens import Tokenizer

__all__ = ["PolicyResult", "Result", "Windows", "evaluate", "evaluate_policies", "read_windows"]

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Windows:
    """ids [N, C] int64 and the UTF-8 bytes that their C - 1 scored tokens stand for."""

    ids: npt.NDArray[np.int64]
    bytes: int

    @property
    def scored(self) -> int:
        return int(self.ids.shape[0] * (self.ids.shape[1] - 1))


@dataclass(frozen=True)
class Result:
    """One setting of the dial on one text. Perplexities per token, bits per UTF-8 byte.

    sparsity is ``sparsity_mean_steps``: dropped share of the t previous tokens, mean over layers,
    steps and windows; sparsity_at_end the same at the last step, t = context - 1. held_entries is
    the number of visible pairs (t, j <= t) in a window, mean over layers and windows.
    """

    gate_shift: float
    sparsity: float
    sparsity_at_end: float
    sparsity_per_layer: tuple[float, ...]
    held_entries: float
    ppl_pruned: float
    ppl_gates_off: float
    ppl_dense_finetuned: float | None
    bits_per_byte_pruned: float
    bits_per_byte_gates_off: float
    bits_per_byte_dense_finetuned: float | None
    tokens: int
    bytes: int
    context: int


@dataclass(frozen=True)
class PolicyResult:
    """An untrained eviction on the dense twin, holding at least as many entries as pruning did."""

    policy: str
    held_entries: float
    ppl: float
    bits_per_byte: float


def read_windows(
    file: Path, tokenizer: Tokenizer, context: int, *, packed: bool = False, limit: int = 0
) -> Windows:
    """Cut a text file into windows of ``context`` tokens; a blank line ends a document.

    A document's tail shorter than a window is left out. ``limit`` > 0 takes that many windows,
    spread evenly. Raises DataError when the file gives none.
    """
    if context < 2:
        raise RequestError(f"context must be at least 2 tokens, not {context}")
    from dcp.train.tokenizer import END_OF_TEXT, read_documents

    end = tokenizer.id_of(END_OF_TEXT)
    documents = [list(tokenizer.encode("\n".join(d)).ids) for d in read_documents(file)]
    if packed:
        joint = [] if end is None else [end]
        documents = [[token for ids in documents for token in (*ids, *joint)]]
    windows = [w for ids in documents for w in _cut(ids, context)]
    if not windows:
        raise DataError(
            f"{file} has no document of {context} tokens; use a shorter --context or --packed"
        )
    if 0 < limit < len(windows):
        windows = [windows[int(i)] for i in np.linspace(0, len(windows) - 1, limit)]
    size = {int(t): len(tokenizer.token_bytes(int(t))) for t in {t for w in windows for t in w}}
    scored = sum(size[int(t)] for w in windows for t in w[1:])
    return Windows(np.asarray(windows, dtype=np.int64), scored)


def _cut(ids: Sequence[int], context: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(ids) - context + 1, context):
        yield ids[at : at + context]


def evaluate(
    model: LoadedModel,
    windows: Windows,
    gate_shifts: Sequence[float] = (0.0,),
    baseline: LoadedModel | None = None,
    *,
    batch: int = 8,
    progress: Progress | None = None,
) -> list[Result]:
    """One Result for each gate shift. Raises RequestError when the context is too long."""
    context = windows.ids.shape[1]
    if context > model.config.context:
        raise RequestError(
            f"context {context} is longer than the model's {model.config.context}; lower --context"
        )
    say = progress or (lambda _: None)
    say("gates off")
    off, _ = _score(model, windows, batch, lambda: MaskedAttend(prune=False))
    dense = None
    if baseline is not None:
        if baseline.config.vocab != model.config.vocab:
            raise RequestError("the baseline has another vocabulary; compare bits per byte instead")
        say("dense twin")
        dense, _ = _score(baseline, windows, batch, lambda: MaskedAttend(prune=False))
    results = []
    for shift in gate_shifts:
        say(f"gate shift {shift:g}")
        nats, held = _score(model, windows, batch, _gated(shift))
        past = np.arange(1, context)  # step t has t previous tokens
        dropped = 1 - (held[:, 1:] - 1) / past
        results.append(
            Result(
                gate_shift=float(shift),
                sparsity=float(dropped.mean()),
                sparsity_at_end=float(dropped[:, -1].mean()),
                sparsity_per_layer=tuple(float(s) for s in dropped.mean(axis=1)),
                held_entries=float(held.sum(axis=1).mean()),
                ppl_pruned=math.exp(nats / windows.scored),
                ppl_gates_off=math.exp(off / windows.scored),
                ppl_dense_finetuned=None if dense is None else math.exp(dense / windows.scored),
                bits_per_byte_pruned=nats / math.log(2) / windows.bytes,
                bits_per_byte_gates_off=off / math.log(2) / windows.bytes,
                bits_per_byte_dense_finetuned=(
                    None if dense is None else dense / math.log(2) / windows.bytes
                ),
                tokens=windows.scored,
                bytes=windows.bytes,
                context=context,
            )
        )
    return results


def evaluate_policies(
    dense: LoadedModel,
    windows: Windows,
    entries: float,
    policies: Sequence[str] = tuple(POLICIES),
    *,
    batch: int = 8,
) -> list[PolicyResult]:
    """Untrained evictions on ``dense``, each holding at least ``entries`` visible pairs a layer."""
    context = windows.ids.shape[1]
    results = []
    for policy in policies:
        death = torch.from_numpy(fitted(policy, context, entries))
        deaths = death.expand(dense.config.layers, context)
        nats, held = _score(dense, windows, batch, _forced(deaths))
        results.append(
            PolicyResult(
                policy,
                float(held.sum(axis=1).mean()),
                math.exp(nats / windows.scored),
                nats / math.log(2) / windows.bytes,
            )
        )
    return results


def _gated(shift: float) -> Callable[[], MaskedAttend]:
    return lambda: MaskedAttend(shift)


def _forced(deaths: torch.Tensor) -> Callable[[], MaskedAttend]:
    return lambda: MaskedAttend(deaths=deaths)


@torch.inference_mode()
def _score(
    model: LoadedModel, windows: Windows, batch: int, attend: Callable[[], MaskedAttend]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Summed nats of the scored tokens, and entries held [L, C], mean over windows."""
    nats, held = 0.0, np.zeros((model.config.layers, windows.ids.shape[1]))
    steps = torch.arange(windows.ids.shape[1])
    for ids in torch.split(torch.from_numpy(windows.ids), batch):
        way = attend()
        logits = model.transformer(ids, steps.expand_as(ids), way)
        flat = logits[:, :-1].float().flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(flat, ids[:, 1:].flatten(), reduction="sum")
        nats += float(loss)
        alive = (steps[:, None] >= steps) & (steps[:, None] < way.deaths[:, :, None, :])
        held += alive.sum(dim=3).sum(dim=1).double().numpy()
    return nats, held / len(windows.ids)

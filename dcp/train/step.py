"""The gradient of one optimiser step: windows dealt, a stage's way of attending, the loss.

Windows, gate shifts and evictions depend on (seed, rank, step) alone. Knows nothing of optimisers,
schedules of rates or run folders.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcp.kernels.training.api import Attention, Heads, Way, attention
from dcp.kernels.training.chunked_head import frozen_head_loss
from dcp.policies.windows import policy_deaths
from dcp.train.data import Shards
from dcp.train.objective import (
    CausalAttend,
    HardGateAttend,
    SoftGateAttend,
    distilled_loss,
    language_model_loss,
)
from dcp.train.schedule import alpha_at, shifts_at
from dcp.train.sections import Dial, Eviction, GateSettings
from dcp.train.settings import TrainSettings

__all__ = ["Accumulated", "Ways", "accumulate", "choose_ways", "window_weights"]


@dataclass(frozen=True)
class Ways:
    """How the model attends, and how its teacher does, if it has one."""

    own: Attention
    teacher: Attention | None = None

    def __str__(self) -> str:
        said = str(self.own)
        return said if self.teacher is None else f"{said}; teacher, {self.teacher}"


def choose_ways(s: TrainSettings, heads: Heads) -> Ways:
    """The kernels of a run, chosen once; raises DeviceError for a named one that cannot do it."""
    way: Way = s.gates.kind if s.run.stage == "prune" else "causal"
    own, impl = attention(way, s.run.impl, heads), s.run.impl
    return Ways(own, attention("causal", impl, heads) if s.teacher.distill else None)


@dataclass(frozen=True)
class Accumulated:
    """loss: LM loss in nats against the text; kept: share of pairs of each layer (pruning only)."""

    loss: float
    alpha: float
    kept: list[float]


def accumulate(
    settings: TrainSettings,
    data: Shards,
    forward: Any,
    teacher: Any,
    ways: Ways,
    accelerator: Any,
    step: int,
) -> Accumulated:
    """Leaves the gradients of ``step`` in the model's parameters.

    forward and teacher: (ids, positions, attend) -> logits; a teacher is read where
    ``distill`` asks for it. Both attend by ``ways``.
    """
    run, wanted, gates, dial = settings.run, settings.data, settings.gates, settings.dial
    device = accelerator.device
    alpha = alpha_at(step, run.steps, gates)
    gamma = gates.gamma * min(1.0, (step + 1) / (gates.gamma_steps + 1))
    rank_seed = run.seed * 1000 + accelerator.process_index
    share = wanted.share(accelerator.num_processes)
    deal = data.packed if run.stage == "pretrain" else data.single
    dealt = deal(share // wanted.copies, wanted.length, rank_seed, step)
    windows = torch.from_numpy(dealt).to(device).repeat_interleave(wanted.copies, dim=0)
    shifts = torch.tensor(shifts_at(step, rank_seed, share, dial), device=device)
    micros = list(zip(*(torch.split(x, wanted.micro) for x in (windows, shifts)), strict=True))
    of_layer = torch.tensor(gates.gamma_layers or (1.0,), device=device)
    taught = None if ways.teacher is None else _Teacher(teacher, ways.teacher)
    of_windows = _Losses(accelerator, forward, taught, settings.teacher.distill)
    whole = settings.optimiser.tune == "all"
    loss_sum, shares = 0.0, list[Tensor]()
    for padded, shift in micros:
        # What no window of them reaches would be read for nothing.
        micro = padded[:, : max(2, int((padded >= 0).sum(1).max()))]
        ids = micro[:, :-1]
        positions = torch.arange(ids.shape[1], device=device).expand_as(ids)
        if ways.own.way == "causal":
            attend = _causal(ways.own, settings.eviction, ids, f"{run.seed} {step}")
        else:
            attend = _gated(ways.own, alpha, gates, ids, shift)
        if whole:
            loss, total = of_windows.whole_head(micro, positions, attend)
        else:
            worth = window_weights(dial, shift)
            loss, total = of_windows.frozen_head(micro, positions, attend, wanted.copies, worth)
        if isinstance(attend, SoftGateAttend):
            shares.append(torch.stack(attend.kept))
            total = total + gamma * (shares[-1] * of_layer).mean()
        elif isinstance(attend, HardGateAttend):
            of_window = torch.stack(attend.kept)
            shares.append(of_window.sum(1))
            paid = (of_window * of_layer[:, None]).mean(0)
            price = torch.exp(-dial.tilt * shift) * window_weights(dial, shift)
            total = total + gamma * (paid * price).sum()
        accelerator.backward(total / len(micros))
        loss_sum += float(loss.detach())
    kept = torch.stack(shares).detach().mean(0).tolist() if shares else []
    return Accumulated(loss_sum / len(micros), alpha, kept)


def window_weights(dial: Dial, shift: Tensor) -> Tensor:
    """What each window counts for, [B]: exp(level · δ), of mean 1 over an even dial."""
    scale = dial.level * dial.spread
    mean = math.exp(dial.level * dial.centre) * (math.sinh(scale) / scale if scale else 1.0)
    return torch.exp(dial.level * shift) / mean


@dataclass(frozen=True)
class _Teacher:
    model: Any
    way: Attention

    def read(self, ids: Tensor, positions: Tensor, **how: bool) -> Tensor:
        with torch.no_grad():
            return _run(self.model, ids, positions, CausalAttend(self.way.compute), **how)


@dataclass(frozen=True)
class _Losses:
    """Of a micro-batch of windows: the loss against the text, and the one that is to go down."""

    accelerator: Any
    forward: Any
    teacher: _Teacher | None
    distill: float

    def whole_head(self, windows: Tensor, positions: Tensor, attend: Any) -> tuple[Tensor, Tensor]:
        """Of a model whose head learns too."""
        ids, targets = windows[:, :-1], windows[:, 1:]
        with self.accelerator.autocast():
            logits = _run(self.forward, ids, positions, attend)
        loss = language_model_loss(logits, targets)
        if self.teacher is None:
            return loss, loss
        with self.accelerator.autocast():
            taught = self.teacher.read(ids, positions)
        return loss, distilled_loss(logits, targets, taught, self.distill)

    def frozen_head(
        self, windows: Tensor, positions: Tensor, attend: Any, copies: int, worth: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of a model whose head is frozen, from hidden states; ``worth`` [B] weighs each reading.

        Each window's ``copies`` lie together; a teacher, read through the same head, reads the
        first of them.
        """
        ids, targets = windows[:, :-1], windows[:, 1:]
        alone = slice(None, None, copies)
        taught = None
        with self.accelerator.autocast():
            if self.teacher is not None:
                taught = self.teacher.read(ids[alone], positions[alone], headless=True, gated=False)
            hidden = _run(self.forward, ids, positions, attend, headless=True)
        models = [self.forward] if self.teacher is None else [self.forward, self.teacher.model]
        kind = torch.bfloat16 if self.accelerator.mixed_precision == "bf16" else hidden.dtype
        weight, *others = (
            self.accelerator.unwrap_model(model).unembed.weight.detach().to(kind)
            for model in models
        )
        losses, texts = [], []
        for i, readings in enumerate(torch.split(hidden.to(kind), copies)):
            known = None if taught is None else (taught[i].to(kind), *others)
            wanted = targets[i * copies]
            loss, text = frozen_head_loss(readings, wanted, weight, known, self.distill)
            losses.append(loss)
            texts.append(text)
        return torch.cat(texts).mean(), (torch.cat(losses) * worth).mean()


def _run(model: Any, ids: Tensor, positions: Tensor, attend: Any, **how: bool) -> Tensor:
    # Attention has its gradient written out: there is nothing in it to trace.
    hook = torch.compiler.disable(attend)  # type: ignore[no-untyped-call]
    return model(ids.clamp(min=0), positions, hook, **how)  # type: ignore[no-any-return]


def _gated(way: Attention, alpha: float, gates: GateSettings, ids: Tensor, shift: Tensor) -> Any:
    if way.way == "hard":
        depth = gates.depth or math.inf
        return HardGateAttend(way.compute, ids >= 0, shift, depth, gates.priced)
    return SoftGateAttend(way.compute, alpha, ids >= 0)


def _causal(way: Attention, eviction: Eviction, ids: Tensor, seed: str) -> CausalAttend:
    if not eviction.policy:
        return CausalAttend(way.compute)
    window = random.Random(seed).choice(eviction.windows)
    death = torch.from_numpy(policy_deaths(eviction.policy, ids.shape[1], window)).long()
    return CausalAttend(way.compute, death.to(ids.device))

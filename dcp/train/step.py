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
    way: Way = s.gates if s.stage == "prune" else "causal"
    own = attention(way, s.impl, heads)
    return Ways(own, attention("causal", s.impl, heads) if s.distill else None)


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
    ``settings.distill`` asks for it. Both attend by ``ways``.
    """
    s, device = settings, accelerator.device
    alpha = alpha_at(step, s.alpha_steps or s.steps, s.alpha_first, s.alpha_last)
    gamma = s.gamma * min(1.0, (step + 1) / (s.gamma_steps + 1))
    rank_seed = s.seed * 1000 + accelerator.process_index
    share = s.batch // accelerator.num_processes
    deal = data.packed if s.stage == "pretrain" else data.single
    windows = torch.from_numpy(deal(share // s.copies, s.length, rank_seed, step)).to(device)
    windows = windows.repeat_interleave(s.copies, dim=0)
    dealt = shifts_at(step, rank_seed, share, s.spread, s.centre, s.skew)
    shifts = torch.tensor(dealt, device=device)
    micros = list(zip(torch.split(windows, s.micro), torch.split(shifts, s.micro), strict=True))
    of_layer = torch.tensor(s.gamma_layers or (1.0,), device=device)
    loss_sum, shares = 0.0, list[Tensor]()
    taught = None if ways.teacher is None else _Teacher(teacher, ways.teacher)
    for padded, shift in micros:
        # What no window of them reaches would be read for nothing.
        micro = padded[:, : max(2, int((padded >= 0).sum(1).max()))]
        ids = micro[:, :-1]
        positions = torch.arange(ids.shape[1], device=device).expand_as(ids)
        attend = _attend(s, ways.own, alpha, ids, shift, step)
        of_head = _whole_head if s.tune == "all" else _frozen_head
        loss, total = of_head(s, accelerator, forward, taught, micro, positions, attend, shift)
        if isinstance(attend, SoftGateAttend):
            shares.append(torch.stack(attend.kept))
            total = total + gamma * (shares[-1] * of_layer).mean()
        elif isinstance(attend, HardGateAttend):
            of_window = torch.stack(attend.kept)
            shares.append(of_window.sum(1))
            paid = (of_window * of_layer[:, None]).mean(0)
            price = torch.exp(-s.tilt * shift) * window_weights(s, shift)
            total = total + gamma * (paid * price).sum()
        accelerator.backward(total / len(micros))
        loss_sum += float(loss.detach())
    kept = torch.stack(shares).detach().mean(0).tolist() if shares else []
    return Accumulated(loss_sum / len(micros), alpha, kept)


def window_weights(s: TrainSettings, shift: Tensor) -> Tensor:
    """What each window counts for, [B]: exp(level · δ), of mean 1 over an even dial."""
    scale = s.level * s.spread
    mean = math.exp(s.level * s.centre) * (math.sinh(scale) / scale if scale else 1.0)
    return torch.exp(s.level * shift) / mean


@dataclass(frozen=True)
class _Teacher:
    model: Any
    way: Attention

    def read(self, ids: Tensor, positions: Tensor, **how: bool) -> Tensor:
        with torch.no_grad():
            return _run(self.model, ids, positions, CausalAttend(self.way.compute), **how)


def _whole_head(
    s: TrainSettings,
    accelerator: Any,
    forward: Any,
    teacher: _Teacher | None,
    windows: Tensor,
    positions: Tensor,
    attend: Any,
    shift: Tensor,
) -> tuple[Tensor, Tensor]:
    """The loss against the text, and the one to go down, of a model whose head learns too."""
    ids, targets = windows[:, :-1], windows[:, 1:]
    with accelerator.autocast():
        logits = _run(forward, ids, positions, attend)
    loss = language_model_loss(logits, targets)
    if teacher is None:
        return loss, loss
    with accelerator.autocast():
        taught = teacher.read(ids, positions)
    return loss, distilled_loss(logits, targets, taught, s.distill)


def _frozen_head(
    s: TrainSettings,
    accelerator: Any,
    forward: Any,
    teacher: _Teacher | None,
    windows: Tensor,
    positions: Tensor,
    attend: Any,
    shift: Tensor,
) -> tuple[Tensor, Tensor]:
    """The same of a model whose head is frozen, from hidden states; each window's copies lie
    together, and a teacher, read through the same head, reads the first of them."""
    ids, targets = windows[:, :-1], windows[:, 1:]
    alone = slice(None, None, s.copies)
    taught = None
    with accelerator.autocast():
        if teacher is not None:
            taught = teacher.read(ids[alone], positions[alone], headless=True, gated=False)
        hidden = _run(forward, ids, positions, attend, headless=True)
    kind = torch.bfloat16 if accelerator.mixed_precision == "bf16" else hidden.dtype
    weight, *others = (
        accelerator.unwrap_model(model).unembed.weight.detach().to(kind)
        for model in ((forward,) if teacher is None else (forward, teacher.model))
    )
    losses, texts = [], []
    for i, of_window in enumerate(torch.split(hidden.to(kind), s.copies)):
        known = None if taught is None else (taught[i].to(kind), *others)
        loss, text = frozen_head_loss(of_window, targets[i * s.copies], weight, known, s.distill)
        losses.append(loss)
        texts.append(text)
    return torch.cat(texts).mean(), (torch.cat(losses) * window_weights(s, shift)).mean()


def _run(model: Any, ids: Tensor, positions: Tensor, attend: Any, **how: bool) -> Tensor:
    # Attention has its gradient written out: there is nothing in it to trace.
    hook = torch.compiler.disable(attend)  # type: ignore[no-untyped-call]
    return model(ids.clamp(min=0), positions, hook, **how)  # type: ignore[no-any-return]


def _attend(
    s: TrainSettings, way: Attention, alpha: float, ids: Tensor, shift: Tensor, step: int
) -> Any:
    if way.way == "hard":
        return HardGateAttend(way.compute, ids >= 0, shift, s.depth or math.inf)
    if way.way == "soft":
        return SoftGateAttend(way.compute, alpha, ids >= 0)
    if not s.policy:
        return CausalAttend(way.compute)
    window = random.Random(f"{s.seed} {step}").choice(s.windows)
    death = torch.from_numpy(policy_deaths(s.policy, ids.shape[1], window)).long()
    return CausalAttend(way.compute, death.to(ids.device))

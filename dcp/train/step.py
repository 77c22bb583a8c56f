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

__all__ = ["Accumulated", "accumulate", "window_weights"]


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
    accelerator: Any,
    step: int,
) -> Accumulated:
    """Leaves the gradients of ``step`` in the model's parameters.

    forward and teacher: (ids, positions, attend) -> logits; a teacher is read where
    ``settings.distill`` asks for it.
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
    for padded, shift in micros:
        # What no window of them reaches would be read for nothing.
        micro = padded[:, : max(2, int((padded >= 0).sum(1).max()))]
        ids = micro[:, :-1]
        positions = torch.arange(ids.shape[1], device=device).expand_as(ids)
        attend = _attend(s, alpha, ids, shift, step)
        of_head = _whole_head if s.tune == "all" else _frozen_head
        loss, total = of_head(s, accelerator, forward, teacher, micro, positions, attend, shift)
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


def _whole_head(
    s: TrainSettings,
    accelerator: Any,
    forward: Any,
    teacher: Any,
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
    if not s.distill:
        return loss, loss
    with torch.no_grad(), accelerator.autocast():
        taught = _run(teacher, ids, positions, CausalAttend())
    return loss, distilled_loss(logits, targets, taught, s.distill)


def _frozen_head(
    s: TrainSettings,
    accelerator: Any,
    forward: Any,
    teacher: Any,
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
        if s.distill:
            with torch.no_grad():
                way = CausalAttend()
                taught = _run(
                    teacher, ids[alone], positions[alone], way, headless=True, gated=False
                )
        hidden = _run(forward, ids, positions, attend, headless=True)
    kind = torch.bfloat16 if accelerator.mixed_precision == "bf16" else hidden.dtype
    weight, *others = (
        accelerator.unwrap_model(model).unembed.weight.detach().to(kind)
        for model in ((forward, teacher) if s.distill else (forward,))
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


def _attend(s: TrainSettings, alpha: float, ids: Tensor, shift: Tensor, step: int) -> Any:
    if s.stage == "prune":
        if s.gates == "hard":
            return HardGateAttend(ids >= 0, shift, depth=s.depth or math.inf)
        return SoftGateAttend(alpha, ids >= 0)
    if not s.policy:
        return CausalAttend()
    window = random.Random(f"{s.seed} {step}").choice(s.windows)
    death = torch.from_numpy(policy_deaths(s.policy, ids.shape[1], window)).long()
    return CausalAttend(death.to(ids.device))

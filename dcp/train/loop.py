"""The resumable trainer: one loop, three stages (pretrain, prune, dense), on 🤗 accelerate.

A run folder holds ``last/`` (weights as a checkpoint folder, optimiser state, step; replaced
atomically), ``log.csv`` and, at the end, ``final/``. Windows depend on (seed, step) alone, so a
resumed run sees the same data as an unbroken one. ``init`` starts from weights alone: the warm-up
then serves as the re-warm-up. Evaluation is not done here: it always uses the hard gate
(`dcp.evaluate`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dcp.config import ModelConfig
from dcp.errors import DataError, RequestError
from dcp.train.build import build
from dcp.train.build import optimizers as make_optimizers
from dcp.train.data import Shards
from dcp.train.objective import CausalAttend, SoftGateAttend, language_model_loss
from dcp.train.run_folder import Log, check_disk, checkpoint, find_last, restore, save_model
from dcp.train.schedule import alpha_at, learning_rate_at, shift_at
from dcp.train.settings import TrainSettings

__all__ = ["train"]


def train(
    settings: TrainSettings,
    shards: Sequence[Path],
    tokenizer: Path,
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    compiled: bool = False,
) -> Path:
    """Run one stage; returns the folder of the final checkpoint.

    init: a checkpoint folder to start from (weights alone). resume: go on from ``out/last``.
    Raises RequestError, DataError or ModelError before any work when something is missing.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from tqdm import tqdm

    cpu = not torch.cuda.is_available()
    accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu)
    set_seed(settings.seed)
    data = Shards.open(shards)
    last = find_last(out)
    if resume and not last.is_dir():
        raise RequestError(f"{out} has no run to resume; leave out --resume")
    if last.is_dir() and not resume:
        raise RequestError(f"{out} already holds a run; add --resume or choose another folder")
    transformer, hf_config, gates = build(settings, tokenizer, last if resume else init)
    _check_data(data, transformer.config)
    check_disk(out, transformer)
    optimizers = make_optimizers(settings, transformer)
    model, *optimizers = accelerator.prepare(transformer, *optimizers)
    first = 0
    if resume:
        first = restore(last, optimizers)
    forward = torch.compile(model) if compiled else model
    peak = [[group["lr"] for group in o.param_groups] for o in optimizers]
    main = accelerator.is_main_process
    bar = tqdm(total=settings.steps, initial=first, disable=not main, unit="step", mininterval=5)
    with Log(out / "log.csv", transformer.config.layers, first, enabled=main) as log:
        for step in range(first, settings.steps):
            began = time.perf_counter()
            rise = settings.alpha_steps or settings.steps
            alpha = alpha_at(step, rise, settings.alpha_first, settings.alpha_last)
            rate = learning_rate_at(step, settings.steps, settings.warmup, settings.decay)
            for optimizer, rates in zip(optimizers, peak, strict=True):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * rate
            shift = shift_at(step, settings.seed, settings.shifts)
            loss, kept = _accumulate(settings, data, forward, accelerator, step, alpha, shift)
            norm = accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            if not math.isfinite(loss) or not math.isfinite(float(norm)):
                raise DataError(
                    f"the loss is {loss} at step {step}: lower the learning rate or check the "
                    f"data; the last good state is in {last}"
                )
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            speed = settings.batch * settings.length / (time.perf_counter() - began)
            log.row(step, loss, alpha, shift, rate, float(norm), speed, kept)
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", tok_s=f"{speed:.0f}", refresh=False)
            if main and ((step + 1) % settings.save_every == 0 or step + 1 == settings.steps):
                checkpoint(last, step + 1, transformer, hf_config, gates, tokenizer, optimizers)
    bar.close()
    final = out / "final"
    if main:
        save_model(final, transformer, hf_config, gates, tokenizer, torch.bfloat16)
    return final


def _accumulate(
    settings: TrainSettings,
    data: Shards,
    forward: Any,
    accelerator: Any,
    step: int,
    alpha: float,
    shift: float,
) -> tuple[float, list[float]]:
    """Gradients of one step; returns the LM loss (nats) and the kept share of each layer."""
    gated = settings.stage == "prune" and math.isfinite(shift)
    share = settings.batch // accelerator.num_processes
    deal = data.packed if settings.stage == "pretrain" else data.single
    rank_seed = settings.seed * 1000 + accelerator.process_index
    windows = torch.from_numpy(deal(share, settings.length, rank_seed, step))
    micros = torch.split(windows, settings.micro)
    loss_sum, kept_sum = 0.0, [0.0] * _layers(forward)
    for micro in micros:
        ids, targets = micro[:, :-1].to(accelerator.device), micro[:, 1:].to(accelerator.device)
        real = ids >= 0
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        attend = SoftGateAttend(alpha, real, shift=shift) if gated else CausalAttend()
        hook: Any = attend
        if isinstance(attend, SoftGateAttend):
            # The gates' table changes every step: traced, it would be compiled anew each time.
            hook = torch.compiler.disable(attend)  # type: ignore[no-untyped-call]
        with accelerator.autocast():
            logits = forward(ids.clamp(min=0), positions, hook)
        loss = total = language_model_loss(logits, targets)
        if isinstance(attend, SoftGateAttend):
            kept = torch.stack(attend.kept)
            total = loss + settings.gamma * math.exp(-settings.tilt * shift) * kept.mean()
            kept_sum = [s + float(k) for s, k in zip(kept_sum, kept.detach(), strict=True)]
        accelerator.backward(total / len(micros))
        loss_sum += float(loss.detach())
    n = len(micros)
    if not gated:
        kept_sum = [float(n)] * len(kept_sum)
    return loss_sum / n, [k / n for k in kept_sum] if settings.stage == "prune" else []


def _layers(forward: Any) -> int:
    inner = getattr(forward, "module", forward)
    return int(getattr(inner, "_orig_mod", inner).config.layers)


def _check_data(data: Shards, config: ModelConfig) -> None:
    for tokens in data.tokens:
        largest = int(tokens[:1_000_000].max())
        if largest >= config.vocab:
            raise DataError(
                f"a shard holds token {largest} but the vocabulary ends at {config.vocab - 1}: "
                "pack it with this model's tokenizer"
            )

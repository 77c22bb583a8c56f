"""The resumable trainer: one loop, three stages (pretrain, prune, dense), on 🤗 accelerate.

A run folder holds ``run.json`` (its settings, and the kernels it attends with), ``last/`` (weights
as a checkpoint folder, optimiser state, step; replaced atomically), ``log.csv`` and, at the end,
``final/``. Windows depend on (seed, step) alone, so a resumed run sees the same data as an unbroken
one. ``init`` starts from weights alone: the warm-up then serves as the re-warm-up. Evaluation is
not done here: it always uses the hard gate (`dcp.evaluate.perplexity`).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dcp.errors import DataError, RequestError
from dcp.kernels.training.api import Heads
from dcp.model.config import ModelConfig
from dcp.resources import needs
from dcp.train.build import build, read_teacher, split_parameters
from dcp.train.build import optimizers as make_optimizers
from dcp.train.data import Shards
from dcp.train.run_folder import (
    Log,
    check_disk,
    checkpoint,
    find_last,
    restore,
    save_model,
    swap,
    write_run,
)
from dcp.train.schedule import learning_rate_at
from dcp.train.settings import TrainSettings
from dcp.train.step import accumulate, choose_ways

__all__ = ["train"]


def train(
    settings: TrainSettings,
    shards: Sequence[Path],
    tokenizer: Path,
    out: Path,
    *,
    init: Path | None = None,
    gates_of: Path | None = None,
    teacher: Path | None = None,
    resume: bool = False,
    compiled: bool = False,
) -> Path:
    """Run one stage; returns the folder of the final checkpoint.

    init: a checkpoint folder to start from (weights alone). gates_of: a pruned model of the same
    shape whose gates ``init`` is to start with. teacher: whose distribution is to be
    predicted too, where ``distill`` asks for it; ``init`` without what is learned, if none is
    given and most of it is frozen. resume: go on from ``out/last``.
    Raises RequestError, DataError or ModelError before any work when something is missing.
    """
    needs("accelerate")
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from tqdm import tqdm

    run = settings.run
    data = Shards.open(shards)
    check = data.check_packed if run.stage == "pretrain" else data.check_single
    check(settings.data.length)
    cpu = not torch.cuda.is_available()
    accelerator = Accelerator(mixed_precision=run.precision, cpu=cpu)
    settings.data.share(accelerator.num_processes)
    set_seed(run.seed)
    if run.stage == "dense" and teacher is None:
        settings = settings.change(distill=0.0)
    distill, optimiser = settings.teacher.distill, settings.optimiser
    # A base whose gates alone learn is at hand: gates off, it is its own teacher.
    own_teacher = optimiser.tune == "gates" and teacher in (None, init) and distill > 0
    if optimiser.tune in ("norms", "low rank") and distill and teacher is None:
        teacher = out / "last" if init is None else init
    if bool(distill) != (own_teacher or teacher is not None):
        raise RequestError(
            "a teacher and the setting distill need each other: give both or none", remedy="teacher"
        )
    last = find_last(out)
    if resume and not last.is_dir():
        raise RequestError(f"{out} has no run to resume: start one")
    if last.is_dir() and not resume:
        raise RequestError(
            f"{out} already holds a run: resume it, or choose another folder", remedy="resume"
        )
    transformer, hf_config, gates = build(
        settings, tokenizer, last if resume else init, None if resume else gates_of
    )
    if own_teacher and gates is not None and gates.tuned != "gates":
        # What an adapter changes of its base stays where its gates are off in this one model.
        own_teacher, teacher = False, last if init is None else init
    _check_data(data, transformer.config)
    element = 2 if run.precision == "bf16" else 4
    heads = Heads(transformer.config.head_dim, element, accelerator.device.type)
    ways = choose_ways(settings, heads)
    check_disk(out, transformer)
    optimizers = make_optimizers(optimiser, transformer)
    model, *optimizers = accelerator.prepare(transformer, *optimizers)
    first = 0
    if resume:
        first = restore(last, optimizers)
    forward = _compiled(model) if compiled else model
    known: Any = forward if own_teacher else None
    if teacher is not None and not own_teacher:
        known = read_teacher(teacher, transformer.config).to(accelerator.device)
        known = _compiled(known) if compiled else known
    gate, language = split_parameters(transformer)
    peak = [[group["lr"] for group in o.param_groups] for o in optimizers]
    main = accelerator.is_main_process
    if main:
        write_run(out, settings, str(ways))
        tqdm.write(str(ways), file=sys.stderr)
    bar = tqdm(total=run.steps, initial=first, disable=not main, unit="step", mininterval=5)
    with Log(out / "log.csv", transformer.config.layers, first, enabled=main) as log:
        for step in range(first, run.steps):
            began = time.perf_counter()
            rate = learning_rate_at(step, run.steps, optimiser)
            for optimizer, rates in zip(optimizers, peak, strict=True):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * rate
            done = accumulate(settings, data, forward, known, ways, accelerator, step)
            norm = accelerator.clip_grad_norm_(language, optimiser.clip)
            accelerator.clip_grad_norm_(gate, optimiser.clip)
            if not math.isfinite(done.loss) or not math.isfinite(float(norm)):
                raise DataError(
                    f"the loss is {done.loss} at step {step}: lower the learning rate or check the "
                    f"data; the last good state is in {last}"
                )
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            speed = settings.data.batch * settings.data.length / (time.perf_counter() - began)
            log.row(step, done.loss, done.alpha, rate, float(norm), speed, done.kept)
            bar.update()
            bar.set_postfix(loss=f"{done.loss:.3f}", tok_s=f"{speed:.0f}", refresh=False)
            if main and ((step + 1) % run.save_every == 0 or step + 1 == run.steps):
                checkpoint(last, step + 1, transformer, hf_config, gates, tokenizer, optimizers)
    bar.close()
    final = out / "final"
    if main:
        bf16 = torch.bfloat16
        swap(final, lambda at: save_model(at, transformer, hf_config, gates, tokenizer, bf16))
    return final


def _compiled(model: Any) -> Any:
    # A form for each layer of the model and of its teacher: past the limit they would run eagerly.
    torch._dynamo.config.recompile_limit = 256
    return torch.compile(model)


def _check_data(data: Shards, config: ModelConfig) -> None:
    for tokens in data.tokens:
        largest = int(tokens[:1_000_000].max())
        if largest >= config.vocab:
            raise DataError(
                f"a shard holds token {largest} but the vocabulary ends at {config.vocab - 1}: "
                "pack it with this model's tokenizer"
            )

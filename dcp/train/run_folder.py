"""A run's folder: ``run.json``, ``last/`` (weights, optimiser state, step; replaced atomically),
``log.csv``.

Knows nothing of how training goes.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dcp.errors import RequestError
from dcp.model.gate_config import GateConfig
from dcp.model.saving import save
from dcp.model.transformer import Transformer
from dcp.train.settings import TrainSettings
from dcp.train.tokenizer import open_tokenizer

__all__ = [
    "Log",
    "check_disk",
    "checkpoint",
    "find_last",
    "restore",
    "save_model",
    "swap",
    "write_run",
]


# What a model needs beside its weights: generation_config.json can name more ends of a text.
_BESIDE = (
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    "generation_config.json",
)


def check_disk(out: Path, transformer: Transformer) -> None:
    # Weights, two AdamW moments and the previous checkpoint stand side by side while saving.
    need = 8 * sum(p.nbytes for p in transformer.parameters() if p.requires_grad)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < need:
        raise RequestError(f"{out} has {free >> 20} MiB free and a run needs {need >> 20} MiB")


def write_run(out: Path, settings: TrainSettings, attention: str) -> None:
    """``run.json``: what the run was told and which kernels it attends with. Nothing reads it."""
    said = {"attention": attention, "settings": asdict(settings)}
    (out / "run.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def save_model(
    folder: Path,
    transformer: Transformer,
    hf_config: dict[str, Any],
    gates: GateConfig | None,
    tokenizer: Path,
    dtype: torch.dtype,
) -> None:
    """A checkpoint folder; an adapter where the gates name their base, which then has the rest."""
    save(folder, transformer, hf_config, gates, dtype)
    if gates is not None and gates.base is not None:
        return
    for name in _BESIDE:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
    if not (folder / "tokenizer.json").exists():
        open_tokenizer(tokenizer).save(str(folder / "tokenizer.json"))


def find_last(out: Path) -> Path:
    """``out/last``, put back first if the machine stopped in the middle of a swap."""
    last, old = out / "last", out / "last.old"
    if old.is_dir() and not last.exists():
        old.rename(last)
    return last


def checkpoint(
    last: Path,
    step: int,
    transformer: Transformer,
    hf_config: dict[str, Any],
    gates: GateConfig | None,
    tokenizer: Path,
    optimizers: Sequence[Any],
) -> None:
    """A checkpoint that a run can go on from.

    Gates that name a base are written as an adapter: what is frozen is not written each time.
    """

    def write(folder: Path) -> None:
        save_model(folder, transformer, hf_config, gates, tokenizer, torch.float32)
        states = [o.state_dict() for o in optimizers]
        torch.save({"step": step, "optimizers": states}, folder / "optimizers.pt")

    swap(last, write)


def swap(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder beside, then swap: a crash leaves the old or the new, never half.

    Raises RequestError where it cannot be written.
    """
    fresh, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    for stale in (fresh, old):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        write(fresh)
    # A full disk inside safetensors is an error of its own kind.
    except (OSError, SafetensorError) as wrong:
        shutil.rmtree(fresh, ignore_errors=True)
        raise RequestError(f"cannot write a checkpoint to {folder}: {wrong}") from None
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore(last: Path, optimizers: Sequence[Any]) -> int:
    """Optimiser states of ``last`` at the rates of this run; returns the step to go on with."""
    found = torch.load(last / "optimizers.pt", weights_only=True)
    for optimizer, state in zip(optimizers, found["optimizers"], strict=True):
        peak = [group["lr"] / group.get("scale", 1.0) for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, lr in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = lr * group.get("scale", 1.0)
    return int(found["step"])


class Log:
    """``log.csv``, a row a step: LM loss, α, rate, gradient norm, speed, kept."""

    def __init__(self, path: Path, layers: int, first: int, enabled: bool) -> None:
        self._path, self._layers, self._first, self._enabled = path, layers, first, enabled

    def __enter__(self) -> Log:
        if self._enabled:
            # Rows after the checkpoint that a run resumes from would be there twice.
            kept = self._path.read_text().splitlines()[1 : self._first + 1] if self._first else []
            head = ["step", "lm_loss", "alpha", "rate", "grad_norm", "tokens_per_second"]
            head += [f"kept_{layer}" for layer in range(self._layers)]
            self._file = self._path.open("w", newline="", encoding="utf-8")
            self._file.writelines(line + "\n" for line in [",".join(head), *kept])
            self._writer = csv.writer(self._file, lineterminator="\n")
        return self

    def row(
        self,
        step: int,
        loss: float,
        alpha: float,
        rate: float,
        norm: float,
        speed: float,
        kept: Sequence[float],
    ) -> None:
        if self._enabled:
            numbers = (loss, alpha, rate, norm, speed, *kept)
            self._writer.writerow([step, *(f"{n:.6g}" for n in numbers)])
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._file.close()

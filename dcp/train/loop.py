"""The resumable trainer: one loop, three stages (pretrain, prune, dense), on 🤗 accelerate.

A run folder holds ``last/`` (weights as a checkpoint folder, optimiser state, step; replaced
atomically), ``log.csv`` and, at the end, ``final/``. Windows depend on (seed, step) alone, so a
resumed run sees the same data as an unbroken one. ``init`` starts from weights alone: the warm-up
then serves as the re-warm-up. Evaluation is not done here: it always uses the hard gate
(`dcp.evaluate`).
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcp.config import GateConfig, ModelConfig
from dcp.errors import DataError, RequestError
from dcp.model.transformer import Transformer
from dcp.model.weights import load, save
from dcp.train.data import Shards
from dcp.train.objective import CausalAttend, SoftGateAttend, language_model_loss
from dcp.train.schedule import alpha_at, learning_rate_at
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
    valid: Sequence[Path] = (),
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
    last = out / "last"
    if resume and not last.is_dir():
        raise RequestError(f"{out} has no run to resume; leave out --resume")
    if last.is_dir() and not resume:
        raise RequestError(f"{out} already holds a run; add --resume or choose another folder")
    transformer, hf_config, gates = _build(settings, tokenizer, last if resume else init)
    _check_data(data, transformer.config)
    _check_disk(out, transformer)
    optimizers = _optimizers(settings, transformer)
    model, *optimizers = accelerator.prepare(transformer, *optimizers)
    first = 0
    if resume:
        first = _resume(last, optimizers)
    forward = torch.compile(model) if compiled else model
    peak = [[group["lr"] for group in o.param_groups] for o in optimizers]
    main = accelerator.is_main_process
    bar = tqdm(total=settings.steps, initial=first, disable=not main, unit="step", mininterval=5)
    with _Log(out / "log.csv", transformer.config.layers, enabled=main) as log:
        for step in range(first, settings.steps):
            began = time.perf_counter()
            alpha = alpha_at(step, settings.steps, settings.alpha_first, settings.alpha_last)
            rate = learning_rate_at(step, settings.steps, settings.warmup, settings.decay)
            for optimizer, rates in zip(optimizers, peak, strict=True):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * rate
            loss, kept = _accumulate(settings, data, forward, accelerator, step, alpha)
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
            log.row(step, loss, alpha, rate, float(norm), speed, kept)
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", tok_s=f"{speed:.0f}", refresh=False)
            if main and ((step + 1) % settings.save_every == 0 or step + 1 == settings.steps):
                _checkpoint(last, step + 1, transformer, hf_config, gates, tokenizer, optimizers)
    bar.close()
    final = out / "final"
    if main:
        _save_model(final, transformer, hf_config, gates, tokenizer, torch.bfloat16)
    return final


def _accumulate(
    settings: TrainSettings,
    data: Shards,
    forward: Any,
    accelerator: Any,
    step: int,
    alpha: float,
) -> tuple[float, list[float]]:
    """Gradients of one step; returns the LM loss (nats) and the kept share of each layer."""
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
        attend = SoftGateAttend(alpha, real) if settings.stage == "prune" else CausalAttend()
        with accelerator.autocast():
            # The gates' tables change every step: traced, they would be compiled anew each time.
            logits = forward(ids.clamp(min=0), positions, torch.compiler.disable(attend))
        loss = total = language_model_loss(logits, targets)
        if isinstance(attend, SoftGateAttend):
            kept = torch.stack(attend.kept)
            total = loss + settings.gamma * kept.mean()
            kept_sum = [s + float(k) for s, k in zip(kept_sum, kept.detach(), strict=True)]
        accelerator.backward(total / len(micros))
        loss_sum += float(loss.detach())
    n = len(micros)
    return loss_sum / n, [k / n for k in kept_sum] if settings.stage == "prune" else []


def _layers(forward: Any) -> int:
    inner = getattr(forward, "module", forward)
    return int(getattr(inner, "_orig_mod", inner).config.layers)


def _build(
    settings: TrainSettings, tokenizer: Path, start: Path | None
) -> tuple[Transformer, dict[str, Any], GateConfig | None]:
    """A fresh model, or one from weights alone; gates are added where the stage needs them."""
    wants = settings.stage == "prune"
    if start is None:
        if settings.stage != "pretrain":
            raise RequestError(f"stage {settings.stage} starts from a base model: give --base")
        hf_config = _llama_config(settings, tokenizer)
        transformer = Transformer(ModelConfig.from_hf(hf_config))
        transformer.initialise(settings.seed)
        return transformer, hf_config, None
    has_gates = (start / "dcp_config.json").exists()
    loaded = load(start, gates=wants and has_gates)
    hf_config = json.loads((start / "config.json").read_text(encoding="utf-8"))
    transformer, gates = loaded.transformer, loaded.gates
    if wants and gates is None:
        limit = loaded.config.kv_heads * loaded.config.head_dim // 4
        gates = GateConfig(min(settings.interaction, limit))
        bare = transformer
        transformer = Transformer(loaded.config, gates.interaction)
        transformer.initialise_gates(settings.seed, settings.beta)
        transformer.load_state_dict(bare.state_dict(), strict=False)
    transformer.requires_grad_(True).train()
    return transformer, hf_config, gates


def _llama_config(s: TrainSettings, tokenizer: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    from dcp.train.tokenizer import END_OF_TEXT

    bpe = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    end = bpe.token_to_id(END_OF_TEXT)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": bpe.get_vocab_size(),
        "hidden_size": s.width,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.width // s.heads,
        "max_position_embeddings": s.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "bfloat16",
    }


def _optimizers(s: TrainSettings, transformer: Transformer) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, norms, biases and gates."""
    matrices, gates, rest, plain = [], [], [], []
    for name, p in transformer.named_parameters():
        if "_int." in name or name.endswith(".beta"):
            gates.append(p)
        elif name.startswith("blocks.") and p.ndim == 2:
            matrices.append(p)
        elif p.ndim == 2:
            rest.append(p)
        else:
            plain.append(p)
    groups = [
        {"params": rest, "lr": s.lr, "weight_decay": s.weight_decay},
        {"params": plain, "lr": s.lr, "weight_decay": 0.0},
        {"params": gates, "lr": s.gate_lr, "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(
            matrices,
            lr=s.muon_lr,
            weight_decay=s.weight_decay,
            momentum=0.95,
            adjust_lr_fn="original",
        ),
        torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.95), eps=1e-10),
    ]


def _check_data(data: Shards, config: ModelConfig) -> None:
    for tokens in data.tokens:
        largest = int(tokens[:1_000_000].max())
        if largest >= config.vocab:
            raise DataError(
                f"a shard holds token {largest} but the vocabulary ends at {config.vocab - 1}: "
                "pack it with this model's tokenizer"
            )


def _check_disk(out: Path, transformer: Transformer) -> None:
    # Weights, two AdamW moments and the previous checkpoint stand side by side while saving.
    need = 8 * sum(p.nbytes for p in transformer.parameters())
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < need:
        raise RequestError(f"{out} has {free >> 20} MiB free and a run needs {need >> 20} MiB")


def _save_model(
    folder: Path,
    transformer: Transformer,
    hf_config: dict[str, Any],
    gates: GateConfig | None,
    tokenizer: Path,
    dtype: torch.dtype,
) -> None:
    save(folder, transformer, hf_config, gates, dtype)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)


def _checkpoint(
    last: Path,
    step: int,
    transformer: Transformer,
    hf_config: dict[str, Any],
    gates: GateConfig | None,
    tokenizer: Path,
    optimizers: Sequence[Any],
) -> None:
    """Write beside, then swap: a crash leaves the old checkpoint or the new one, never half."""
    fresh, old = last.with_name("last.new"), last.with_name("last.old")
    for stale in (fresh, old):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        _save_model(fresh, transformer, hf_config, gates, tokenizer, torch.float32)
        states = [o.state_dict() for o in optimizers]
        torch.save({"step": step, "optimizers": states}, fresh / "optimizers.pt")
    except OSError as wrong:
        shutil.rmtree(fresh, ignore_errors=True)
        raise RequestError(f"cannot write a checkpoint to {last}: {wrong}") from None
    if last.exists():
        last.rename(old)
    fresh.rename(last)
    shutil.rmtree(old, ignore_errors=True)


def _resume(last: Path, optimizers: Sequence[Any]) -> int:
    found = torch.load(last / "optimizers.pt", weights_only=True)
    for optimizer, state in zip(optimizers, found["optimizers"], strict=True):
        peak = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, lr in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = lr
    return int(found["step"])


class _Log:
    """``log.csv``, one row a step: LM loss, α, rate, gradient norm, speed, kept share a layer."""

    def __init__(self, path: Path, layers: int, enabled: bool) -> None:
        self._path, self._layers, self._enabled = path, layers, enabled

    def __enter__(self) -> _Log:
        if self._enabled:
            new = not self._path.exists()
            self._file = self._path.open("a", newline="", encoding="utf-8")
            self._writer = csv.writer(self._file)
            if new:
                kept = [f"kept_{layer}" for layer in range(self._layers)]
                head = ["step", "lm_loss", "alpha", "rate", "grad_norm", "tokens_per_second"]
                self._writer.writerow(head + kept)
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


def count_parameters(tensors: Sequence[Tensor]) -> int:
    return sum(t.numel() for t in tensors)

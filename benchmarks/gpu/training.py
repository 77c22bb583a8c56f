"""Gates of a training step on a GPU, soft and hard: fused, against the PyTorch forms. One attention
layer, then a whole model's step.

python -m benchmarks.gpu.training
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import common, models
from benchmarks.gpu.common import DEVICE, HALF, Report, sized
from dcp.kernels.gates import Gates
from dcp.kernels.training import cpu, reference, triton
from dcp.model.transformer import Transformer
from dcp.train.objective import HardGateAttend, SoftGateAttend, language_model_loss

Attention = Callable[..., Any]
ARMS: dict[str, Attention] = {
    "fused": triton.soft_attention,
    "written out": cpu.soft_attention,
    "autograd": reference.soft_attention,
}
HARD: dict[str, Attention] = {
    "fused, hard": triton.hard_attention,
    "autograd, hard": reference.hard_attention,
}


def layer(
    attention: Attention, batch: int, length: int, dtype: torch.dtype, alpha: float | None
) -> dict[str, Any]:
    """Forward and backward of one layer's attention; ``alpha`` None: hard gates."""
    heads, width, r = sized((16, 64, 64), (2, 16, 8))
    q, k, v, grad = torch.randn(4, batch, heads, length, width, device=DEVICE).to(dtype)
    q_int, k_int = torch.randn(2, batch, length, r, device=DEVICE)
    beta = torch.full((batch,) if alpha is None else (1,), 4.0 / (alpha or 2.0), device=DEVICE)
    counted: tuple[Any, ...] = (torch.ones(batch, length, device=DEVICE).bool(),)
    if alpha is not None:
        counted = torch.ones(batch, length, length, device=DEVICE).tril(-1), alpha
    inputs = [x.requires_grad_() for x in (q, k, v, q_int, k_int, beta)]

    def run() -> None:
        out, kept = attention(*inputs[:3], Gates(*inputs[3:]), *counted)
        torch.autograd.backward([out, kept], [grad, torch.ones_like(kept)])
        for x in inputs:
            x.grad = None

    run()
    return {"peak_bytes": common.peak(run), "seconds": common.timed(run, 10)}


def whole(attention: Attention, batch: int, length: int, alpha: float | None) -> dict[str, Any]:
    """Forward and backward of the GPT-2-medium shape, gates in every layer, autocast; ``alpha``
    None: hard gates."""
    shape = models.gpt2_medium(length)
    model = Transformer(shape.config, shape.interaction)
    model.initialise()
    model = model.to(DEVICE).train()
    ids = torch.randint(0, shape.config.vocab, (batch, length), device=DEVICE)
    positions = torch.arange(length, device=DEVICE).expand(batch, -1)
    real = torch.ones(batch, length, dtype=torch.bool, device=DEVICE)

    def run() -> None:
        attend: Any = HardGateAttend(attention, real, torch.zeros(batch, device=DEVICE))
        if alpha is not None:
            attend = SoftGateAttend(attention, alpha, real)
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=torch.bfloat16 == HALF):
            logits = model(ids, positions, attend)
        loss = language_model_loss(logits, ids) + 0.1 * torch.stack(attend.kept).mean()
        torch.autograd.backward(loss)
        model.zero_grad(set_to_none=True)

    run()
    seconds = common.timed(run, 8)
    return {
        "peak_bytes": common.peak(run), "seconds": seconds,
        "tokens_per_second": batch * length / seconds["median"],
    }  # fmt: skip


def main() -> None:
    report = Report("training")
    for batch, length in sized(((8, 1024), (32, 1024), (2, 4096)), ((1, 9),)):
        for dtype in sized((torch.bfloat16, torch.float32), (torch.float32,)):
            for alpha in sized((None, 1.0001, 2.0, 8.0), (None, 2.0)):
                for name, attention in (HARD if alpha is None else ARMS).items():
                    label = {"arm": name, "what": "one layer", "length": length, "batch": batch,
                             "alpha": alpha,
                             "dtype": str(dtype).removeprefix("torch.")}  # fmt: skip
                    report.attempt(label, partial(layer, attention, batch, length, dtype, alpha))
    batch, length = sized((4, 1024), (1, 9))
    for name, attention in {**HARD, **ARMS}.items():
        alpha = None if name in HARD else 2.0
        label = {"arm": name, "what": "whole model", "length": length, "batch": batch,
                 "alpha": alpha}  # fmt: skip
        report.attempt(label, partial(whole, attention, batch, length, alpha))


if __name__ == "__main__":
    main()

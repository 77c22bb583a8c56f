"""Soft-gated attention of a training step on a GPU: fused, against the PyTorch forms.

python -m benchmarks.gpu.training
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import common
from benchmarks.gpu.common import CUDA, Report
from dcp.kernels.triton.training import gated_attention as fused
from dcp.train.gated_attention import gated_attention as written_out
from dcp.train.objective import plain_gated_attention as autograd


def step(
    attention: Callable[..., Any], batch: int, length: int, dtype: torch.dtype, alpha: float
) -> dict[str, Any]:
    heads, width, r = 16, 64, 64
    q, k, v, grad = torch.randn(4, batch, heads, length, width, device=CUDA).to(dtype)
    q_int, k_int = torch.randn(2, batch, length, r, device=CUDA)
    beta = torch.full((1,), 4.0 / alpha, device=CUDA)
    pairs = torch.ones(batch, length, length, device=CUDA).tril(-1)
    inputs = [x.requires_grad_() for x in (q, k, v, q_int, k_int, beta)]

    def run() -> None:
        out, kept = attention(*inputs, pairs, alpha)
        torch.autograd.backward([out, kept], [grad, torch.ones_like(kept)])
        for x in inputs:
            x.grad = None

    run()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    peak = torch.cuda.max_memory_allocated() - before
    return {"seconds": common.timed(run, 10), "peak_bytes": peak}


def main() -> None:
    report = Report("training")
    arms = {"fused": fused, "written out": written_out, "autograd": autograd}
    for length, batch in ((1024, 8), (1024, 32), (4096, 2)):
        for dtype in (torch.bfloat16, torch.float32):
            for alpha in (1.0001, 2.0, 8.0):
                for name, attention in arms.items():
                    label = {"arm": name, "length": length, "batch": batch, "alpha": alpha,
                             "dtype": str(dtype).removeprefix("torch.")}  # fmt: skip
                    report.attempt(
                        label,
                        partial(step, attention, batch, length, dtype, alpha),
                    )


if __name__ == "__main__":
    main()

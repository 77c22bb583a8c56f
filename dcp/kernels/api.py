"""The only way to a kernel: names an implementation and hands out its operations.

``auto`` may choose; a name never falls back to another. Knows nothing of caches or models.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcp.errors import DeviceError

__all__ = [
    "IMPLEMENTATIONS",
    "Kernels",
    "device_of",
    "kernels",
    "native_missing",
    "resolve",
    "triton_runs",
]

IMPLEMENTATIONS = ("reference", "cpu", "native", "triton")


@dataclass(frozen=True)
class Kernels:
    """The operations of one implementation; `dcp.kernels.reference` documents each.

    gate_scores       q_int [C, r], k_int [N, r], beta -> z [C, N] float32
    death_times       q_int [C, r], k_int [N, r], q_pos [C], k_pos [N], beta
                      -> death [N] int32, margin [N] float32
    extend_attention  q [C, H, d], k and v [N, H_kv, d], q_pos [C], k_pos [N], death [N]
                      -> [C, H, d]
    decode_attention  q [H, d], k and v [N, H_kv, d] -> [H, d]
    pool              makes a `dcp.kernels.triton.pool.Pool`; None where rows live on the host
    """

    name: str
    gate_scores: Callable[[Tensor, Tensor, float], Tensor]
    death_times: Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    extend_attention: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
    decode_attention: Callable[[Tensor, Tensor, Tensor], Tensor]
    pool: Callable[..., Any] | None = None


def resolve(impl: str = "auto", device: str = "cpu") -> str:
    """The implementation that ``impl`` means on ``device``.

    Raises DeviceError for an unknown name, or one that cannot run here.
    """
    if impl == "auto":
        impl = _best_on_cpu() if device == "cpu" else "triton"
    if impl not in IMPLEMENTATIONS:
        raise DeviceError(
            f"implementation {impl!r} is unknown; use auto, {', '.join(IMPLEMENTATIONS)}"
        )
    if impl == "triton":
        if not triton_runs(device):
            raise DeviceError("impl triton needs a GPU or TRITON_INTERPRET=1; use cpu or reference")
    elif device != "cpu":
        raise DeviceError(f"impl {impl} runs on cpu, not on {device}")
    elif impl == "native" and (reason := native_missing()):
        raise DeviceError(reason)
    return impl


def native_missing() -> str | None:
    """None where the native decode step is there or could be compiled, else why not, in a line."""
    found: str | None = importlib.import_module("dcp.kernels.native.build").why_not()
    return found


def _best_on_cpu() -> str:
    return "cpu" if native_missing() else "native"


def device_of(impl: str) -> str:
    """Where ``impl`` runs best on this machine: triton, and auto, on the GPU if there is one."""
    if impl not in ("auto", "triton") or not torch.cuda.is_available():
        return "cpu"
    return "cuda" if impl == "triton" or importlib.util.find_spec("triton") else "cpu"


def triton_runs(device: str) -> bool:
    """On a GPU, or on CPU tensors where the variable was set before triton was first imported."""
    if device != "cpu":
        return torch.cuda.is_available()
    if os.environ.get("TRITON_INTERPRET") != "1":
        return False
    interpreted: bool = importlib.import_module("dcp.kernels.triton.common").INTERPRETED
    return interpreted


def kernels(impl: str = "auto", device: str = "cpu") -> Kernels:
    """The operations of ``impl`` on ``device``; raises DeviceError like ``resolve``."""
    name = resolve(impl, device)
    # The native step takes over when decoding begins; prompts are read by the kernels of cpu.
    module = importlib.import_module(f"dcp.kernels.{'cpu' if name == 'native' else name}")
    return Kernels(
        name,
        module.gate_scores,
        module.death_times,
        module.extend_attention,
        module.decode_attention,
        getattr(module, "make_pool", None),
    )

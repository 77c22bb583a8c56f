"""One line that says where a picture comes from: the model, how it ran, and on what machine."""

from __future__ import annotations

from dcp.policies.gates import by_shift
from dcp.stats.policies import policy_said
from dcp.trace import Meta, Trace
from dcp.trace.amounts import kept_in

__all__ = ["is_ruled", "label_of", "machine_of"]


def machine_of(trace: Trace) -> str:
    """What the speed was measured on, as far as the trace tells: "AMD EPYC, 2 threads"."""
    meta = trace.meta
    device = {"cpu": "a CPU", "cuda": "a GPU"}.get(meta.device, meta.device)
    threads = f", {meta.threads} thread{'s' * (meta.threads != 1)}" if meta.threads else ""
    return (meta.machine or device) + (threads if meta.device == "cpu" else "")


_KERNELS = {
    "native": "C++ kernels",
    "cpu": "CPU kernels",
    "triton": "Triton kernels",
    "reference": "PyTorch reference",
}


def _who(trace: Trace) -> list[str]:
    """Who dropped: the gates at their shift, or a policy with its settings."""
    meta = trace.meta
    said = policy_said(meta)
    if meta.policy not in (None, "gates"):
        return [said]
    if meta.gates_off:
        return ["gates off"]
    shift = "gates as trained" if meta.gate_shift == 0 else f"gates shifted by {meta.gate_shift:g}"
    return [shift, said] if said else [shift]


def _kernels(trace: Trace) -> str:
    """What attended: under a rule it is done in the open, whatever kernels there are."""
    meta = trace.meta
    return "PyTorch, row by row" if is_ruled(meta) else _KERNELS.get(meta.impl, meta.impl)


def is_ruled(meta: Meta) -> bool:
    """Whether a rule decides after each step, alone or beside the gates."""
    return meta.policy is not None and not by_shift(meta.policy, meta.policy_settings or {})


def label_of(trace: Trace) -> str:
    """One line that says where the picture comes from."""
    meta = trace.meta
    parts = [
        f"{meta.model} ({meta.weights_sha256[:8]})",
        *_who(trace),
        f"seed {meta.seed}",
        f"temperature {meta.sampling.temperature or 0:g}",
        *filter(None, [kept_in(meta.kv_dtype)]),
        f"{_kernels(trace)} on {machine_of(trace)}",
    ]
    return " · ".join(parts)

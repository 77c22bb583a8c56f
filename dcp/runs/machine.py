"""The name of what a run was timed on. Knows nothing of runs."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

__all__ = ["machine"]


@cache
def machine(device: torch.device) -> str:
    """The GPU's or the processor's name, one line.

    >>> machine(torch.device("cpu")) != ""
    True
    """
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    found = next(named, "") or platform.processor() or platform.machine() or device.type
    return "".join(c if c.isprintable() else "\ufffd" for c in found)[:200]

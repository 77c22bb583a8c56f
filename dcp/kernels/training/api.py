"""The only way to attention in training: which implementation computes it, by name or chosen.

``auto`` may choose, once, before the first step, and what it chose has a name. A name never falls
back to another: what it cannot do here is an error of one line. Knows nothing of layers or data.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dcp.errors import DeviceError
from dcp.kernels.api import triton_runs

__all__ = ["IMPLEMENTATIONS", "Attention", "Heads", "Way", "attention", "resolve"]

Way = Literal["causal", "soft", "hard"]
IMPLEMENTATIONS = ("reference", "cpu", "triton")


@dataclass(frozen=True)
class Heads:
    """What is attended with: ``width`` d of a head, ``element`` bytes of each number, device."""

    width: int
    element: int = 4
    device: str = "cpu"


@dataclass(frozen=True)
class Attention:
    """One way of attending as ``impl`` computes it; `dcp.kernels.training.reference` defines it.

    causal  compute(q, k, v, death) -> out
    soft    compute(q, k, v, gates, pairs, alpha) -> out, kept
    hard    compute(q, k, v, gates, price, depth) -> out, kept
    """

    way: Way
    impl: str
    compute: Callable[..., Any]

    def __str__(self) -> str:
        return f"{self.way} attention: {self.impl}"


def resolve(way: Way, impl: str, heads: Heads) -> str:
    """The implementation that ``impl`` means for ``way``.

    ``auto``: cpu on a CPU; on a GPU triton where it has the way and a tile for the heads, else the
    reference, whose products are torch's. Raises DeviceError for an unknown name, or one that
    cannot do this.
    """
    if impl == "auto":
        if heads.device == "cpu":
            return "cpu"
        return "reference" if _not_in_triton(way, heads) else "triton"
    if impl not in IMPLEMENTATIONS:
        raise DeviceError(
            f"implementation {impl!r} is unknown; use auto, {', '.join(IMPLEMENTATIONS)}"
        )
    if impl == "cpu" and heads.device != "cpu":
        raise DeviceError(f"impl cpu trains on cpu, not on {heads.device}; use auto or reference")
    if impl == "triton" and (reason := _not_in_triton(way, heads)):
        raise DeviceError(f"impl triton {reason}; use auto or reference")
    return impl


def attention(way: Way, impl: str, heads: Heads) -> Attention:
    """Attention of ``way`` by ``impl``, or by what auto chooses; raises DeviceError."""
    name = resolve(way, impl, heads)
    module = importlib.import_module(f"dcp.kernels.training.{name}")
    return Attention(way, name, getattr(module, f"{way}_attention"))


def _not_in_triton(way: Way, heads: Heads) -> str | None:
    """Why Triton cannot do this, in a few words; None where it can."""
    if way == "causal":
        return "has no causal attention for training"
    if importlib.util.find_spec("triton") is None:
        return "is not installed"
    if not triton_runs(heads.device):
        return "needs a GPU or TRITON_INTERPRET=1"
    # Triton exists for Linux alone, and costs a second to import.
    fused = importlib.import_module("dcp.kernels.training.triton")
    if not fused.supports(heads.width, heads.element):
        return f"has no tile for heads of {heads.width} elements of {heads.element} bytes"
    return None

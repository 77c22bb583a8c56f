"""What several of the Triton kernels share: constants, padding, precision, where rows lie.

Knows nothing of gates or attention.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from dcp import deaths

__all__ = [
    "ALIVE",
    "BLOCK",
    "FAR",
    "GATE",
    "INTERPRETED",
    "LOG2E",
    "Paged",
    "copy_rows",
    "exact",
    "padded",
    "places",
]

# Kernels may read a module's constants only where their type says so.
ALIVE = tl.constexpr(deaths.ALIVE)
GATE = tl.constexpr(deaths.GATE)
FAR = tl.constexpr(float("inf"))
LOG2E = tl.constexpr(1.4426950408889634)

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether the kernels of this process run in triton's interpreter: settled when they are made."""

Paged = tuple[Tensor, Tensor, int]
"""Rows of one sequence in the pool: count [1] int32, its pages [most pages] int32, rows a page."""

BLOCK = 64
"""Keys that a program looks at together; a page of the pool holds as many or a divisor of it."""


def padded(width: int) -> int:
    """The power of two that holds ``width`` elements, at least 16: what a matrix product takes."""
    return max(16, int(triton.next_power_of_2(width)))


def exact(x: Tensor) -> str:
    """The precision of products of x: no TF32 for float32; 16-bit inputs have one way only."""
    return "ieee" if x.element_size() == 4 else "tf32"


@triton.jit
def places(n, here, table, PAGE: tl.constexpr, PAGED: tl.constexpr):
    """Where row n of a sequence lies: in its page of the pool, or in row n of its own tensor."""
    place = n.to(tl.int64)
    if PAGED:
        place = tl.load(table + n // PAGE, here, 0).to(tl.int64) * PAGE + n % PAGE
    return place


@triton.jit
def copy_rows(source, target, mask, WIDTH: tl.constexpr, SLICE: tl.constexpr):
    """Rows of WIDTH elements from pointers source [m] to target [m], where mask."""
    for start in range(0, WIDTH, SLICE):
        e = start + tl.arange(0, SLICE)
        inside = mask[:, None] & (e < WIDTH)
        tl.store(target[:, None] + e, tl.load(source[:, None] + e, inside), inside)

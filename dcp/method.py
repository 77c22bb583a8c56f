"""The method in numbers small enough to look at: gates, their product, the rows of a cache.

What the pages draw of the idea, computed as the model computes it: the α-sigmoid solved by
bisection, I as the running product of gates, the cache as a plain list of rows. Numpy only. Knows
no model, no page, and no run but what a trace or a table of gate logits says.

Source: Anagnostidis et al., arXiv 2305.15805, section 3.1; conventions in ARCHITECTURE.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.errors import TraceError

__all__ = [
    "CacheStep",
    "GateLogits",
    "alpha_at",
    "alpha_logit",
    "alpha_sigmoid",
    "alpha_slope",
    "band",
    "cache_steps",
    "interaction",
    "progress_at",
]

Floats = npt.NDArray[np.float64]
_HALVINGS = 60


# ---- the soft gate


def alpha_logit(p: npt.ArrayLike, alpha: float) -> Floats:
    """z of a gate that is p open: (p^(α-1) - (1-p)^(α-1)) / (α-1), the logit at α = 1."""
    p = np.asarray(p, np.float64)
    a = alpha - 1.0
    with np.errstate(divide="ignore"):
        kept, dropped = np.log(p), np.log1p(-p)
    if a < 1e-9:
        return np.asarray(kept - dropped)
    # The difference of two powers near 1 cancels; that of two expm1 does not.
    return np.asarray((np.expm1(a * kept) - np.expm1(a * dropped)) / a)


def alpha_sigmoid(z: npt.ArrayLike, alpha: float) -> Floats:
    """p = σ_α(z), by bisection of `alpha_logit`; exactly 0 or 1 outside the `band`.

    >>> alpha_sigmoid([-1.0, 0.0, 0.5, 1.0], 2.0).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    z = np.asarray(z, np.float64)
    low, high = np.zeros(z.shape), np.ones(z.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = alpha_logit(middle, alpha) > z
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    p = (low + high) / 2
    edge = band(alpha)
    return np.where(z >= edge, 1.0, np.where(z <= -edge, 0.0, p))


def alpha_slope(p: npt.ArrayLike, alpha: float) -> Floats:
    """dp/dz of a gate that is p open, 0 < p < 1: 1 / (p^(α-2) + (1-p)^(α-2))."""
    p = np.asarray(p, np.float64)
    return np.asarray(1 / (p ** (alpha - 2) + (1 - p) ** (alpha - 2)))


def band(alpha: float) -> float:
    """1/(α-1): for |z| beyond it the gate is exactly open or shut and its gradient is 0."""
    return 1 / (alpha - 1) if alpha > 1 else float("inf")


def alpha_at(progress: float, first: float = 1.0, last: float = 8.0) -> float:
    """α after a share ``progress`` of training: a cosine from ``first`` to ``last``."""
    return float(last + (first - last) * 0.5 * (1 + np.cos(np.pi * progress)))


def progress_at(alpha: float, first: float = 1.0, last: float = 8.0) -> float:
    """The share of training after which α is ``alpha``: the inverse of `alpha_at`."""
    return float(np.arccos(np.clip(2 * (alpha - last) / (first - last) - 1, -1, 1)) / np.pi)


# ---- gates multiply


def interaction(gates: npt.ArrayLike) -> Floats:
    """gates p [T, T] -> I [T, T]: I[t, j] = product of p[n, j] over n = j+1 … t; 1 at t = j, 0 for
    t < j. What stands on and above the diagonal of ``gates`` is not read.

    >>> interaction([[0, 0, 0], [0.5, 0, 0], [0, 1, 0]]).tolist()
    [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.0, 1.0]]
    """
    p = np.asarray(gates, np.float64)
    later = np.tril(np.ones(p.shape, bool), -1)
    return np.asarray(np.tril(np.cumprod(np.where(later, p, 1.0), axis=0)))


@dataclass(frozen=True, eq=False)
class GateLogits:
    """Gate logits of the first tokens of a bundled trace: what a trace itself does not keep.

    z               [L, W, W] float32  z[l, t, j] for j < t, nan elsewhere
    weights_sha256  of the model that said them
    """

    z: npt.NDArray[np.float32]
    weights_sha256: str

    @classmethod
    def load(cls, path: Path) -> GateLogits:
        """Read a file of ``python -m benchmarks.sample_gates``. Raises TraceError."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            width = int(said["tokens"])
            lower = np.tril_indices(width, -1)
            values = np.array(said["z"], np.float32).reshape(-1, len(lower[0]))
            z = np.full((len(values), width, width), np.nan, np.float32)
            z[:, lower[0], lower[1]] = values
            return cls(z, str(said["weights_sha256"]))
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            raise TraceError(f"{path.name} holds no gate logits: {wrong}") from None

    def save(self, path: Path) -> None:
        """Write JSON: the values below the diagonal, row by row, to five digits."""
        width = self.z.shape[1]
        lower = np.tril_indices(width, -1)
        rows = [[float(f"{x:.5g}") for x in layer[lower]] for layer in self.z]
        said = {"tokens": width, "weights_sha256": self.weights_sha256, "z": rows}
        path.write_text(json.dumps(said) + "\n", encoding="utf-8")

    def death(self) -> npt.NDArray[np.int32]:
        """[L, W] int32: the first t > j with z[t, j] <= 0, or ALIVE."""
        closed = self.z <= 0
        first = closed.argmax(axis=1).astype(np.int32)
        return np.where(closed.any(axis=1), first, np.int32(ALIVE))

    def reopened(self) -> npt.NDArray[np.int64]:
        """[L, W]: for each token, gates that would have kept it after one had dropped it."""
        steps = np.arange(self.z.shape[1])[:, None]
        after = steps > self.death()[:, None, :]
        return np.asarray((after & (self.z > 0)).sum(axis=1), np.int64)


# ---- the cache


@dataclass(frozen=True)
class CacheStep:
    """One layer's rows after the query of one step, and how they came to be.

    rows      the token in each row
    dropped   (token, row it lay in) for each token dropped at this step
    written   the row that the new token took
    moves     (from, to): last rows that filled holes
    capacity  rows that memory is kept for
    """

    rows: tuple[int, ...]
    dropped: tuple[tuple[int, int], ...]
    written: int
    moves: tuple[tuple[int, int], ...]
    capacity: int


def cache_steps(death: Sequence[int] | npt.NDArray[np.int32], steps: int) -> list[CacheStep]:
    """death [T] of one layer -> its cache after each of ``steps`` queries, one token at a time.

    As `dcp.model.cache` does it: the new token overwrites the first freed row, the last rows move
    into the other holes, and the buffer grows and shrinks with an eighth to spare.
    """
    rows: list[int] = []
    capacity, story = 0, []
    for t in range(steps):
        free = [row for row, token in enumerate(rows) if death[token] <= t]
        dropped = tuple((rows[row], row) for row in free)
        written = free[0] if free else len(rows)
        if free:
            rows[written] = t
        else:
            rows.append(t)
            if len(rows) > capacity:
                capacity = min(_roomy(len(rows)), len(death))
        left = len(rows) - len(free[1:])
        holes = [row for row in free[1:] if row < left]
        movers = [row for row in range(left, len(rows)) if row not in free[1:]]
        moves = tuple(zip(movers, holes, strict=True))
        for source, hole in moves:
            rows[hole] = rows[source]
            if source == written:
                written = hole
        del rows[left:]
        if len(free) > 1 and capacity > _roomy(_roomy(left)):
            capacity = min(_roomy(left), len(death))
        story.append(CacheStep(tuple(rows), dropped, written, moves, capacity))
    return story


def _roomy(rows: int) -> int:
    return rows + max(16, rows // 8) if rows else 0

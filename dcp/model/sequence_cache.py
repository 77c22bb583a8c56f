"""What a run asks of the cache of its sequences, whoever keeps the rows: a CPU or a GPU's pool.

The tokens of all sequences come as one flat list, so ragged prompts and batches need no padding.
Knows no implementation; `dcp.model.cached` and `dcp.model.paged` are two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dcp.model.attend import Attend

__all__ = ["CacheBytes", "Drops", "SequenceCache"]


@dataclass(frozen=True, eq=False)
class Drops:
    """Tokens dropped, one entry each: layer, position, step (int32 [n]), margin (float32 [n])."""

    layer: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    step: npt.NDArray[np.int32]
    margin: npt.NDArray[np.float32]


@dataclass(frozen=True)
class CacheBytes:
    """What one sequence takes.

    live   keys and values that a query can see now
    held   memory kept for them, gate keys and tables included
    peak   the most ever held
    """

    live: int
    held: int
    peak: int


class SequenceCache(Attend, Protocol):
    """Caches of B sequences, and the attention of L layers over them: the ``attend`` of inference.

    gated  whether gate projections are wanted: False spares the model making them
    """

    gated: bool

    def begin(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Say what the next forward pass carries: (sequence, first position, past last), in order.

        The tokens of the spans lie one after another in the flat batch.
        """

    def take_drops(self, row: int) -> Drops:
        """What died in sequence ``row`` since the last call."""

    def margins(self, row: int, into: npt.NDArray[np.float32]) -> None:
        """Write the smallest gate logit so far of every living token to ``into`` [L, T]."""

    def memory(self, row: int) -> CacheBytes:
        """Bytes of sequence ``row`` now."""

    def release(self, row: int) -> None:
        """Give the memory of sequence ``row`` back."""

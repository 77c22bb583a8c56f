"""What a death step means, and deaths that a caller decides instead of the gates.

A table of death steps has ALIVE for what is never dropped; traces, kernels and policies read it
here. `ForcedDeaths` is one table of orders, read by the engine.
Benchmarks, eviction policies and the page Put it back order deaths this way. Numpy only; knows no
model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError

__all__ = ["ALIVE", "GATE", "ForcedDeaths"]

ALIVE = 2**31 - 1
"""The death step of a token that is never dropped: larger than any step.

>>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=0)
>>> alive = run.death == dcp.ALIVE  # [L, T] bool
>>> bool((run.death[~alive] < run.tokens).all())
True
"""

GATE = -1
"""In a table of orders: the gate decides when this token dies."""


@dataclass(frozen=True, eq=False)
class ForcedDeaths:
    """Who dies when, by order.

    death [L, T] int32 — step at which the layer drops the token whatever its gate says, ALIVE to
    keep it, GATE to let the gate decide. Tokens past T are left to the gates. A death comes after
    its token; RequestError otherwise. With the gates off, GATE means alive.

        ForcedDeaths.none(layers=12, tokens=300).keep(7).drop(20, step=50, layer=3)
    """

    death: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        found = np.asarray(self.death)
        if found.ndim != 2 or found.dtype.kind not in "iu":
            raise RequestError("forced deaths must be a table of whole numbers, layers x tokens")
        born = np.arange(found.shape[1])
        wrong = (found != GATE) & (found <= born)
        if wrong.any():
            layer, token = np.argwhere(wrong)[0]
            raise RequestError(
                f"token {token} cannot die at step {found[layer, token]} in layer {layer}: "
                "a token is never dropped before a later one is read"
            )
        table = found.astype(np.int32)
        table.setflags(write=False)
        object.__setattr__(self, "death", table)

    @classmethod
    def none(cls, layers: int, tokens: int) -> ForcedDeaths:
        """All left to the gates."""
        return cls(np.full((layers, tokens), GATE, dtype=np.int32))

    def keep(self, token: int, layer: int | None = None) -> ForcedDeaths:
        """With ``token`` alive to the end, in one layer or all."""
        return self._with(token, ALIVE, layer)

    def drop(self, token: int, step: int, layer: int | None = None) -> ForcedDeaths:
        """With ``token`` dropped by the query at ``step``, neither before nor after."""
        return self._with(token, step, layer)

    def padded(self, tokens: int) -> npt.NDArray[np.int32]:
        """death [L, tokens]: what is not mentioned is left to the gates."""
        table = np.full((len(self.death), tokens), GATE, dtype=np.int32)
        known = self.death[:, :tokens]
        table[:, : known.shape[1]] = known
        return table

    def _with(self, token: int, death: int, layer: int | None) -> ForcedDeaths:
        layers, tokens = self.death.shape
        if not 0 <= token < tokens or (layer is not None and not 0 <= layer < layers):
            raise RequestError(f"there is no token {token} in layer {layer} to force")
        table = self.death.copy()
        table[slice(None) if layer is None else layer, token] = death
        return ForcedDeaths(table)

"""Two traces side by side: where they differ, token by token, and the numbers that compare them.

Token by token only where both read the same tokens; else each as a whole, at a common context
length. Numpy and pandas; knows no model, no plots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Number", "Pair"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Number:
    """One line of the table: the same quantity of both, None where it does not exist."""

    name: str
    a: float | None
    b: float | None
    kind: str = "number"

    @property
    def difference(self) -> float | None:
        """b - a."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs, A and B.

    kl [T] f32  KL(A || B) of their predictions of each token (nats), where it was measured
    """

    a: Trace
    b: Trace
    kl: Floats | None = None

    @property
    def same_tokens(self) -> bool:
        """Whether both read the same tokens of the same text."""
        same = np.array_equal(self.a.token_ids, self.b.token_ids)
        return bool(same and self.a.text == self.b.text)

    @property
    def cell_by_cell(self) -> bool:
        """Whether a difference map exists: same tokens, same number of layers."""
        return self.same_tokens and self.a.layers == self.b.layers

    @property
    def steps(self) -> int:
        """Steps that both have: 0 to this, without it."""
        return min(self.a.n_queries, self.b.n_queries)

    def difference(self, step: int) -> npt.NDArray[np.int8]:
        """[L, T] int8 at a common step: 1 only A holds the token, -1 only B does, 0 they agree.

        Raises RequestError where there is nothing to map.
        """
        if not self.cell_by_cell:
            raise RequestError("the runs differ in tokens or layers: there is no difference map")
        if not 0 <= step < self.steps:
            raise RequestError(f"step {step} is not common: both have steps 0 to {self.steps - 1}")
        held_a, held_b = self.a.visible(step), self.b.visible(step)
        return held_a.astype(np.int8) - held_b.astype(np.int8)

    def numbers(self) -> list[Number]:
        """The key numbers, sparsities at the last common step."""
        a, b, last = self.a, self.b, self.steps - 1
        rows = [
            Number("tokens", a.tokens, b.tokens, "count"),
            Number("layers", a.layers, b.layers, "count"),
            Number("gate shift δ", _shift(a), _shift(b)),
            Number("bytes of an entry", a.meta.memory.entry, b.meta.memory.entry, "count"),
        ]
        if last >= 1:
            rows += [
                Number(
                    f"dropped at step {last}", a.sparsity_at(last), b.sparsity_at(last), "share"
                ),
                Number(
                    f"entries held at step {last}, mean of layers",
                    float(a.held()[:, last].mean()),
                    float(b.held()[:, last].mean()),
                ),
                Number(
                    "dropped, mean over each one's steps",
                    a.sparsity_mean_steps(),
                    b.sparsity_mean_steps(),
                    "share",
                ),
            ]
        rows.append(Number("bits per byte of text", _bits(a), _bits(b)))
        if self.same_tokens:
            rows.append(Number("log-prob per token (nats)", _mean(a.logprob), _mean(b.logprob)))
        rows += [
            Number("KL(gates off ‖ run) per token (nats)", _mean(a.kl), _mean(b.kl)),
            Number(
                "attention lost, mean of layers",
                _mean(a.lost_attention),
                _mean(b.lost_attention),
                "share",
            ),
        ]
        if self.kl is not None:
            rows.append(Number("KL(A ‖ B) per token (nats)", _mean(self.kl), None))
        return rows

    def per_token(self) -> pd.DataFrame:
        """One row per token of the text that both read. Raises RequestError for other texts."""
        import pandas as pd

        self._need_same_tokens()
        a, b = self.a, self.b
        columns: dict[str, Any] = {
            "token": np.arange(a.tokens),
            "text": a.pieces(),
            "logprob_a": a.logprob,
            "logprob_b": b.logprob,
            "logprob_difference": b.logprob - a.logprob,
            "held_a": _held(a),
            "held_b": _held(b),
        }
        optional = {
            "kl_a_b": self.kl,
            "kl_off_a": a.kl,
            "kl_off_b": b.kl,
            "gates_off_logprob_a": a.gates_off_logprob,
            "gates_off_logprob_b": b.gates_off_logprob,
        }
        columns |= {name: array for name, array in optional.items() if array is not None}
        return pd.DataFrame(columns)

    def per_cell(self) -> pd.DataFrame:
        """One row per layer and token: when each run dropped it (<NA> while alive), attention lost.

        Raises RequestError where the runs differ in tokens or layers.
        """
        import pandas as pd

        if not self.cell_by_cell:
            raise RequestError("the runs differ in tokens or layers: there is no table of cells")
        layer, token = (i.ravel() for i in np.indices(self.a.death.shape))
        pieces = self.a.pieces()
        columns: dict[str, Any] = {
            "layer": layer,
            "token": token,
            "text": [pieces[j] for j in token],
        }
        for name, trace in (("a", self.a), ("b", self.b)):
            death = trace.death.ravel()
            columns[f"death_{name}"] = pd.array(death, "Int32")
            columns[f"death_{name}"][death == ALIVE] = pd.NA
            if trace.lost_attention is not None:
                columns[f"lost_attention_{name}"] = trace.lost_attention.ravel()
        return pd.DataFrame(columns)

    def _need_same_tokens(self) -> None:
        if not self.same_tokens:
            raise RequestError("the runs read different tokens: there is no table of tokens")


def _held(trace: Trace) -> npt.NDArray[np.float64]:
    """[T] entries held when each token was the query, mean over layers; nan where it was none."""
    held = np.full(trace.tokens, np.nan)
    held[: trace.n_queries] = trace.held().mean(axis=0)
    return held


def _shift(trace: Trace) -> float | None:
    """The gate shift; None of a run whose gates were off."""
    return None if trace.meta.gates_off else trace.meta.gate_shift


def _bits(trace: Trace) -> float | None:
    """Bits per UTF-8 byte of the scored text: the measure that compares across vocabularies."""
    known = np.isfinite(trace.logprob)
    if not known.any():
        return None
    start = int(trace.offsets[int(np.flatnonzero(known)[0]), 0])
    size = len(trace.text[start:].encode())
    return float(-trace.logprob[known].sum() / np.log(2) / size) if size else None


def _mean(array: Floats | None) -> float | None:
    if array is None or not np.isfinite(array).any():
        return None
    return float(np.nanmean(array))

"""What dropping saves, in memory and in time: computed from a trace, and what a measurement says.

*Computed* is arithmetic on the deaths of a trace: exact, and free of any clock or allocator.
*Measured* (`dcp.bench.beside`) is what a model did on this machine. The two never share a column.
Numpy only: knows no model and no page.

Dimensions: L layers, N steps (queries) of the trace, R rounds, S timed steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.text.table import to_csv
from dcp.trace import Trace

__all__ = [
    "ARMS",
    "SMOOTHING",
    "Computed",
    "Measured",
    "batch_within",
    "computed",
    "cost_csv",
    "running_median",
    "timed_steps",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ARMS = ("pruned", "kept", "dense")
"""The arms of a measurement: the gates as trained; the gates asked but nothing dropped, which is
their overhead; and no gates at all."""

SMOOTHING = 31
"""Steps in the running median of step times: one step is shorter than what a machine's noise is."""

_LARGEST_ENTRY = 2**40


@dataclass(frozen=True, eq=False)
class Computed:
    """Keys and values at every step of a trace, by arithmetic.

    entries      [L, N] int64  entries each layer holds at each step, the step's own included
    entry_bytes  keys and values of one token in one layer (bytes), None where the trace tells none
    row_bytes    the same with its gate key and tables (bytes), None where the trace tells none
    """

    entries: Ints
    entry_bytes: int | None
    row_bytes: int | None

    @property
    def unit(self) -> int:
        """Bytes of an entry; 1 where the trace tells none, so that entries are counted instead."""
        return self.entry_bytes or 1

    def live(self) -> Ints:
        """[L, N] int64: bytes of the keys and values that each layer can still attend to."""
        return np.asarray(self.entries * self.unit, np.int64)

    def dense(self) -> Ints:
        """[N] int64: bytes of all layers, had nothing been dropped: ``2 L t H_kv d`` bytes."""
        layers, steps = self.entries.shape
        return np.asarray(np.arange(1, steps + 1) * layers * self.unit, np.int64)


def computed(trace: Trace) -> Computed:
    """The memory of a trace, without a model.

    >>> # 2 layers, one token dropped in one of them at step 2 of 3: entries == [[1, 2, 2], [1,2,3]]
    """
    memory = trace.meta.memory
    entry = _bytes(memory.entry)
    if entry is None:
        dense = _bytes(memory.dense, _LARGEST_ENTRY * trace.tokens)
        size = trace.layers * trace.tokens
        entry = dense // size if dense and dense % size == 0 else None
    return Computed(trace.held(), entry, _bytes(memory.row))


def _bytes(value: int | None, most: int = _LARGEST_ENTRY) -> int | None:
    """``value`` where it is a believable number of bytes: a trace may come from anywhere."""
    return value if value is not None and 0 < value <= most else None


@dataclass(frozen=True, eq=False)
class Measured:
    """The same tokens read step by step by each of `ARMS` in turn, in one process.

    context   [S] int64           tokens held of a dense model at each timed step, its own too
    seconds   arm -> [R, S] f64   wall time of each step (s)
    held      arm -> [S] int64    memory kept for keys, values, gate keys and tables (bytes)
    live      arm -> [S] int64    keys and values that can be seen (bytes)
    peak      arm -> bytes        the most ever held
    weights   bytes of the model's parameters
    gate_share  bytes of a gate key, as a share of the keys and values of an entry
    differs   entries (layer, token) whose death is not the one in the trace; 0 unless gate logits
              were nearer to zero than implementations agree
    about     hardware, implementation, device, types of weights and rows, threads and date, for the
              line under figures
    """

    context: Ints
    seconds: Mapping[str, Floats]
    held: Mapping[str, Ints]
    live: Mapping[str, Ints]
    peak: Mapping[str, int]
    weights: int
    gate_share: float
    differs: int
    about: Mapping[str, Any]

    @property
    def rounds(self) -> int:
        """R."""
        return len(self.seconds["dense"])

    def percentiles(self, arm: str) -> tuple[Floats, Floats, Floats]:
        """p20, median and p80 [S] of a step over rounds, smoothed over `SMOOTHING` steps."""
        low, middle, high = np.percentile(self.seconds[arm], [20, 50, 80], axis=0)
        return running_median(low), running_median(middle), running_median(high)

    def tokens_per_second(self, arm: str) -> tuple[float, float, float]:
        """p20, median and p80 over rounds."""
        rate = self.seconds[arm].shape[1] / self.seconds[arm].sum(axis=1)
        low, middle, high = np.percentile(rate, [20, 50, 80]).tolist()
        return low, middle, high

    def speed_up(self, arm: str = "pruned", last: int | None = None) -> tuple[float, float, float]:
        """Dense time over the arm's, paired by round: p20, median, p80; of the ``last`` steps."""
        start = 0 if last is None else max(0, len(self.context) - last)
        ours, dense = (self.seconds[name][:, start:].sum(axis=1) for name in (arm, "dense"))
        low, middle, high = np.percentile(dense / ours, [20, 50, 80]).tolist()
        return low, middle, high

    def crossover(self, arm: str = "pruned") -> int | None:
        """The first context from which on a step is faster than a dense one, to the end of the run.

        Judged on medians over rounds, smoothed; None where the last steps are not faster.
        """
        behind = np.flatnonzero(self.percentiles(arm)[1] >= self.percentiles("dense")[1])
        first = int(behind[-1]) + 1 if len(behind) else 0
        return int(self.context[first]) if first < len(self.context) else None

    def ceiling(self, arm: str = "pruned") -> float:
        """Bytes that a dense step reads over those of the arm's, at the last step.

        Weights, live keys and values, and gate keys; a step bound by memory is no faster than this.
        """
        own = int(self.live[arm][-1]) * (1.0 if arm == "dense" else 1.0 + self.gate_share)
        return (self.weights + int(self.live["dense"][-1])) / (self.weights + own)


def timed_steps(trace: Trace) -> Ints:
    """[n] the steps of the run itself whose time is known and compares with that of others."""
    seconds = np.asarray(trace.step_seconds, np.float64)[: trace.tokens]
    timed = np.flatnonzero(np.isfinite(seconds) & (seconds > 0))
    # The prompt's pass prepared the first generated token, so its time does not compare.
    return timed[timed > trace.prompt_tokens].astype(np.int64)


def running_median(values: Floats, width: int = SMOOTHING) -> Floats:
    """[S] f64: the median of the ``width`` values around each; fewer at the ends. nan is skipped.

    >>> running_median(np.array([1.0, 9.0, 2.0]), 3).tolist()
    [5.0, 2.0, 5.5]
    """
    if not len(values):
        return np.asarray(values, np.float64)
    half = width // 2
    padded = np.pad(np.asarray(values, np.float64), half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    found = np.full(len(values), np.nan)
    some = ~np.isnan(windows).all(axis=-1)
    if some.any():
        found[some] = np.nanmedian(windows[some], axis=-1)
    return found


def batch_within(budget: int, weights: int, sequence: int) -> int:
    """Sequences that fit into ``budget`` bytes beside the weights: (budget - weights) / sequence.

    ``sequence`` is what one of them holds at its peak (bytes); activations are not counted.

    >>> batch_within(1000, 400, 250)
    2
    """
    return max(0, math.floor((budget - weights) / sequence)) if sequence > 0 else 0


def cost_csv(trace: Trace, measured: Measured | None = None) -> str:
    """One row per step as CSV; every column says whether it was computed or measured.

    Seconds are percentiles over rounds, not smoothed. Empty where there is nothing to say.
    """
    found = computed(trace)
    live, steps = found.live(), trace.n_queries
    unit = "bytes" if found.entry_bytes else "entries"
    columns: dict[str, list[Any]] = {
        "step": list(range(steps)),
        "context": list(range(1, steps + 1)),
        "source": ["prompt" if t < trace.prompt_tokens else "generated" for t in range(steps)],
        f"dense_{unit}_computed": found.dense().tolist(),
        f"live_{unit}_computed": live.sum(axis=0).tolist(),
    }
    for layer, row in enumerate(live):
        columns[f"live_{unit}_layer_{layer}_computed"] = row.tolist()
    columns["seconds_of_the_run_measured"] = _cells(trace.step_seconds[:steps])
    if measured is not None:
        first, last = int(measured.context[0]) - 1, int(measured.context[-1])
        for arm in ARMS:
            for name, values in (
                ("allocated", measured.held[arm]),
                ("live", measured.live[arm]),
            ):
                columns[f"{name}_bytes_{arm}_measured"] = [""] * first + values.tolist()
            for share in (20, 50, 80):
                times = np.percentile(measured.seconds[arm], share, axis=0)
                columns[f"seconds_{arm}_p{share}_measured"] = [""] * first + _cells(times)
        for name in ("hardware", "impl", "device", "dtype", "kv_dtype", "threads", "date"):
            value = measured.about.get(name) or ""
            columns[f"{name}_measured"] = [""] * first + [value] * (last - first)
    rows = [
        [cells[t] if t < len(cells) else "" for cells in columns.values()] for t in range(steps)
    ]
    return to_csv(pd.DataFrame(rows, columns=list(columns), dtype=object))


def _cells(values: npt.NDArray[Any]) -> list[Any]:
    return ["" if math.isnan(value) else float(f"{value:.6g}") for value in values.tolist()]

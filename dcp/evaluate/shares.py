"""What each gate shift drops of texts of several lengths: the sparsity dial for short texts.

Counts alone, from the deaths of one masked forward a window: no perplexity, so no twin is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dcp.errors import ModelError
from dcp.evaluate.score import held_per_step, to_device
from dcp.evaluate.windows import Windows, read_windows
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import GateConfig, Shares
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel, load
from dcp.progress import Progress, silent
from dcp.trace.file import write

__all__ = [
    "continued",
    "dropped_of_first",
    "lengths_of",
    "measure_shares",
    "rising",
    "write_config",
    "write_shares",
]

# Short texts drop little: to reach a share there, shifts further down than long ones need.
_FURTHER = (1.5, 3.0, 5.0, 8.0, 12.0, 18.0)
_SHORTEST, _BATCH_TOKENS = 16, 4096


@torch.inference_mode()
def measure_shares(
    model: LoadedModel,
    windows: Windows,
    gate_shifts: Sequence[float],
    *,
    known: Mapping[float, Sequence[float]] | None = None,
    progress: Progress = silent,
) -> Shares:
    """Of the beginnings of ``windows``, at 16, 32, … tokens up to their length; of the shifts given
    and of some below the lowest, as far down as `rising` goes. Those of which the shares are
    ``known`` are not read again."""
    known = known or {}
    lowest = min(gate_shifts)
    shifts = sorted({*gate_shifts, *(lowest - further for further in _FURTHER)})
    device = next(model.transformer.parameters()).device
    steps = torch.arange(windows.context, device=device)
    size = max(1, _BATCH_TOKENS // windows.context)
    rows: list[tuple[float, ...]] = []
    for number, shift in enumerate(shifts):
        if shift in known:
            rows.append(tuple(known[shift]))
            continue
        progress(number / len(shifts), f"shares: gate shift {shift:g}")
        held = np.zeros(windows.context)
        for ids in torch.split(torch.from_numpy(windows.ids).to(device), size):
            attend = MaskedAttend(shift)
            model.at(shift).transformer.hidden(ids, steps.expand_as(ids), attend)
            held += held_per_step(attend.deaths).double().mean(dim=0).sum(dim=0).cpu().numpy()
        rows.append(tuple(share for _, share in dropped_of_first(held / len(windows.ids))))
    return rising(Shares(lengths_of(windows.context), tuple(shifts), tuple(rows)))


def lengths_of(context: int) -> tuple[int, ...]:
    """16, 32, … tokens below ``context``, and ``context``."""
    return *(_SHORTEST << n for n in range(32) if _SHORTEST << n < context), context


def dropped_of_first(held: npt.NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    """held [C]: entries at each step, mean over layers and windows -> for each of the `lengths_of`
    C the dropped share of the earlier tokens, mean over its steps."""
    past = np.arange(1, len(held))  # step t has t previous tokens
    dropped = 1 - (held[1:] - 1) / past
    return tuple((n, float(dropped[: n - 1].mean())) for n in lengths_of(len(held)))


def rising(shares: Shares) -> Shares:
    """Without the shifts so low that a lower one drops less: there the model no longer reads."""
    start = len(shares.deltas) - 1
    while start and all(np.greater_equal(shares.dropped[start - 1], shares.dropped[start])):
        start -= 1
    return replace(shares, deltas=shares.deltas[start:], dropped=shares.dropped[start:])


def continued(known: Shares | None, found: Shares) -> Shares:
    """``found``, or where it is of longer texts than ``known``, that with the longer lengths behind
    it: few texts are long, and shares of short ones are better known from many. ``known`` where
    ``found`` is of shorter texts.

    The shifts stay those of ``known``. Between those of ``found`` a longer text's share lies on a
    straight line; below them it is that of the lowest, as further down long texts are not read.
    """
    if known is None or found.tokens[-1] == known.tokens[-1]:
        return found
    longer = [n for n in found.tokens if n > known.tokens[-1]]
    if not longer:
        return known
    columns = np.asarray(found.dropped).T[-len(longer) :]
    beyond = [np.interp(known.deltas, found.deltas, column).tolist() for column in columns]
    rows = zip(known.dropped, zip(*beyond, strict=True), strict=True)
    return replace(known, tokens=(*known.tokens, *longer), dropped=tuple((*a, *b) for a, b in rows))


def write_shares(
    folder: Path,
    files: Sequence[Path],
    context: int,
    gate_shifts: Sequence[float],
    *,
    limit: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Shares:
    """Measure and write into the checkpoint's ``dcp_config.json``, whose calibration stays, as do
    shares of shorter texts (`continued`)."""
    opened = Checkpoint.read(folder)
    model = load(opened)
    if model.gates is None:
        raise ModelError(f"{folder} has no gates to measure")
    to_device(model, device)
    windows = Windows.join(
        [read_windows(file, opened.tokenizer, context, limit=limit) for file in files]
    )
    shares = measure_shares(model, windows, gate_shifts, progress=progress)
    shares = continued(opened.gates.shares, shares)
    write_config(folder, replace(opened.gates, shares=shares))
    return shares


def write_config(folder: Path, gates: GateConfig) -> None:
    """Write the checkpoint's ``dcp_config.json`` whole or not at all."""
    write(folder / "dcp_config.json", (json.dumps(gates.to_json(), indent=2) + "\n").encode())

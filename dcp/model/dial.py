"""The sparsity dial for the length of text at hand.

A gate shift drops a larger share of a long text than of a short one, so that a share is resolved
for the number of tokens that will be read. Knows what a checkpoint says of its gates, no weights.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.model.gate_config import Calibration, Shares, measured_at
from dcp.model.registry import shift_for
from dcp.policies.budget import dropped_share

__all__ = ["end_share_at", "share_at", "shift_at", "shift_for_budget"]


class Dial(Protocol):
    """What `dcp.model.info.ModelInfo` and `dcp.model.gate_config.GateConfig` know of it."""

    @property
    def calibration(self) -> tuple[Calibration, ...]: ...
    @property
    def shares(self) -> Shares | None: ...


def shift_at(dial: Dial, sparsity: float, tokens: int) -> float:
    """The gate shift δ that drops ``sparsity`` of a text of ``tokens`` on validation text.

    Between measured lengths and shifts; beyond them the nearest length counts. Without `Shares`
    that of the nearest calibrated length (`dcp.model.registry.shift_for`). Raises RequestError for
    a share that no measured shift gives at this length.
    """
    if dial.shares is None:
        return shift_for(dial.calibration, sparsity, tokens)
    dropped, deltas = _at(dial.shares, tokens)[::-1], dial.shares.deltas[::-1]
    low, high = float(dropped[0]), float(dropped[-1])
    if not math.isfinite(sparsity) or not low <= sparsity <= high:
        raise RequestError(
            f"sparsity {sparsity} is outside of what this model was calibrated for at {tokens} "
            f"tokens: {low:.3f} to {high:.3f}"
        )
    # Of shifts that drop as much the highest: what lies below it gains nothing.
    end = int(np.argmax(dropped >= high)) + 1
    return float(np.interp(sparsity, dropped[:end], deltas[:end]))


def shift_for_budget(dial: Dial, budget: int, tokens: int) -> float:
    """The gate shift δ at which a text of ``tokens`` has as large a share dropped, mean over steps,
    as one of which a layer holds ``budget`` entries after each step.

    No step is limited: less is held early in a text, more late. Without `Shares` the nearest
    calibrated length counts in place of ``tokens``. Where a budget drops less than any shift
    measured, that which keeps most. Raises RequestError for a budget smaller than any shift keeps
    to.
    """
    if dial.shares is None:
        points = measured_at(dial.calibration, tokens)
        tokens = points[0].context if points else 1
        found = [point.sparsity for point in points]
    else:
        found = _at(dial.shares, tokens).tolist()
    share = dropped_share(budget, tokens)
    if found and share > max(found):
        least = next(n for n in range(budget, tokens + 1) if dropped_share(n, tokens) <= max(found))
        raise RequestError(
            f"no measured gate shift keeps to {budget} entries a layer over {tokens} tokens: the "
            f"smallest budget is {least}"
        )
    return shift_at(dial, max(share, min(found, default=share)), tokens)


def share_at(shares: Shares, gate_shift: float, tokens: int) -> float:
    """The share that a gate shift drops of a text of ``tokens``; beyond what was measured, that of
    the nearest shift and length."""
    return float(np.interp(gate_shift, shares.deltas, _at(shares, tokens)))


def _at(shares: Shares, tokens: int) -> npt.NDArray[np.float64]:
    """[S] the share at each shift, between lengths by their logarithm; never rising with δ."""
    lengths = np.log(shares.tokens)
    here = [np.interp(math.log(max(tokens, 1)), lengths, row) for row in shares.dropped]
    return np.asarray(np.maximum.accumulate(here[::-1])[::-1], np.float64)


def end_share_at(shares: Shares, gate_shift: float, tokens: int) -> float:
    """The share that is dropped at the last of ``tokens`` tokens (``sparsity_at``): what the pages
    call dropped. Beyond what was measured, that of the nearest shift and length.

    `Shares` are means over steps. With M(n) the mean of the first n tokens, (n - 1) M(n) is a sum
    over steps, whose growth is the share at the last of them: M + (n - 1)/n dM/d(ln n).

    >>> flat = Shares((16, 64, 256), (-1.0, 0.0), ((0.6, 0.6, 0.6), (0.3, 0.4, 0.5)))
    >>> round(end_share_at(flat, -1.0, 128), 2), round(end_share_at(flat, 0.0, 64), 2)
    (0.6, 0.47)
    """
    lengths = np.log(shares.tokens)
    means = np.asarray(shares.dropped, np.float64)
    at = min(max(tokens, 1), shares.tokens[-1])
    here = [np.interp(math.log(at), lengths, row) for row in means]
    if len(lengths) > 1:
        order: Literal[1, 2] = 1 if len(lengths) < 3 else 2
        slopes = [np.gradient(row, lengths, edge_order=order) for row in means]
        growth = [np.interp(math.log(at), lengths, slope) for slope in slopes]
        here = [mean + (at - 1) / at * more for mean, more in zip(here, growth, strict=True)]
    row = np.maximum.accumulate(np.clip(here, 0, 1)[::-1])[::-1]
    return float(np.interp(gate_shift, shares.deltas, row))

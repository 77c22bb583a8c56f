"""The settings of a model's sparsity dial, each by what it is expected to drop of the text at hand.

Knows what a checkpoint says of itself, no weights and no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dcp.model.dial import end_share_at
from dcp.model.gate_config import USUAL_TOKENS, measured_at
from dcp.model.info import ModelInfo

__all__ = ["Position", "positions"]


# Of numbers alone, the same for every visitor, and asked twice by every run of the first page.
_end_share = lru_cache(maxsize=1024)(end_share_at)


@dataclass(frozen=True)
class Position:
    """One setting.

    shift     δ, added to every gate's β
    expected  share dropped at the end of a text of ``length`` tokens, on validation text
    cost      perplexity over that of a dense model trained as long, at the nearest measured length
    """

    shift: float
    expected: float
    length: int
    cost: float


def positions(info: ModelInfo | None, tokens: int) -> list[Position]:
    """Those that were calibrated, from what keeps most to what keeps least; empty without any.

    ``length`` is ``tokens``, unless the model was not measured at it: then what is nearest to it
    that was, and for a model that knows no shares at all the mean over steps of its calibration.
    """
    calibration = info.calibration if info is not None else ()
    found = []
    for point in measured_at(calibration, tokens if tokens > 1 else USUAL_TOKENS):
        share, length = point.sparsity, point.context
        if info is not None and info.shares is not None and tokens > 1:
            length = min(max(tokens, info.shares.tokens[0]), info.shares.tokens[-1])
            share = _end_share(info.shares, point.delta, length)
        found.append(Position(point.delta, share, length, point.perplexity_ratio))
    return found

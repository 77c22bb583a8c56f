"""The sparsity dial of the linked view: one text's tokens, read at several gate shifts.

The view swaps deaths under the reader's hand, so that every setting that is here needs no model; a
setting that is not is asked for when the hand lets go. Pure, as `dcp.viewer.payload`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcp.errors import TraceError
from dcp.trace import Trace
from dcp.viewer.payload import pack

__all__ = ["Setting", "dial"]


@dataclass(frozen=True)
class Setting:
    """One position of the dial.

    shift     added to every gate's β; None: the gates are off and nothing is dropped
    expected  share that a text of ``length`` tokens drops, as the checkpoint was measured
    cost      perplexity over that of a dense model trained as long, at the nearest measured length
    """

    shift: float | None
    expected: float | None = None
    cost: float | None = None
    length: int = 0


def dial(
    trace: Trace,
    settings: Sequence[Setting],
    read: Mapping[float | None, Trace],
    *,
    asks: bool = False,
    busy: bool = False,
) -> dict[str, Any]:
    """The dial of ``trace`` for `dcp.viewer.payload.payload`; empty where there is no choice.

    settings  from the one that keeps most to the one that keeps least
    read      the tokens of ``trace`` at a shift, where they have been read: they must be the same
    asks      a setting that was not read can be asked for; ``busy``: one is being read

    >>> dial(trace, [], {})
    {}
    """
    own = None if trace.meta.gates_off else trace.meta.gate_shift
    known = {**read, own: trace}
    shown = [setting for setting in settings if asks or setting.shift in known]
    if own not in {setting.shift for setting in shown} or len(shown) < 2:
        return {}
    return {
        "at": next(i for i, setting in enumerate(shown) if setting.shift == own),
        "busy": busy,
        "settings": [_position(trace, setting, known.get(setting.shift)) for setting in shown],
    }


def _position(trace: Trace, setting: Setting, found: Trace | None) -> dict[str, Any]:
    about = {
        "shift": setting.shift,
        "expected": setting.expected,
        "cost": setting.cost,
        "length": setting.length,
    }
    if found is None:
        return about
    if not np.array_equal(found.token_ids, trace.token_ids) or found.layers != trace.layers:
        raise TraceError("a dial setting is of other tokens than the run it belongs to")
    return about | {
        "death": pack(found.death),
        "margin": pack(found.margin),
        "logprob": pack(found.logprob),
        "allocated": found.meta.memory.held,
    }

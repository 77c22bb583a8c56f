"""Which token was being read when it was decided that another goes. Numpy only.

A gate is asked by the query at the step from which a token is gone, which no longer sees it. A rule
looks at a step when its query has been read: what it drops was seen by that query, and is gone from
the next step on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcp.deaths import ALIVE

if TYPE_CHECKING:
    from dcp.trace import Trace

__all__ = ["by_rule", "decided_at"]


def by_rule(trace: Trace) -> npt.NDArray[np.bool_]:
    """[L, T]: whether a rule dropped a token. It leaves no gate logit; a gate that closes does, the
    learned gates under a budget too, where both decide."""
    gone: npt.NDArray[np.bool_] = trace.death != ALIVE
    if trace.meta.policy is None:
        return np.zeros_like(gone)
    return gone & np.isnan(trace.margin)


def decided_at(trace: Trace) -> npt.NDArray[np.int32]:
    """[L, T]: the step whose token was being read when it was decided, ALIVE for who is held.

    The step of the death where a gate closed, the one before where a rule decided.
    """
    found: npt.NDArray[np.int32] = trace.death - by_rule(trace).astype(np.int32)
    return found

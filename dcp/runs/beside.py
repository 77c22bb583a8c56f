"""The tokens of one trace read again under other policies, each holding as many entries.

    found = read_beside(model, trace, ["h2o", "window"])
    found.runs["h2o"].kl, found.received

The budget of each is the one whose mean over steps is nearest to what the trace held in the mean
over steps and layers, the same in every layer. All run in the engine, entry by entry, on the
weights of the trace with its gates unused; gates beside another rule decide by their order alone,
so that they hold as much. Knows models and traces; no screens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dcp.errors import RequestError
from dcp.model.registry import OpenModel
from dcp.policies.gates import LIFT
from dcp.policies.registry import policy_of
from dcp.policies.rule import Eviction
from dcp.progress import Cancel, Progress, silent
from dcp.runs.policies import Beside, equal_budget
from dcp.runs.reader import Reader, Watch
from dcp.runs.replay import replay
from dcp.runs.rescore import check, gates_off
from dcp.trace import Trace

__all__ = ["read_beside"]


def read_beside(
    model: OpenModel,
    trace: Trace,
    policies: Sequence[str],
    *,
    progress: Progress = silent,
    cancel: Cancel | None = None,
) -> Beside:
    """``trace`` and its tokens under each of ``policies`` at equal entries.

    ``progress`` hears before each; what it raises ends the work, and ``cancel`` ends it between two
    tokens. Raises RequestError where the weights are not those of the trace; a policy that cannot
    be run on it is left out by name.
    """
    check(model, trace)
    if trace.n_queries < trace.tokens - 1:
        raise RequestError("this run was stopped before it had read its text: record it again")
    progress(0.0, "Reading again with the gates off.")
    mine = trace.meta.policy or "gates"
    runs = {mine: gates_off(model, trace)}
    left_out: dict[str, str] = {}
    for done, name in enumerate(policies, 1):
        progress(done / (len(policies) + 1), f"Reading again: {policy_of(name).title}.")
        if name == mine:
            continue
        try:
            runs[name] = gates_off(model, _under(model, trace, name, cancel))
        except RequestError as error:
            left_out[name] = str(error)
    watch = Watch(torch.tensor(trace.death))
    Reader(model, trace, gates=False).hidden(watch)
    return Beside(runs, watch.received.mean(axis=0), left_out)


def _under(model: OpenModel, trace: Trace, name: str, cancel: Cancel | None) -> Trace:
    if name == "none":
        return replay(model, trace, eviction=Eviction("none"), cancel=cancel)
    settings = policy_of(name).with_settings({})
    shift = LIFT if name == "gates" else 0.0
    chosen = Eviction(name, equal_budget(name, trace, settings), settings)
    return replay(model, trace, gate_shift=shift, eviction=chosen, cancel=cancel)

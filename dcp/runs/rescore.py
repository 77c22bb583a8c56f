"""The same tokens read again with other deaths: what pruning cost, and what one drop did.

    full = gates_off(model, trace)                      # the trace with its optional fields
    scores = rescore(model, trace, ForcedDeaths.none(L, T).keep(7))
    found = effect(model, trace, put_back(trace, 20))   # beside about 20 matched random drops

All by teacher forcing in masked forwards, many plans at once; equal to stepping with the cache
inside the float budget, which the tests show. Deaths that nobody orders stay as the trace recorded
them. Knows models and traces; no screens.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from dcp.deaths import GATE, ForcedDeaths
from dcp.errors import ModelError, RequestError
from dcp.model.checkpoint import Checkpoint
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel
from dcp.progress import Progress, silent
from dcp.runs.effects import Effect
from dcp.runs.plans import CONTROLS, HORIZON, Plan, matched
from dcp.runs.reader import Reader, Watch
from dcp.trace import Trace

__all__ = ["check", "divergence", "effect", "gates_off", "rescore"]

Floats = npt.NDArray[np.float32]


def check(model: OpenModel, trace: Trace) -> None:
    """Raise RequestError in one line unless ``trace`` was made by these weights."""
    if model.vocabulary is not None:
        raise RequestError(
            "this model has the rows of seen tokens alone: read the trace again with all of them"
        )
    made, here = trace.meta.weights_sha256, model.loaded.weights_sha256
    if made != here and not _made_without_gates(model, trace):
        raise RequestError(
            f"this trace was made by other weights ({trace.meta.model[:60]!r}, "
            f"{made[:8]}) than {model.info.name!r} here ({here[:8]}): what it kept means "
            "nothing to them; record the text again"
        )
    check_fits(model, trace)


def _made_without_gates(model: OpenModel, trace: Trace) -> bool:
    """Whether a rule made ``trace`` by these weights: it needs no gates, nor does their hash."""
    if trace.meta.policy is None or model.loaded.gates is None:
        return False
    try:
        found = Checkpoint.read(model.info.path)
        return found.sha256(gates=False) == trace.meta.weights_sha256
    except ModelError:
        return False


def check_fits(model: OpenModel, trace: Trace) -> None:
    """Raise RequestError unless ``model`` can read the tokens and has the layers of ``trace``."""
    config = model.loaded.config
    if trace.layers != config.layers:
        raise RequestError(
            f"the trace has {trace.layers} layers, model {model.info.name!r} {config.layers}"
        )
    if trace.tokens > config.context:
        raise RequestError(
            f"the trace has {trace.tokens} tokens, the context of {model.info.name!r} is "
            f"{config.context}"
        )
    if int(trace.token_ids.max()) >= config.vocab:
        raise RequestError(f"the trace has tokens that {model.info.name!r} does not know")


def rescore(model: OpenModel, trace: Trace, deaths: ForcedDeaths) -> Floats:
    """Log-prob [T] f32 of the trace's own tokens under other deaths; nan at 0.

    Where ``deaths`` says GATE, and past its end, the death is the recorded one. Raises
    RequestError.
    """
    check(model, trace)
    scores: Floats = Reader(model, trace).scores([_held(trace, deaths)])[0]
    return scores


def effect(
    model: OpenModel,
    trace: Trace,
    plan: Plan,
    *,
    n: int = CONTROLS,
    seed: int = 0,
    horizon: int = HORIZON,
    progress: Progress = silent,
) -> Effect:
    """What ``plan`` does to each later token, and what ``n`` matched random drops do.

    ``progress`` hears before each batch; what it raises ends the work. Raises RequestError.
    """
    check(model, trace)
    controls = matched(trace, plan, n=n, seed=seed, horizon=horizon)
    plans = [plan, *controls.plans]
    deaths = [trace.death, *(p.deaths(trace).death for p in plans)]
    recorded, *scores = Reader(model, trace).scores(deaths, progress)
    changes = [_change(p, score - recorded) for p, score in zip(plans, scores, strict=True)]
    rows = [
        change[p.first + 1 : p.first + 1 + controls.horizon]
        for p, change in zip(controls.plans, changes[1:], strict=True)
        if p.first is not None
    ]
    beside = np.array(rows, np.float32).reshape(len(rows), controls.horizon)
    return Effect(plan, changes[0], controls, beside)


def gates_off(model: OpenModel, trace: Trace) -> Trace:
    """The trace with ``gates_off_logprob``, ``kl`` and ``lost_attention`` filled in.

    gates_off_logprob [T]    log-prob of each token when no layer has dropped anything
    kl [T]                   KL(off || pruned) of the two predictions of token t (nats); nan at 0
    lost_attention [L, T]    share of the gates-off attention of query t, mean over heads, that sat
                             on tokens dropped by then, token 0 apart; nan where t was no query

    Token 0 soaks up attention that has nowhere else to go: where it was dropped, the mean share
    that sat on it is in ``meta.lost_attention_on_token_0`` [L]. Raises RequestError.

    >>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=2)
    >>> dcp.gates_off(dcp.open_model("dcp-mini"), run).kl.shape == (run.tokens,)
    True
    """
    check(model, trace)
    reader, dense = Reader(model, trace), Reader(model, trace, gates=False)
    watch = Watch(torch.tensor(trace.death))
    off = dense.hidden(watch)
    pruned = reader.hidden(MaskedAttend(deaths=reader.deaths([trace.death])))
    kl = dense.divergence(off, reader, pruned)
    lost = watch.lost
    lost[:, trace.n_queries :] = np.nan
    sink = watch.sink[:, : trace.n_queries]
    gone = trace.death[:, :1] <= np.arange(trace.n_queries)
    on_sink = (sink * gone).sum(axis=1) / np.maximum(gone.sum(axis=1), 1)
    return dataclasses.replace(
        trace,
        gates_off_logprob=dense.token_scores(off)[0],
        kl=kl,
        lost_attention=lost,
        meta=dataclasses.replace(
            trace.meta, lost_attention_on_token_0=tuple(float(share) for share in on_sink)
        ),
    )


def divergence(model: OpenModel, trace: Trace, other_model: OpenModel, other: Trace) -> Floats:
    """KL(trace || other) [T] f32 of two runs' predictions of the same tokens (nats); nan at 0.

    Raises RequestError unless both read the same tokens over vocabularies of one size.
    """
    check(model, trace)
    check(other_model, other)
    if not np.array_equal(trace.token_ids, other.token_ids):
        raise RequestError("the two runs read different tokens: no prediction to compare")
    if model.loaded.config.vocab != other_model.loaded.config.vocab:
        raise RequestError("the two models have different vocabularies: no prediction to compare")
    one, two = Reader(model, trace), Reader(other_model, other)
    first = one.hidden(MaskedAttend(deaths=one.deaths([trace.death])))
    second = two.hidden(MaskedAttend(deaths=two.deaths([other.death])))
    return one.divergence(first, two, second)


def _held(trace: Trace, deaths: ForcedDeaths) -> npt.NDArray[np.int32]:
    if len(deaths.death) != trace.layers:
        raise RequestError(
            f"forced deaths have {len(deaths.death)} layers, the trace {trace.layers}"
        )
    orders = deaths.death[:, : trace.tokens]
    death = trace.death.copy()
    seen = death[:, : orders.shape[1]]
    seen[orders != GATE] = orders[orders != GATE]
    return death


def _change(plan: Plan, difference: Floats) -> Floats:
    """``difference`` [T] where the plan can change anything, nan before."""
    change = difference.copy()
    change[: len(change) if plan.first is None else plan.first + 1] = np.nan
    return change

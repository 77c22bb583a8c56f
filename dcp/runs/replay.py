"""The tokens of a trace read again at another setting, or by another model: a new trace.

    replay(model, trace, gate_shift=-1.0)     # the same text, sparser
    replay(model, trace, prune=False)         # nothing is dropped
    replay(model, trace, eviction=Eviction("h2o", 40))    # another rule decides

Nothing is drawn: every token is the trace's own, and rows are kept as its run kept them
(``kv_dtype``). Knows models and traces; no screens.
"""

from __future__ import annotations

import numpy as np

from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.registry import OpenModel
from dcp.policies.rule import Eviction
from dcp.progress import Cancel
from dcp.runs.meta import meta_of_replay
from dcp.trace import Trace

__all__ = ["replay"]


def replay(
    model: OpenModel,
    trace: Trace,
    *,
    gate_shift: float = 0.0,
    prune: bool = True,
    eviction: Eviction | None = None,
    given: int | None = None,
    cancel: Cancel | None = None,
) -> Trace:
    """What ``model`` drops while it reads exactly the tokens of ``trace``.

    gate_shift  δ, added to every β; without meaning where ``prune`` is False: the gates are off
    eviction    a policy that decides in place of the gates. It meets the tokens one by one: what it
                does while a prompt is read whole would tell nothing of the text's own steps
    given       so many tokens are its prompt in place of one: for rules that act where it ends
    cancel      asked between chunks; True ends the reading with RequestError

    ``step_seconds`` is nan, ``meta.replayed`` names where the tokens came from. Raises
    RequestError where the model's tokens are other ones.
    """
    if model.vocabulary is not None:
        raise RequestError("a model with the rows of seen tokens alone cannot read a trace again")
    ids = trace.token_ids.tolist()
    if max(ids) >= model.loaded.config.vocab or model.tokenizer.decode(ids) != trace.text:
        raise RequestError(
            f"{model.info.name!r} cuts this text into other tokens than "
            f"{trace.meta.model[:60]!r}: record the text with it instead"
        )
    read = max(trace.n_queries, 1) if eviction is None else given or 1
    engine = Engine(model.loaded)
    # Read one by one, the last token is a query only where another follows: drawn, and left out.
    more = int(eviction is not None and trace.n_queries == len(ids))
    run = engine.run(
        [ids[:read]],
        new_tokens=len(ids) - read + more,
        continuations=[ids[read:]],
        gate_shift=gate_shift,
        prune=prune,
        eviction=eviction,
        cancel=cancel,
        kv_dtype=trace.meta.kv_dtype,
    )
    scores: list[float] = []
    row = None
    for step in run:
        row = step.rows[0]
        scores += row.logprobs.tolist()
    if run.interrupted or row is None:
        raise RequestError("the reading was stopped before its end")
    death, margin = run.lives(0)
    return Trace(
        token_ids=trace.token_ids,
        offsets=trace.offsets,
        death=death[:, : len(ids)],
        margin=margin[:, : len(ids)],
        # A log-softmax in float32 may round a probability of one to a hair above zero.
        logprob=np.minimum(np.asarray(scores[: len(ids)], np.float32), 0),
        step_seconds=np.full(trace.tokens, np.nan, np.float32),
        meta=meta_of_replay(
            trace.meta,
            model,
            engine,
            queries=row.queries,
            memory=row.memory,
            request=run.request,
            gate_shift=gate_shift,
            prune=prune,
            eviction=eviction,
        ),
    )

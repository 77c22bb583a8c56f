"""What the model would have written: the same text written on twice, with one token's fate changed.

    found = rewrite(model, trace, put_back(trace, token=20))
    found.as_was, found.changed           # two continuations, as pieces of text

Both begin at the same token and draw by the same seed, whose uniforms belong to positions, so what
differs is the model's doing. Unlike `dcp.runs.rescore.effect`, all other drops are left to the
gates, or to the rule of the run, which may decide otherwise once one token is back; beside a rule
it has a place of its own (`dcp.policies.ordered`). Knows models and traces; no screens.
"""

from __future__ import annotations

from dcp.deaths import ForcedDeaths
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.model.registry import OpenModel
from dcp.policies.gates import by_shift
from dcp.policies.rule import Eviction
from dcp.progress import Cancel
from dcp.runs.effects import Rewritten
from dcp.runs.plans import Plan, why_not_written
from dcp.runs.rescore import check
from dcp.trace import Trace

__all__ = ["rewrite", "where_it_writes"]

NEW_TOKENS = 40


def where_it_writes(trace: Trace, plan: Plan) -> int | None:
    """The first token that is written anew: where the model began to write, or after the drop if
    that came later; None where the plan changes nothing or the text ends with the drop's step."""
    if plan.first is None:
        return None
    begun = trace.prompt_tokens if trace.prompt_tokens < trace.tokens else trace.tokens
    return max(begun, plan.first + 1)


def rewrite(
    model: OpenModel,
    trace: Trace,
    plan: Plan,
    *,
    new_tokens: int = NEW_TOKENS,
    cancel: Cancel | None = None,
) -> Rewritten:
    """Two continuations of ``trace``, with its seed and sampling: as it was, and under ``plan``.

    Raises RequestError for other weights, a plan that changes nothing, a context that is full, what
    `why_not_written` says of the run, and where ``cancel`` ended it.
    """
    check(model, trace)
    if reason := why_not_written(trace):
        raise RequestError(reason)
    start = where_it_writes(trace, plan)
    if start is None:
        raise RequestError("this plan changes nothing: there is nothing to write anew")
    room = min(new_tokens, model.info.context - start)
    if room < 1:
        raise RequestError("the text fills the model's context: there is no room to write on")
    forced = ForcedDeaths.none(trace.layers, start).death.copy()
    fate = plan.deaths(trace).death[:, plan.token]
    forced[list(plan.layers), plan.token] = fate[list(plan.layers)]
    one = _written(model, trace, start, room, None, cancel)
    two = _written(model, trace, start, room, ForcedDeaths(forced), cancel)
    return Rewritten(start, one, two)


def _eviction(trace: Trace) -> Eviction | None:
    """The rule that decides beside or in place of the gates, as it was asked for."""
    meta, settings = trace.meta, dict(trace.meta.policy_settings or {})
    if meta.policy is None or by_shift(meta.policy, settings):
        return None
    return Eviction(meta.policy, meta.budget, settings)


def _written(
    model: OpenModel,
    trace: Trace,
    start: int,
    new: int,
    deaths: ForcedDeaths | None,
    cancel: Cancel | None,
) -> tuple[str, ...]:
    """The pieces of text of ``new`` tokens."""
    sampled, meta = trace.meta.sampling, trace.meta
    sampling = Sampling(
        sampled.temperature or 0.0,
        sampled.top_k or 0,
        1.0 if sampled.top_p is None else sampled.top_p,
        meta.seed,
    )
    ids, eviction = trace.token_ids[:start].tolist(), _eviction(trace)
    # A rule may wait for the prompt's end, so it meets the same one; a replay's is its first token.
    given = 1 if meta.replayed else min(max(trace.prompt_tokens, 1), start)
    prompt = start if eviction is None else given
    run = Engine(model.loaded).run(
        [ids[:prompt]],
        new_tokens=start - prompt + new,
        continuations=[ids[prompt:]],
        eviction=eviction,
        sampling=sampling,
        gate_shift=meta.gate_shift,
        deaths=[deaths],
        score_prompt=False,
        cancel=cancel,
        kv_dtype=meta.kv_dtype,
    )
    written: list[int] = []
    for step in run:
        if step.phase == "generate":
            written += step.rows[0].tokens.tolist()
    if run.interrupted:
        raise RequestError("writing was stopped before its end")
    return _pieces(model, ids, written[start - prompt :])


def _pieces(model: OpenModel, ids: list[int], written: list[int]) -> tuple[str, ...]:
    """Each token's own text; a character that several tokens share belongs to the last of them."""
    decode, before = model.tokenizer.decode, len(model.tokenizer.decode(ids))
    pieces = []
    for n in range(1, len(written) + 1):
        text = decode([*ids, *written[:n]])
        whole = len(text.rstrip("\ufffd"))
        pieces.append(text[before:whole])
        before = max(before, whole)
    return tuple(pieces)

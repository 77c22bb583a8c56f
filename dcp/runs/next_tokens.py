"""What a model would have said next at one step of a run: with what it had dropped, and without.

    found = next_tokens(model, trace, step=130)
    found.candidates[0].text, found.candidates[0].pruned, found.candidates[0].full

The model reads the tokens up to the step twice: under the deaths that the trace recorded, and with
nothing dropped. Probabilities are the model's own, before temperature. Knows no screens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcp.errors import RequestError
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel
from dcp.runs.reader import Reader
from dcp.runs.rescore import check
from dcp.trace import Trace

__all__ = ["Candidate", "NextTokens", "next_tokens"]


@dataclass(frozen=True)
class Candidate:
    """A token that could have come next.

    text          as it reads after the text so far, its leading space included
    pruned, full  its probability with what was dropped by then, and with nothing dropped
    """

    token: int
    text: str
    pruned: float
    full: float


@dataclass(frozen=True)
class NextTokens:
    """The likeliest tokens after ``step``, by the larger of both probabilities.

    drawn  the token that the run has there, None after its end; ``ranks`` of it among all tokens
           (0 is the likeliest), pruned and full
    kl     KL(full || pruned) of the two predictions (nats)
    """

    step: int
    candidates: tuple[Candidate, ...]
    drawn: Candidate | None
    ranks: tuple[int, int] | None
    kl: float


@torch.inference_mode()
def next_tokens(model: OpenModel, trace: Trace, step: int, most: int = 8) -> NextTokens:
    """The predictions after query ``step``; ``most`` of the likeliest of each. Raises RequestError.

    >>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=2)
    >>> len(next_tokens(dcp.open_model("dcp-mini"), run, 3).candidates) >= 8
    True
    """
    check(model, trace)
    if not 0 <= step < trace.n_queries:
        raise RequestError(f"step {step} is not one of the run's {trace.n_queries} steps")
    readers = Reader(model, trace), Reader(model, trace, gates=False)
    reader = readers[0]
    ids, positions = reader.ids[None, : step + 1], reader.positions[None, : step + 1]
    # Deaths after the step change nothing that the step sees.
    masks = (
        MaskedAttend(deaths=reader.deaths([trace.death[:, : step + 1]])),
        MaskedAttend(prune=False),
    )
    pruned, full = (
        each.transformer.head(each.transformer.hidden(ids, positions, mask, gated=False)[0, -1:])[0]
        .double()
        .log_softmax(-1)
        .cpu()
        for each, mask in zip(readers, masks, strict=True)
    )
    kl = float((full.exp() * (full - pruned)).sum().clamp(min=0))
    likely = sorted({*pruned.topk(most).indices.tolist(), *full.topk(most).indices.tolist()})
    likely.sort(key=lambda i: -max(float(pruned[i]), float(full[i])))
    before = model.tokenizer.decode(trace.token_ids[: step + 1].tolist())

    def candidate(token: int) -> Candidate:
        read = model.tokenizer.decode([*trace.token_ids[: step + 1].tolist(), token])
        text = read[len(before) :] if read.startswith(before) else read[-1:]
        return Candidate(token, text, float(pruned[token].exp()), float(full[token].exp()))

    drawn = ranks = None
    if step + 1 < trace.tokens:
        token = int(trace.token_ids[step + 1])
        drawn = candidate(token)
        ranks = (int((pruned > pruned[token]).sum()), int((full > full[token]).sum()))
    return NextTokens(step, tuple(map(candidate, likely)), drawn, ranks, kl)

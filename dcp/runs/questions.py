"""A question typed under a text: what rules that hear it keep, beside what a run kept.

    found = read_for(model, trace, "Who was the first keeper?")
    found.beside.runs["citrus-shared"].visible(found.step)

The tokens of the trace are read under each form of CItruS; then the question is read and votes, and
what it votes for stays: as many entries a layer as the trace held there. The question leaves none
of its own. Knows models and traces; no screens. Source: Bai et al., 2024, arXiv 2406.12018.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.model.registry import OpenModel
from dcp.policies.citrus import budget_keeping
from dcp.policies.registry import POLICIES, policy_of
from dcp.policies.rule import Eviction, Value
from dcp.progress import Cancel, Progress, silent
from dcp.runs.policies import Asked, Beside
from dcp.runs.reader import Reader, Watch
from dcp.runs.replay import replay
from dcp.runs.rescore import check, gates_off
from dcp.trace import Trace

__all__ = ["FORMS", "read_for"]

FORMS = tuple(name for name, policy in POLICIES.items() if policy.instructed != "no")
"""The rules that hear a question."""

_FEWEST = 8


def read_for(
    model: OpenModel,
    trace: Trace,
    question: str,
    *,
    progress: Progress = silent,
    cancel: Cancel | None = None,
) -> Asked:
    """``trace`` and its tokens under every form that hears ``question``.

    ``progress`` hears before each; what it raises ends the work, and ``cancel`` ends it between two
    tokens. Raises RequestError for weights that are not those of the trace, a question without
    words, or one that does not fit into the context behind the text.
    """
    check(model, trace)
    if not question.strip():
        raise RequestError("there is no question: type one")
    if trace.n_queries < max(trace.tokens - 1, _FEWEST):
        raise RequestError(
            f"a question needs a text of {_FEWEST} tokens or more that was read to its end"
        )
    heard = model.tokenizer.encode(question).ids.tolist()
    step, context = trace.n_queries - 1, model.loaded.config.context
    if trace.tokens + 1 + len(heard) > context:
        raise RequestError(
            f"the question has {len(heard)} tokens and the text {trace.tokens}: more than the "
            f"context of {context}; shorten one of them"
        )
    progress(0.0, "Reading again with the gates off.")
    runs = {trace.meta.policy or "gates": gates_off(model, trace)}
    # The step's own entry is there whatever was voted for.
    kept = max(1, round(float(trace.held()[:, step].mean())) - 1)
    settings: dict[str, Value] = {"chunk": 256, "instruction": question}
    chosen = {
        name: Eviction(
            name, budget_keeping(kept), policy_of(name).with_settings(settings), tuple(heard)
        )
        for name in FORMS
        if name not in runs
    }
    for done, (name, eviction) in enumerate(chosen.items(), 1):
        progress(done / (len(chosen) + 1), f"Reading for the question: {policy_of(name).title}.")
        read = replay(model, trace, eviction=eviction, given=step, cancel=cancel)
        runs[name] = gates_off(model, read)
    watch = Watch(torch.tensor(trace.death))
    Reader(model, trace, gates=False).hidden(watch)
    beside = Beside(runs, watch.received.mean(axis=0))
    return Asked(beside, question, _attention(model, trace, heard))


@torch.inference_mode()
def _attention(model: OpenModel, trace: Trace, heard: list[int]) -> npt.NDArray[np.float32]:
    """[L, T]: what the question's tokens attend to when nothing is dropped."""
    ids = [*trace.token_ids[: trace.n_queries].tolist(), *heard]
    transformer = model.loaded.dense.transformer
    device = next(transformer.parameters()).device
    received = []
    for tokens in (ids[: trace.n_queries], ids):
        watch = Watch(torch.full((trace.layers, len(tokens)), ALIVE))
        row = torch.tensor([tokens], device=device)
        positions = torch.arange(len(tokens), device=device)[None]
        transformer.hidden(row, positions, watch, gated=False)
        received.append(watch.received[:, : trace.n_queries])
    # The text's own queries are the same in both: what is left is the question's.
    found = np.zeros((trace.layers, trace.tokens), np.float32)
    found[:, : trace.n_queries] = np.maximum(received[1] - received[0], 0) / len(heard)
    return found

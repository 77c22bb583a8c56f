"""A `Trace` of the last run of a pruned `transformers` model, as if the engine had made it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from dcp import __version__
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.hf.state import pruning_of, weights_hash
from dcp.kernels.row_bytes import entry_bytes, row_bytes
from dcp.text.encoding import Encoding
from dcp.text.tokens import Tokenizer
from dcp.trace import Trace
from dcp.trace.meta import Memory, Meta, SampledWith

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["trace"]


def trace(
    model: PreTrainedModel, tokenizer: Any, *, row: int = 0, prompt_tokens: int | None = None
) -> Trace:
    """What each layer dropped in sequence ``row`` of the last call of ``model``.

    tokenizer      the `transformers` tokenizer (a fast one) that made the ids
    prompt_tokens  how many of the tokens were given rather than drawn; all by default

    Every token that was read is in it; the one drawn last was not. Log-probabilities are nan where
    ``generate()`` saw no logits: inside the prompt. Raises RequestError before the first call.
    """
    state = pruning_of(model)
    if state is None or state.rows is None:
        raise RequestError("there is no run to trace: prune the model and call it first")
    rows = state.rows
    if not 0 <= row < len(rows.ids):
        raise RequestError(f"there is no sequence {row}: the last call had {len(rows.ids)}")
    if rows.reading:
        raise RequestError("the last call was cut off in the middle: call the model again")
    ids = rows.ids[row]
    count = len(ids)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise RequestError("give the fast tokenizer of the model (AutoTokenizer.from_pretrained)")
    empty = Encoding("", np.zeros(0, np.int32), np.zeros((0, 2), np.int32))
    stream = Tokenizer(_copied(backend)).stream(empty)
    stream.append(ids)
    death = rows.death[row][:, :count].copy()
    death[death >= count] = ALIVE
    margin = np.full((state.config.layers, state.config.context), np.nan, np.float32)
    rows.cache.margins(row, margin)
    margin = margin[:, :count]
    # No query has judged the token that was read last.
    margin[:, -1:] = np.nan
    if state.gates is not None:
        known = rows.margin[row][:, :count]
        margin = np.where(death != ALIVE, known, margin).astype(np.float32)
    logprob = np.full(count, np.nan, np.float32)
    # A model without a head scores nothing.
    logprob[1 : len(rows.scores[row])] = np.minimum(rows.scores[row][1:], 0)
    prompt = count if prompt_tokens is None else prompt_tokens
    memory, config = rows.cache.memory(row), state.config
    shape = (config.kv_heads, config.head_dim, rows.dtype)
    entry = entry_bytes(*shape)
    return Trace(
        token_ids=np.asarray(ids, np.int32),
        offsets=stream.offsets,
        death=death,
        margin=margin,
        logprob=logprob,
        step_seconds=np.full(count, np.nan, np.float32),
        meta=Meta(
            text=stream.text,
            prompt_tokens=prompt,
            n_queries=count,
            model=state.name,
            weights_sha256=weights_hash(model),
            gate_shift=float(state.gate_shift),
            seed=0,
            sampling=SampledWith(),
            dtype=str(rows.dtype).removeprefix("torch."),
            device=model.device.type,
            impl="transformers",
            versions={
                "dcp": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "transformers": transformers.__version__,
                "numpy": np.__version__,
            },
            memory=Memory(
                memory.live, memory.held, memory.peak, count * config.layers * entry,
                row_bytes(*shape, state.interaction) - 8, entry,
            ),
            context=config.context,
            threads=torch.get_num_threads(),
            policy=state.policy if state.evicts else None,
            budget=state.budget,
            policy_settings=dict(state.settings) if state.evicts else None,
        ),
    )  # fmt: skip


def _copied(backend: Any) -> Any:
    """Ours switches truncation and padding off: the caller's must not hear of it."""
    import tokenizers

    return tokenizers.Tokenizer.from_str(backend.to_str())

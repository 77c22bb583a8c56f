"""Rows of the vocabulary that a text uses: what leaving the others out saves, and what it costs.

Reads a checkpoint's JSON alone. Source: Williams and Aletras, 2023, arXiv 2309.08708.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcp.errors import DcpError
from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import ModelInfo
from dcp.trace import Trace

__all__ = ["COSTS", "Rows", "rows_of"]

_BYTES = {"float32": 4, "bfloat16": 2}

COSTS = (
    "Keys, gates and drops stay those of the whole model. The softmax is over the rows kept, so "
    "log-probabilities are higher than the whole model's and perplexities cannot be set against "
    "it; no other token can be written."
)


@dataclass(frozen=True)
class Rows:
    """The rows of embedding and head of the model that made a trace.

    of, seen   ids of the vocabulary, and those that the text uses, those that end a text included
    row        bytes of one row of one matrix
    tied       embedding and head are one matrix
    left_out   the run had the rows seen alone
    """

    of: int
    seen: int
    row: int
    tied: bool
    left_out: bool

    @property
    def whole(self) -> int:
        """Bytes of both matrices, or of the one that they are."""
        return self.of * self.row * (1 if self.tied else 2)

    @property
    def input_saves(self) -> int:
        """Bytes saved by leaving input rows out while the head stays whole."""
        return 0 if self.tied else (self.of - self.seen) * self.row

    @property
    def both_save(self) -> int:
        """Bytes saved where only tokens seen may be written too."""
        return (self.of - self.seen) * self.row * (1 if self.tied else 2)


def rows_of(trace: Trace, info: ModelInfo | None) -> Rows | None:
    """Of a trace that a bundled model made; None of others, and of weights in blocks."""
    each = _BYTES.get(trace.meta.dtype)
    if info is None or each is None or info.name != trace.meta.model:
        return None
    try:
        checkpoint = Checkpoint.read(info.path)
        config, stops = checkpoint.config, checkpoint.stop_ids
    except DcpError:
        return None
    used = trace.token_ids[: trace.prompt_tokens] if trace.meta.vocabulary else trace.token_ids
    ends = np.array([token for token in stops if token < config.vocab], np.int32)
    seen = len(np.unique(np.concatenate([used, ends])))
    if int(used.max()) >= config.vocab:
        return None
    left_out = trace.meta.vocabulary is not None
    return Rows(config.vocab, seen, config.width * each, config.tied, left_out)

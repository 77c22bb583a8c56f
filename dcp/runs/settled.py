"""At which layer a prediction was settled, and where three measures of confidence would have left.

    full = settle(model, trace, threshold=0.9)          # the trace with ``settled`` and ``exits``
    depths(model, trace).exits(0.7)                     # the same at another threshold

The logits of a layer are the final norm and the head on its output, as in CALM. An overlay: every
layer is computed, nothing is skipped and nothing gets faster, so no state has to be handed down to
skipped layers; a model that really left early would read other keys and values from there on.

Source: Schuster et al., 2022, Confident Adaptive Language Modeling, arXiv 2207.07061, section 3.
Knows models and traces; no screens.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.errors import RequestError
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel
from dcp.progress import Progress, silent
from dcp.runs.reader import Reader
from dcp.runs.rescore import check
from dcp.trace import Trace

__all__ = ["MEASURES", "THRESHOLD", "Depths", "depths", "settle"]

MEASURES = ("softmax_max", "softmax_diff", "state")
"""Confidence of a layer: its largest probability; the lead over the second; the cosine between its
output and that of the layer before (of the first layer 0: it is never left by it)."""

THRESHOLD = 0.9

_LOGITS_AT_ONCE = 2**24

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Depths:
    """What each layer would have said at each step of a trace of Q queries.

    agree [L, Q] bool             whether its most likely token is that of the last layer
    confidence [3, L, Q] float32  by ``MEASURES``
    tokens                        T of the trace
    """

    agree: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]
    tokens: int

    @property
    def first(self) -> Ints:
        """[T] int32: the first layer that agrees (CALM's oracle); -1 where a token was no query."""
        return self._padded(self.agree.argmax(axis=0))

    @property
    def settled(self) -> Ints:
        """[T] int32: the layer from which on all agree; -1 where a token was no query."""
        last_other = np.where(self.agree, -1, np.arange(len(self.agree))[:, None]).max(axis=0)
        return self._padded(last_other + 1)

    def exits(self, threshold: float) -> Ints:
        """[3, T] int32: the first layer whose confidence reaches ``threshold``, else the last."""
        if not 0 <= threshold <= 1:
            raise RequestError(f"an exit threshold is from 0 to 1, not {threshold}")
        sure = self.confidence >= threshold
        sure[:, -1] = True
        return self._padded(sure.argmax(axis=1))

    def _padded(self, layers: npt.NDArray[np.int64]) -> Ints:
        found = np.full((*layers.shape[:-1], self.tokens), -1, np.int32)
        found[..., : layers.shape[-1]] = layers
        return found


def settle(
    model: OpenModel, trace: Trace, threshold: float = THRESHOLD, progress: Progress = silent
) -> Trace:
    """The trace with ``settled``, ``exits`` at ``threshold`` and ``meta.exit_threshold``.

    The tokens are read once more under the trace's own deaths. Raises RequestError for a threshold
    outside 0 … 1, or other weights than the trace's.
    """
    if not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise RequestError(f"an exit threshold is from 0 to 1, not {threshold}")
    found = depths(model, trace, progress)
    return dataclasses.replace(
        trace,
        settled=found.settled,
        exits=found.exits(threshold),
        meta=dataclasses.replace(trace.meta, exit_threshold=float(threshold)),
    )


@torch.inference_mode()
def depths(model: OpenModel, trace: Trace, progress: Progress = silent) -> Depths:
    """Read the tokens of ``trace`` under its deaths and ask every layer. Raises RequestError."""
    check(model, trace)
    reader, queries = Reader(model, trace), trace.n_queries
    transformer, layers = reader.transformer, trace.layers
    deaths = reader.deaths([trace.death[:, :queries]])
    told = np.zeros((layers, queries), np.int64)
    confidence = np.zeros((len(MEASURES), layers, queries), np.float32)
    before: Tensor | None = None
    states = transformer.states(
        reader.ids[None, :queries],
        reader.positions[None, :queries],
        reader.kept(MaskedAttend(deaths=deaths)),
        gated=False,
    )
    step = max(1, _LOGITS_AT_ONCE // transformer.config.vocab)
    for layer, state in enumerate(states):
        progress(layer / layers, f"layer {layer}")
        for start in range(0, queries, step):
            part = slice(start, start + step)
            logits = transformer.head(transformer.norm(state[0, part])).float()
            told[layer, part] = logits.argmax(dim=-1).cpu().numpy()
            top = logits.softmax(dim=-1).topk(2, dim=-1).values.cpu().numpy()
            confidence[0, layer, part] = top[:, 0]
            confidence[1, layer, part] = top[:, 0] - top[:, 1]
        if before is not None:
            alike = torch.nn.functional.cosine_similarity(before, state[0].float(), dim=-1)
            confidence[2, layer] = alike.cpu().numpy()
        before = state[0].float()
    return Depths(told == told[-1], confidence, trace.tokens)

"""The cache that a pruned `transformers` model writes to: our rows behind its layers.

`transformers` sees a `Cache` whose layers say how many tokens they have seen. The rows themselves
lie in a cache of `dcp.model`, each layer of each sequence with a length of its own, and are freed
when a token is dropped. Padding is never a row. Knows hooks and models not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.kernels.gates import Gates
from dcp.model.cached import CachedAttention

__all__ = ["ForgettingLayer", "Rows", "forgetting_cache", "rows_of"]

# Queries of a prompt that are read at once, compaction between.
_CHUNK = 128

Make = Callable[[int], CachedAttention]
"""batch size -> an empty cache for so many sequences."""


class Rows:
    """The rows of B sequences, and what became of every token.

    ids      [B] lists: tokens read so far, padding left out
    death    [B] of [L, context] int32; margin: the gate logit at each death, float32
    scores   [B] lists: log-probability of each token where its logits were seen, nan elsewhere
    """

    def __init__(self, make: Make, layers: int, context: int) -> None:
        self._make, self._layers, self._context = make, layers, context
        self._cache: CachedAttention | None = None
        self._places: list[Tensor] = []
        self._length = 0
        self.padded = 0
        self.ids: list[list[int]] = []
        self.scores: list[list[float]] = []
        self.death: list[npt.NDArray[np.int32]] = []
        self.margin: list[npt.NDArray[np.float32]] = []
        self.last: Tensor | None = None

    @property
    def cache(self) -> CachedAttention:
        """Where the rows lie; RequestError before anything has been read."""
        if self._cache is None:
            raise RequestError("nothing has been read yet: call the model first")
        return self._cache

    def begin(self, ids: Tensor, mask: Tensor | None) -> None:
        """Say what the next forward reads: ids [B, T], mask [B, seen + T] or None, 1 for tokens."""
        batch, length = ids.shape
        if self._cache is None:
            self._cache = self._make(batch)
            self.ids = [[] for _ in range(batch)]
            self.scores = [[] for _ in range(batch)]
            shape = (self._layers, self._context)
            self.death = [np.full(shape, ALIVE, dtype=np.int32) for _ in range(batch)]
            self.margin = [np.full(shape, np.nan, dtype=np.float32) for _ in range(batch)]
        elif batch != len(self.ids):
            raise RequestError(f"this cache holds {len(self.ids)} sequences, not {batch}")
        own = torch.ones_like(ids, dtype=torch.bool)
        if mask is not None:
            own = mask[:, -length:].to(torch.bool)
        self._length = length
        self._places = [row.nonzero()[:, 0] for row in own]
        for row, places in enumerate(self._places):
            first = len(self.ids[row])
            if first + len(places) > self._context:
                raise RequestError(
                    f"{first + len(places)} tokens do not fit the context of {self._context}"
                )
            self.ids[row] += ids[row, places].tolist()

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, gates: Gates | None) -> Tensor:
        """q [B, T, H, d], k and v [B, T, H_kv, d], gates of [B, T, r] -> [B, T, H, d]; 0 where
        there is padding."""
        out = torch.zeros_like(q)
        for row, places in enumerate(self._places):
            first = len(self.ids[row]) - len(places)
            for at in range(0, len(places), _CHUNK):
                part = places[at : at + _CHUNK]
                self.cache.begin([(row, first + at, first + at + len(part))])
                given = None
                if gates is not None:
                    q_int, k_int = gates.q_int[row, part], gates.k_int[row, part]
                    given = Gates(q_int[None], k_int[None], gates.beta)
                read = self.cache(
                    layer, q[row, part][None], k[row, part][None], v[row, part][None], given
                )
                out[row, part] = read[0].to(out.dtype)
        if layer == self._layers - 1:
            self._take_drops()
        return out

    def end(self) -> None:
        """The forward is over: only now are its tokens seen, for positions count from them."""
        self.padded += self._length

    def told(self, logits: Tensor) -> None:
        """Note how likely the tokens were: logits [B, kept, V] of the last positions read."""
        kept, length = logits.shape[1], self._length
        for row, places in enumerate(self._places):
            scores, ids = self.scores[row], self.ids[row]
            begun = len(ids) - len(places)
            # The first token just read was foretold by the call before, the others by this one.
            for at in range(len(scores), len(ids)):
                before = places[at - begun - 1] - (length - kept) if at > begun else None
                if before is not None and before >= 0:
                    scores.append(float(logits[row, before].float().log_softmax(-1)[ids[at]]))
                elif before is None and self.last is not None:
                    scores.append(float(self.last[row].log_softmax(-1)[ids[at]]))
                else:
                    scores.append(math.nan)
        self.last = logits[:, -1].float().detach()

    def select(self, rows: Sequence[int]) -> None:
        """Keep these sequences, in this order; one may be taken twice."""
        if self._cache is None:
            return
        made = self._make(len(rows))
        for new, old in enumerate(rows):
            made.copy_row(new, self._cache, old)
        self._cache = made
        self.ids = [list(self.ids[row]) for row in rows]
        self.scores = [list(self.scores[row]) for row in rows]
        self.death = [self.death[row].copy() for row in rows]
        self.margin = [self.margin[row].copy() for row in rows]
        if self.last is not None:
            self.last = self.last[list(rows)]

    def _take_drops(self) -> None:
        for row, death in enumerate(self.death):
            drops = self.cache.take_drops(row)
            death[drops.layer, drops.position] = drops.step
            self.margin[row][drops.layer, drops.position] = drops.margin


class ForgettingLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of the cache, as `transformers` knows it. It counts tokens seen, not rows held."""

    is_compileable = False
    is_croppable = False
    is_sliding = False

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Rows make their own memory."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The new keys and values as they are: the attention function hands them on."""
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.rows.padded

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.rows.padded + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        raise RequestError(
            "a pruned cache cannot be reset: make a new one with dcp.hf.cache(model)"
        )

    def crop(self, max_length: int) -> None:
        raise RequestError(
            "a pruned cache cannot take tokens back, so assisted decoding does not work with it"
        )

    def reorder_cache(self, beam_idx: Tensor) -> None:
        # All layers share one set of rows, which the first of them moves.
        if self is self.rows_layer:
            self.rows.select(beam_idx.tolist())

    def batch_select_indices(self, indices: Tensor) -> None:
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self is self.rows_layer:
            count = len(self.rows.ids)
            self.rows.select([row for row in range(count) for _ in range(repeats)])

    rows_layer: ForgettingLayer


def forgetting_cache(rows: Rows, layers: int) -> Cache:
    """A `transformers` cache over ``rows``."""
    made = [ForgettingLayer(rows) for _ in range(layers)]
    for layer in made:
        layer.rows_layer = made[0]
    return Cache(layers=made)


def rows_of(found: Any) -> Rows | None:
    """The rows behind a `transformers` cache of ours, None for any other."""
    layers = getattr(found, "layers", None)
    first = layers[0] if layers else None
    return first.rows if isinstance(first, ForgettingLayer) else None

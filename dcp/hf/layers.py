"""The cache as `transformers` knows it: layers that say how many tokens they have seen.

All layers share one set of `dcp.hf.rows.Rows`, which hold fewer. Knows hooks and models not at all.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from dcp.errors import RequestError
from dcp.hf.rows import Rows

__all__ = ["ForgettingLayer", "forgetting_cache", "rows_of"]


class ForgettingLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer. What is done to the first is done to the rows, and so to all."""

    is_compileable = False
    is_croppable = False
    is_sliding = False

    def __init__(self, rows: Rows, first: bool) -> None:
        super().__init__()
        self.rows, self.first = rows, first
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Rows make their own memory."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The new keys and values as they are: the attention function hands them on."""
        if not self.rows.reading:
            raise RequestError(
                "this cache belongs to a pruned model, and this model is not pruned: leave "
                "past_key_values out, or call dcp.hf.prune first"
            )
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.rows.padded

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.rows.padded + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        if self.first:
            self.rows.clear()

    def crop(self, tokens_to_remove: int) -> None:
        raise RequestError(
            "a pruned cache cannot take tokens back, so assisted decoding does not work with it: "
            "leave assistant_model and prompt_lookup_num_tokens out"
        )

    def reorder_cache(self, beam_idx: Tensor) -> None:
        if self.first:
            self.rows.select(beam_idx.tolist())

    def batch_select_indices(self, indices: Tensor) -> None:
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.first:
            count = len(self.rows.ids)
            self.rows.select([row for row in range(count) for _ in range(repeats)])


def forgetting_cache(rows: Rows) -> Cache:
    """A `transformers` cache over ``rows``."""
    return Cache(layers=[ForgettingLayer(rows, not i) for i in range(rows.home.layers)])


def rows_of(found: Any) -> Rows | None:
    """The rows behind a `transformers` cache of ours, None for any other."""
    layers = getattr(found, "layers", None)
    first = layers[0] if layers else None
    return first.rows if isinstance(first, ForgettingLayer) else None

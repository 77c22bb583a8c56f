"""A pruned prompt as one safetensors file, to go on from later: rows, positions, deaths.

Rows keep their order, so that what follows is the same to the bit. The file names the weights that
made it and is refused by others. No pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from dcp.errors import RequestError
from dcp.hf.layers import forgetting_cache, rows_of
from dcp.hf.rows import Rows
from dcp.hf.state import pruning_of, weights_hash
from dcp.model.cached import CachedAttention
from dcp.trace.file import write

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache

__all__ = ["load_cache", "save_cache"]

_FORMAT = 1
_PARTS = ("k", "v", "k_int", "positions", "margins")


def save_cache(model: PreTrainedModel, cache: Cache, path: str | os.PathLike[str]) -> None:
    """Write what ``cache`` holds after a call of the pruned ``model``, whole or not at all.

    Raises RequestError for a cache that is not ours, that is empty, or that a policy other than the
    gates alone decides about: its memory is not kept.
    """
    from safetensors.torch import save

    state, rows = pruning_of(model), rows_of(cache)
    if state is None or rows is None:
        raise RequestError("this is no cache of a pruned model: make one with dcp.hf.cache(model)")
    if state.policy != "gates" or state.budget is not None:
        raise RequestError("only a cache of the gates alone can be saved, not one of a policy")
    if not hasattr(rows.cache, "rows"):
        raise RequestError("rows on a GPU are not saved: prune with impl='cpu', and read it again")
    if rows.reading:
        raise RequestError(
            "the last call on this cache was cut off in the middle: nothing is saved"
        )
    tensors: dict[str, torch.Tensor] = {}
    for row, death in enumerate(rows.death):
        tensors[f"{row}.ids"] = torch.tensor(rows.ids[row], dtype=torch.int64)
        tensors[f"{row}.scores"] = torch.tensor(rows.scores[row], dtype=torch.float64)
        seen = len(rows.ids[row])
        tensors[f"{row}.death"] = torch.from_numpy(death[:, :seen].copy())
        tensors[f"{row}.margin"] = torch.from_numpy(rows.margin[row][:, :seen].copy())
        for layer, slots in enumerate(rows.cache.rows(row)):
            for part, value in zip(_PARTS, slots.filled(), strict=True):
                whole = value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
                tensors[f"{row}.{layer}.{part}"] = whole.contiguous()
    if rows.last is not None:
        tensors["last"] = rows.last.contiguous()
    meta = {
        "format": _FORMAT,
        "weights_sha256": weights_hash(model),
        "gate_shift": state.gate_shift,
        "sequences": len(rows.ids),
        "padded": rows.padded,
    }
    write(path, save(tensors, {"meta": json.dumps(meta)}))


def load_cache(model: PreTrainedModel, path: str | os.PathLike[str]) -> Cache:
    """The cache that `save_cache` wrote, for ``past_key_values`` of the next call.

    Raises RequestError for another model's file, another gate shift, or a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    try:
        with safe_open(Path(path), "pt") as file:
            meta: dict[str, Any] = json.loads((file.metadata() or {})["meta"])
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        batch, version = int(meta["sequences"]), meta["format"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as wrong:
        raise RequestError(f"{path} is not a saved cache: {wrong}") from None
    if version != _FORMAT:
        raise RequestError(f"{path} has cache format {version!r}; this reads {_FORMAT}")
    if meta.get("weights_sha256") != weights_hash(model):
        raise RequestError(f"{path} was made by other weights or gates than this model's")
    if meta.get("gate_shift") != state.gate_shift:
        raise RequestError(
            f"{path} was made at gate shift {meta.get('gate_shift')}, not {state.gate_shift}"
        )
    rows = Rows(state.home)
    try:
        if state.impl == "triton":
            raise RequestError("rows are not loaded onto a GPU: prune with impl='cpu'")
        rows.start([len(found[f"{row}.ids"]) for row in range(batch)], model.dtype)
        for row in range(batch):
            rows.ids[row] = found[f"{row}.ids"].tolist()
            rows.scores[row] = found[f"{row}.scores"].tolist()
            seen = len(rows.ids[row])
            rows.death[row][:, :seen] = found[f"{row}.death"].numpy()
            rows.margin[row][:, :seen] = found[f"{row}.margin"].numpy()
            # Only the CPU's cache comes here, see above.
            held = cast(CachedAttention, rows.cache).rows(row)
            for layer, slots in enumerate(held):
                k, v, k_int, positions, margins = (found[f"{row}.{layer}.{p}"] for p in _PARTS)
                _check(slots, k, v, k_int, positions, margins, seen)
                slots.fill(k, v, k_int, positions.numpy(), margins.numpy())
        rows.padded = int(meta["padded"])
    except (KeyError, TypeError, ValueError, IndexError) as wrong:
        raise RequestError(f"{path} is damaged: {wrong}") from None
    rows.last = found.get("last")
    return forgetting_cache(rows)


def _check(slots: Any, k: Any, v: Any, k_int: Any, positions: Any, margins: Any, seen: int) -> None:
    kv_heads, head_dim, interaction = slots.shape
    count = len(positions)
    shapes = [tuple(part.shape) for part in (k, v, k_int, margins)]
    wanted = [(count, kv_heads, head_dim)] * 2 + [(count, interaction), (count,)]
    if shapes != wanted or (k.dtype, v.dtype) != (slots.dtype, slots.dtype):
        raise ValueError("its rows are of another shape or type")
    places = positions.numpy()
    if len(np.unique(places)) != count or (count and not 0 <= places.min() <= places.max() < seen):
        raise ValueError("its rows are at positions that were not read")

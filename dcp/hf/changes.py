"""What an adapter changes of its base's weights: put into a `transformers` model, and taken out.

Knows nothing of gates or hooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dcp.errors import ModelError
from dcp.model.checkpoint import DELTA
from dcp.model.config import ModelConfig
from dcp.model.low_rank import is_low_rank, low_rank_names
from dcp.model.names import to_hf_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["changes_in", "fitting", "put", "take_out"]


def changes_in(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of dcp.safetensors -> what is to be added to parameters of the model, float32, by
    their names in `transformers`. Raises ModelError for half a pair, or what is not finite."""
    found = {n.removeprefix(DELTA): t.float() for n, t in tensors.items() if n.startswith(DELTA)}
    ours = {
        name: tensors[theirs].float()
        for name, theirs in low_rank_names(config.layers)
        if theirs in tensors
    }
    if len(ours) != sum(map(is_low_rank, tensors)):
        raise ModelError("the low-rank changes of this adapter are of another model")
    added = {}
    for matrix in sorted({name.rpartition(".low.")[0] for name in ours}):
        a, b = (ours.get(f"{matrix}.low.{part}") for part in "ab")
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
            raise ModelError(f"the low-rank change of {matrix} does not fit its matrix")
        added[f"{matrix}.weight"] = b @ a
    for name, whole in to_hf_names(added, config).items():
        found[name] = found[name] + whole if name in found else whole
    if wrong := [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]:
        raise ModelError(f"what is added to {wrong[0]} holds numbers that are not finite")
    return found


def fitting(model: PreTrainedModel, changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``changes`` by the names of the model's own parameters. Raises ModelError where one does not
    fit."""
    parameters = dict(model.named_parameters())
    found = {}
    for name, change in changes.items():
        # GPT-2's files come with and without the prefix.
        known = name if name in parameters else f"transformer.{name}"
        if known not in parameters or parameters[known].shape != change.shape:
            raise ModelError(f"this model has no {name} of shape {tuple(change.shape)}")
        found[known] = change
    return found


def put(model: PreTrainedModel, changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add what is `fitting`; returns the tensors that were there."""
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].data for name in changes}
    for name, whole in before.items():
        more = changes[name].to(whole.device)
        parameters[name].data = (whole.float() + more).to(whole.dtype)
    return before


def take_out(model: PreTrainedModel, before: Mapping[str, Tensor]) -> None:
    """Give the parameters what they were."""
    parameters = dict(model.named_parameters())
    for name, whole in before.items():
        parameters[name].data = whole

"""What `prune` adds to a model while it forgets: gates, settings, and the rows of the last call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from dcp.errors import RequestError
from dcp.hf.gates import LayerGates
from dcp.hf.rows import Rows
from dcp.kernels import api
from dcp.kernels.gates import Gates
from dcp.model.cached import CachedAttention
from dcp.model.config import ModelConfig
from dcp.model.evicting import EvictingAttention
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, uniform_budget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MARK", "Pruning", "pruning_of", "weights_hash"]

MARK = "_dcp_pruning"
"""The attribute of a model that holds its `Pruning`."""


@dataclass(eq=False)
class Pruning:
    """What is added to one model while it forgets."""

    config: ModelConfig
    gates: list[LayerGates] | None
    gate_shift: float
    policy: str
    budget: int | None
    settings: Mapping[str, str | float | int]
    attention: str
    name: str
    dtype: torch.dtype
    hooks: list[Any] = field(default_factory=list)
    rows: Rows | None = None
    sha256: str = ""
    ready: dict[int, Gates | None] = field(default_factory=dict)

    def new_rows(self) -> Rows:
        return Rows(self.empty_cache, self.config.layers, self.config.context)

    def empty_cache(self, batch: int) -> CachedAttention:
        config, limits = self.config, [self.config.context] * batch
        interaction = self.gates[0].interaction if self.gates else 0
        common: dict[str, Any] = {
            "interaction": interaction,
            "gate_shift": self.gate_shift,
            "deaths": [None] * batch,
        }
        kernels = api.kernels("cpu")
        if self.policy == "gates" and self.budget is None:
            return CachedAttention(config, kernels, self.dtype, limits, **common)
        policy, tokens = policy_of(self.policy), config.context
        budget = uniform_budget(self.budget or tokens, config.layers, tokens)
        rules = [
            policy.start(Setup(1, config.layers, tokens, 1, budget), self.settings)
            for _ in range(batch)
        ]
        return EvictingAttention(
            config, kernels, self.dtype, limits, policy=policy, rules=rules, **common
        )


def pruning_of(model: Any) -> Pruning | None:
    """What `prune` added to ``model``, or None."""
    return getattr(model, MARK, None)


def weights_hash(model: PreTrainedModel) -> str:
    """sha256 of the model's parameters and buffers, by name; not that of a file."""
    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    if not state.sha256:
        found = hashlib.sha256()
        for name, tensor in sorted(model.state_dict().items()):
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        for gate in state.gates or ():
            for part in (gate.q_int, gate.k_int, gate.beta):
                found.update(part.contiguous().numpy().tobytes())
        state.sha256 = found.hexdigest()
    return state.sha256

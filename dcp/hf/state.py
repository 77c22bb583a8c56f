"""What `prune` adds to a model while it forgets: gates, settings, and the rows of the last call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from dcp.errors import RequestError
from dcp.hf.gates import LayerGates
from dcp.hf.rows import CopiedCache, Home, Rows
from dcp.kernels import api
from dcp.kernels.gates import Gates
from dcp.model.cached import CachedAttention
from dcp.model.config import ModelConfig
from dcp.model.evicting import EvictingAttention
from dcp.model.paged import PagedAttention
from dcp.policies.registry import policy_of
from dcp.policies.rule import Setup, uniform_budget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MARK", "Call", "Pruning", "pruning_of", "weights_hash"]

MARK = "_dcp_pruning"
"""The attribute of a model that holds its `Pruning`."""

_CHUNK, _CHUNK_ON_GPU = 128, 1024


@dataclass(eq=False)
class Call:
    """One forward under way: its rows, and the gates that a layer's hook made for its attention."""

    rows: Rows
    gates: dict[int, Gates] = field(default_factory=dict)


@dataclass(eq=False)
class Pruning:
    """What is added to one model while it forgets.

    attention  the attention that the model had before
    impl       whose kernels; its rows lie on ``device``
    changes    what is added to parameters while the gates decide; ``before`` is what they were
    calls      forwards under way, by the thread that makes them
    rows       those of the last call, for a trace
    """

    config: ModelConfig
    gates: list[LayerGates] | None
    gate_shift: float
    policy: str
    budget: int | None
    settings: Mapping[str, str | float | int]
    attention: str
    name: str
    impl: str = "cpu"
    device: str = "cpu"
    changes: Mapping[str, torch.Tensor] = field(default_factory=dict)
    before: dict[str, torch.Tensor] = field(default_factory=dict)
    hooks: list[Any] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    rows: Rows | None = None
    hashed: tuple[Any, str] = (None, "")
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        chunk = _CHUNK if self.device == "cpu" else _CHUNK_ON_GPU
        self.home = Home(
            self._empty_cache, self.config.layers, self.config.context,
            torch.device(self.device), chunk,
        )  # fmt: skip

    @property
    def evicts(self) -> bool:
        """Whether a rule decides, in place of the gates or after them."""
        return self.policy != "gates" or self.budget is not None

    @property
    def interaction(self) -> int:
        return self.gates[0].interaction if self.gates else 0

    def _empty_cache(self, prompts: Sequence[int], dtype: torch.dtype) -> CopiedCache:
        config, limits = self.config, [self.config.context] * len(prompts)
        options: dict[str, Any] = {
            "interaction": self.interaction,
            "gate_shift": self.gate_shift,
            "deaths": [None] * len(prompts),
        }
        kernels = api.kernels(self.impl, self.device)
        if kernels.pool is not None:
            return PagedAttention(config, kernels, dtype, self.home.device, limits, **options)
        if not self.evicts:
            return CachedAttention(config, kernels, dtype, limits, **options)
        policy, tokens = policy_of(self.policy), config.context
        budget = uniform_budget(self.budget or tokens, config.layers, tokens)
        rules = [
            policy.start(Setup(1, config.layers, tokens, prompt, budget), self.settings)
            for prompt in prompts
        ]
        return EvictingAttention(
            config, kernels, dtype, limits, policy=policy, rules=rules, **options
        )


def pruning_of(model: Any) -> Pruning | None:
    """What `prune` added to ``model``, or None."""
    return getattr(model, MARK, None)


def weights_hash(model: PreTrainedModel) -> str:
    """sha256 of the model's parameters, buffers and gates, by name; not that of a file."""
    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    tensors = sorted(model.state_dict(keep_vars=True).items())
    # Whoever changes a tensor in place, or puts another there, changes this.
    version = [(n, x.data_ptr(), 0 if x.is_inference() else x._version) for n, x in tensors]
    if state.hashed[0] != version:
        found = hashlib.sha256()
        for name, tensor in tensors:
            found.update(name.encode())
            whole = tensor.detach().cpu().contiguous().reshape(-1)
            found.update(whole.view(torch.uint8).numpy())
        for gate in state.gates or ():
            for part in (gate.q_int, gate.k_int, gate.beta):
                found.update(part.contiguous().numpy().tobytes())
        state.hashed = (version, found.hexdigest())
    return state.hashed[1]

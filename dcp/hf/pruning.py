"""Make a `transformers` model forget, and put it back as it was.

What is asked for is understood here; `dcp.hf.hooks` carries it out. Knows nothing of files but the
gates'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dcp.arguments import real, whole
from dcp.errors import RequestError
from dcp.hf.changes import fitting
from dcp.hf.gates import read_gates
from dcp.hf.hooks import attach, attentions, detach
from dcp.hf.layers import forgetting_cache
from dcp.hf.refusals import refuse_model
from dcp.hf.rows import Rows
from dcp.hf.state import Pruning, pruning_of
from dcp.kernels import api
from dcp.model.config import ModelConfig
from dcp.policies.budget import budget_for_sparsity
from dcp.policies.gates import by_shift
from dcp.policies.registry import policy_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache

__all__ = ["cache", "prune", "pruned", "restore"]


def prune(
    model: PreTrainedModel,
    checkpoint: Any = None,
    *,
    sparsity: float | None = None,
    gate_shift: float | None = None,
    policy: str = "gates",
    budget: int | None = None,
    policy_settings: Mapping[str, str | float | int] | None = None,
    impl: str = "auto",
) -> PreTrainedModel:
    """Let ``model`` forget from now on; the same object comes back. `restore` undoes it.

    checkpoint   a bundled name, a folder or a Hub id of a pruned checkpoint or adapter: whose gates
                 decide. Not needed for another ``policy``
    sparsity     the dropped share to aim at, at the length of the checkpoint's calibration (shorter
                 texts drop less); or ``gate_shift``
    policy       "gates", or a rule of `dcp.policies.registry` with a ``budget`` of entries a layer
    impl         whose kernels: auto, cpu, reference, or triton, whose rows lie on the GPU; those of
                 the others lie in host memory, wherever the model is

    ``model.generate(...)`` then makes a cache of ours for each call that gives none; one made by
    `cache` can be given and used again over turns. Raises RequestError or ModelError in one line,
    for a compiled model among others.
    """
    refuse_model(model)
    config = _config_of(model)
    rule = policy_of(policy)
    settings = rule.with_settings(policy_settings or {})
    if rule.hears(settings):
        raise RequestError(
            f"policy {policy} reads its instruction between two passes of the model, which "
            "generate() does not do: use dcp.record, or leave the instruction out",
            remedy="instruction",
        )
    budget = None if budget is None else whole("budget", budget)
    if budget is not None and budget < 1:
        raise RequestError(f"budget must be 1 entry a layer or more, not {budget}")
    gates, name = None, model.config.model_type
    changes: dict[str, torch.Tensor] = {}
    shift = 0.0 if gate_shift is None else real("gate shift", gate_shift)
    if policy == "gates":
        if checkpoint is None:
            raise RequestError("policy gates needs a checkpoint: name one whose gates decide")
        found = read_gates(checkpoint, config)
        gates, name, changes = found.layers, found.name, fitting(model, found.changes)
        if sparsity is not None:
            if gate_shift is not None:
                raise RequestError("give a gate shift or a sparsity, not both")
            shift = found.shift_for(real("sparsity", sparsity))
        if by_shift(policy, settings):
            if budget is None or sparsity is not None or gate_shift is not None:
                raise RequestError("gates shifted for a budget take a budget alone: give it")
            shift, budget = found.shift_for_budget(budget), None
        if budget is None and not found.config.changed_at(shift):
            changes = {}
    else:
        if gate_shift is not None:
            raise RequestError(f"policy {policy} has no gates to shift: give a budget")
        if rule.budgeted and (budget is None) == (sparsity is None):
            raise RequestError(f"policy {policy} needs a budget or a sparsity, one of them")
        if sparsity is not None and rule.budgeted:
            share = real("sparsity", sparsity)
            budget = budget_for_sparsity(policy, share, config.context, settings)
    before = pruning_of(model)
    impl, device = _kernels_for(model, impl, evicts=policy != "gates" or budget is not None)
    state = Pruning(
        config, gates, shift, policy, budget, settings,
        before.attention if before else model.config._attn_implementation, name, impl, device,
        changes=changes,
    )  # fmt: skip
    state.home.make([1], model.dtype)  # what cannot be kept is refused here, not in the first call
    layers = attentions(model, config)
    restore(model)
    attach(model, state, layers)
    return model


def _kernels_for(model: PreTrainedModel, impl: str, *, evicts: bool) -> tuple[str, str]:
    """The implementation, and the device of its rows."""
    here = str(model.device)
    if impl == "auto":
        fits = model.device.type == "cuda" and not evicts
        impl = "triton" if fits and api.device_of("auto") == "cuda" else "cpu"
    if impl == "triton" and evicts:
        raise RequestError("a policy or a budget is carried out on the host: use impl cpu")
    if impl == "native":
        raise RequestError("impl native runs whole models of its own: use impl cpu")
    device = here if impl == "triton" else "cpu"
    return api.resolve(impl, device.partition(":")[0]), device


def restore(model: PreTrainedModel) -> PreTrainedModel:
    """Put ``model`` back as it was before `prune`. A model that is not pruned stays as it is."""
    state = pruning_of(model)
    if state is None:
        return model
    detach(model, state)
    return model


def _config_of(model: PreTrainedModel) -> ModelConfig:
    """The config of the model as it lies in memory. Raises ModelError."""
    said = model.config.to_dict()
    quantised = said.get("quantization_config") or {}
    # A GGUF file is turned into plain floats as it is read; the config still says what it was.
    if quantised.get("quant_method") == "gguf":
        plain = (torch.float32, torch.bfloat16, torch.float16)
        if all(type(x) is nn.Parameter and x.dtype in plain for x in model.parameters()):
            del said["quantization_config"]
    return ModelConfig.from_hf(said)


@contextmanager
def pruned(model: PreTrainedModel, checkpoint: Any = None, **options: Any) -> Iterator[Any]:
    """`prune` for the length of a ``with`` block; afterwards the model is as it was, pruned in
    another way too."""
    before = pruning_of(model)
    prune(model, checkpoint, **options)
    try:
        yield model
    finally:
        restore(model)
        if before is not None:
            attach(model, before, attentions(model, before.config))


def cache(model: PreTrainedModel) -> Cache:
    """An empty cache for ``model``: give it as ``past_key_values``, over as many turns as fit."""
    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    return forgetting_cache(Rows(state.home))

"""Make a `transformers` model forget, and put it back as it was.

Three things are added: a hook before each attention, which makes the gates from the layer's
normalised input; the attention function "dcp", which hands queries, keys and values to our rows; a
hook around the model, which gives each call a cache of ours. Knows nothing of files but the gates'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dcp.errors import ModelError, RequestError
from dcp.hf.gates import read_gates
from dcp.hf.rows import forgetting_cache, rows_of
from dcp.hf.state import MARK, Pruning, pruning_of
from dcp.model.config import ModelConfig
from dcp.policies.budget import budget_for_sparsity
from dcp.policies.registry import policy_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache

__all__ = ["cache", "prune", "pruned", "restore"]

_NAME = "dcp"


def prune(
    model: PreTrainedModel,
    checkpoint: Any = None,
    *,
    sparsity: float | None = None,
    gate_shift: float | None = None,
    policy: str = "gates",
    budget: int | None = None,
    policy_settings: Mapping[str, str | float | int] | None = None,
) -> PreTrainedModel:
    """Let ``model`` forget from now on; the same object comes back. `restore` undoes it.

    checkpoint   a bundled name, a folder or a Hub id of a pruned checkpoint or adapter: whose gates
                 decide. Not needed for another ``policy``
    sparsity     the dropped share to aim at, by the checkpoint's calibration; or ``gate_shift``
    policy       "gates", or a rule of `dcp.policies.registry` with a ``budget`` of entries a layer

    ``model.generate(...)`` then makes a cache of ours for each call that gives none; one made by
    `cache` can be given and used again over turns. Raises RequestError or ModelError in one line,
    for a compiled model among others.
    """
    if pruning_of(model) is not None:
        restore(model)
    plain = isinstance(model, nn.Module) and not hasattr(model, "_orig_mod")
    if not plain or not hasattr(model, "set_attn_implementation"):
        raise RequestError("give the transformers model itself, not a compiled or wrapped one")
    parameter = next(model.parameters())
    if parameter.device.type != "cpu":
        raise RequestError(
            f"the model is on {parameter.device}: pruning inside transformers runs on the CPU; "
            "use model.to('cpu'), or the engine (dcp.record) for a GPU"
        )
    config = ModelConfig.from_hf(model.config.to_dict())
    rule = policy_of(policy)
    settings = rule.with_settings(policy_settings or {})
    if rule.hears(settings):
        raise RequestError(f"policy {policy} reads an instruction in our engine only: dcp.record")
    gates, name, shift = None, model.config.model_type, gate_shift or 0.0
    if policy == "gates":
        if checkpoint is None:
            raise RequestError("policy gates needs a checkpoint: name one whose gates decide")
        found = read_gates(checkpoint, config)
        gates, name = found.layers, found.name
        if sparsity is not None:
            if gate_shift is not None:
                raise RequestError("give a gate shift or a sparsity, not both")
            shift = found.shift_for(sparsity)
    else:
        if gate_shift is not None:
            raise RequestError(f"policy {policy} has no gates to shift: give a budget")
        if rule.budgeted and (budget is None) == (sparsity is None):
            raise RequestError(f"policy {policy} needs a budget or a sparsity, one of them")
        if sparsity is not None and rule.budgeted:
            budget = budget_for_sparsity(policy, sparsity, config.context, settings)
    state = Pruning(
        config, gates, shift, policy, budget, settings,
        model.config._attn_implementation, name, parameter.dtype,
    )  # fmt: skip
    state.empty_cache(1)  # what cannot be kept is refused here, not in the first call
    _register()
    model.set_attn_implementation(_NAME)
    setattr(model, MARK, state)
    layers = _attentions(model, config)
    for index, attention in enumerate(layers):
        attention._dcp = (state, index)  # type: ignore[assignment]
        state.hooks.append(attention.register_forward_pre_hook(_before_attention, with_kwargs=True))
    state.hooks.append(model.register_forward_pre_hook(_before_model, with_kwargs=True))
    state.hooks.append(model.register_forward_hook(_after_model))
    return model


def restore(model: PreTrainedModel) -> PreTrainedModel:
    """Put ``model`` back as it was before `prune`. A model that is not pruned stays as it is."""
    state = pruning_of(model)
    if state is None:
        return model
    for hook in state.hooks:
        hook.remove()
    for attention in _attentions(model, state.config):
        del attention._dcp
    delattr(model, MARK)
    model.set_attn_implementation(state.attention)
    return model


@contextmanager
def pruned(model: PreTrainedModel, checkpoint: Any = None, **options: Any) -> Iterator[Any]:
    """`prune` for the length of a ``with`` block."""
    prune(model, checkpoint, **options)
    try:
        yield model
    finally:
        restore(model)


def cache(model: PreTrainedModel) -> Cache:
    """An empty cache for ``model``: give it as ``past_key_values``, over as many turns as fit."""
    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    return forgetting_cache(state.new_rows(), state.config.layers)


def _attentions(model: Any, config: ModelConfig) -> list[nn.Module]:
    found = [
        module
        for module in model.modules()
        if hasattr(module, "layer_idx") and hasattr(module, "scaling")
    ]
    if len(found) != config.layers:
        raise ModelError(
            f"{type(model).__name__} has {len(found)} attention layers where {config.layers} were "
            "expected; this architecture is not supported"
        )
    return sorted(found, key=lambda module: int(module.layer_idx))


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _padding)


def _padding(*args: Any, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
    """The mask of `transformers` fits one length for all layers; ours is the padding alone."""
    return attention_mask


def _before_model(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    state: Pruning = getattr(model, MARK)
    ids = kwargs.get("input_ids", args[0] if args else None)
    if ids is None:
        raise RequestError("a pruned model is given token ids, not embeddings")
    given = kwargs.get("past_key_values")
    rows = rows_of(given)
    if rows is None:
        if given is not None and given.get_seq_length():
            raise RequestError(
                "this cache was filled by another model: make one with dcp.hf.cache(model)"
            )
        ours = forgetting_cache(state.new_rows(), state.config.layers)
        rows = rows_of(ours)
        if given is None:
            kwargs["past_key_values"] = ours
        else:
            # generate() keeps the object that it made: its layers become ours.
            given.layers = ours.layers
            given.layer_class_to_replicate = None
    assert rows is not None
    state.rows = rows
    rows.begin(ids, kwargs.get("attention_mask"))
    return args, kwargs


def _after_model(model: Any, args: tuple[Any, ...], output: Any) -> None:
    state: Pruning = getattr(model, MARK)
    assert state.rows is not None
    state.rows.end()
    logits = getattr(output, "logits", None)
    if logits is not None:
        state.rows.told(logits.detach())


def _before_attention(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    state, index = module._dcp
    if state.gates is not None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        state.ready[index] = state.gates[index](hidden)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    state, index = module._dcp
    assert state.rows is not None
    q, k, v = (x.transpose(1, 2).detach() for x in (query, key, value))
    with torch.inference_mode():
        out = state.rows.attend(index, q, k, v, state.ready.pop(index, None))
    return out.clone(), None

"""Make a `transformers` model forget, and put it back as it was.

Three things are added: a hook before each attention, which makes the gates from the layer's
normalised input; the attention function "dcp", which hands queries, keys and values to our rows; a
hook around the model, which gives each call a cache of ours. Knows nothing of files but the gates'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dcp.arguments import real, whole
from dcp.errors import ModelError, RequestError
from dcp.hf.gates import read_gates
from dcp.hf.layers import forgetting_cache, rows_of
from dcp.hf.refusals import refuse_call, refuse_model
from dcp.hf.rows import Rows
from dcp.hf.state import MARK, Call, Pruning, pruning_of
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
    refuse_model(model)
    config = ModelConfig.from_hf(model.config.to_dict())
    rule = policy_of(policy)
    settings = rule.with_settings(policy_settings or {})
    if rule.hears(settings):
        raise RequestError(f"policy {policy} reads an instruction in our engine only: dcp.record")
    if rule.instructed == "must" or settings.get("instruction"):
        raise RequestError(
            f"policy {policy} reads an instruction between two passes of the model, which cannot be "
            "done inside transformers: use dcp.record, or dcp trace --instruction"
        )
    budget = None if budget is None else whole("budget", budget)
    if budget is not None and budget < 1:
        raise RequestError(f"budget must be 1 entry a layer or more, not {budget}")
    gates, name = None, model.config.model_type
    shift = 0.0 if gate_shift is None else real("gate shift", gate_shift)
    if policy == "gates":
        if checkpoint is None:
            raise RequestError("policy gates needs a checkpoint: name one whose gates decide")
        found = read_gates(checkpoint, config)
        gates, name = found.layers, found.name
        if sparsity is not None:
            if gate_shift is not None:
                raise RequestError("give a gate shift or a sparsity, not both")
            shift = found.shift_for(real("sparsity", sparsity))
    else:
        if gate_shift is not None:
            raise RequestError(f"policy {policy} has no gates to shift: give a budget")
        if rule.budgeted and (budget is None) == (sparsity is None):
            raise RequestError(f"policy {policy} needs a budget or a sparsity, one of them")
        if sparsity is not None and rule.budgeted:
            share = real("sparsity", sparsity)
            budget = budget_for_sparsity(policy, share, config.context, settings)
    before = pruning_of(model)
    state = Pruning(
        config, gates, shift, policy, budget, settings,
        before.attention if before else model.config._attn_implementation, name,
    )  # fmt: skip
    state.home.make([1], model.dtype)  # what cannot be kept is refused here, not in the first call
    layers = _attentions(model, config)
    restore(model)
    _attach(model, state, layers)
    return model


def _attach(model: Any, state: Pruning, layers: list[nn.Module]) -> None:
    _register()
    model.set_attn_implementation(_NAME)
    setattr(model, MARK, state)
    for index, attention in enumerate(layers):
        attention._dcp = (state, index)  # type: ignore[assignment]
        state.hooks.append(attention.register_forward_pre_hook(_before_attention, with_kwargs=True))
    state.hooks.append(model.register_forward_pre_hook(_before_model, with_kwargs=True))
    state.hooks.append(model.register_forward_hook(_after_model, always_call=True))


def restore(model: PreTrainedModel) -> PreTrainedModel:
    """Put ``model`` back as it was before `prune`. A model that is not pruned stays as it is."""
    state = pruning_of(model)
    if state is None:
        return model
    for hook in state.hooks:
        hook.remove()
    state.hooks.clear()
    for attention in _attentions(model, state.config):
        del attention._dcp
    delattr(model, MARK)
    model.set_attn_implementation(state.attention)
    return model


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
            _attach(model, before, _attentions(model, before.config))


def cache(model: PreTrainedModel) -> Cache:
    """An empty cache for ``model``: give it as ``past_key_values``, over as many turns as fit."""
    state = pruning_of(model)
    if state is None:
        raise RequestError("this model is not pruned: call dcp.hf.prune first")
    return forgetting_cache(Rows(state.home))


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
    ids = refuse_call(model, args, kwargs)
    given = kwargs.get("past_key_values")
    rows = rows_of(given)
    if rows is None:
        ours = forgetting_cache(Rows(state.home))
        rows = rows_of(ours)
        if given is None:
            kwargs["past_key_values"] = ours
        else:
            # generate() keeps the object that it made: its layers become ours.
            given.layers = ours.layers
            given.layer_class_to_replicate = None
    elif rows.home is not state.home:
        raise RequestError(
            "this cache was made by another model, or under other settings: make one with "
            "dcp.hf.cache(model)"
        )
    assert rows is not None
    rows.begin(ids, kwargs.get("attention_mask"), model.dtype)
    state.rows, state.calls[get_ident()] = rows, Call(rows)
    return args, kwargs


def _after_model(model: Any, args: tuple[Any, ...], output: Any) -> None:
    """Also after a forward that failed: there is no output then, and its rows stay in between."""
    call = getattr(model, MARK).calls.pop(get_ident(), None)
    if output is None or call is None:
        return
    call.rows.end()
    logits = getattr(output, "logits", None)
    if logits is not None and logits.ndim == 3:
        call.rows.told(logits.detach())


def _call_of(state: Pruning) -> Call:
    call = state.calls.get(get_ident())
    if call is None:
        raise RequestError(
            "call the model that was given to dcp.hf.prune, not a part or a wrapper of it"
        )
    return call


def _before_attention(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    state, index = module._dcp
    if state.gates is not None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        _call_of(state).gates[index] = state.gates[index](hidden)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    state, index = module._dcp
    call = _call_of(state)
    q, k, v = (x.transpose(1, 2).detach() for x in (query, key, value))
    # Mixed precision would round what decides.
    with torch.inference_mode(), torch.autocast(call.rows.home.device.type, enabled=False):
        out = call.rows.attend(index, q, k, v, call.gates.pop(index, None))
    return _Untrained.apply(out.clone(), query), None  # type: ignore[no-untyped-call]


class _Untrained(torch.autograd.Function):
    """Rows that were dropped have no gradient, so a backward pass is refused rather than wrong."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, query: Tensor) -> Tensor:
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RequestError(
            "a pruned model cannot be trained: call dcp.hf.restore(model) first, or use dcp train"
        )

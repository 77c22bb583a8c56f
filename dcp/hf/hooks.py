"""What is added to a `transformers` model while it forgets, and taken away again.

A hook before each attention makes the gates from the layer's normalised input; the attention
function "dcp" hands queries, keys and values to our rows; hooks around the model give each call a
cache of ours. Knows no policy and no file.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from dcp.errors import ModelError, RequestError
from dcp.hf.changes import put, take_out
from dcp.hf.layers import forgetting_cache, rows_of
from dcp.hf.refusals import refuse_call
from dcp.hf.rows import Rows
from dcp.hf.state import MARK, Call, Pruning
from dcp.model.config import ModelConfig

__all__ = ["attach", "attentions", "detach"]

_NAME = "dcp"


def attach(model: Any, state: Pruning, layers: list[nn.Module]) -> None:
    """Let ``model``, whose attention ``layers`` are these, forget by ``state``."""
    state.before = put(model, state.changes)
    _register()
    model.set_attn_implementation(_NAME)
    setattr(model, MARK, state)
    for index, attention in enumerate(layers):
        attention._dcp = (state, index)  # type: ignore[assignment]
        state.hooks.append(attention.register_forward_pre_hook(_before_attention, with_kwargs=True))
    state.hooks.append(model.register_forward_pre_hook(_before_model, with_kwargs=True))
    state.hooks.append(model.register_forward_hook(_after_model, always_call=True))


def detach(model: Any, state: Pruning) -> None:
    """Take away what `attach` added."""
    take_out(model, state.before)
    state.before = {}
    for hook in state.hooks:
        hook.remove()
    state.hooks.clear()
    for attention in attentions(model, state.config):
        del attention._dcp
    delattr(model, MARK)
    model.set_attn_implementation(state.attention)


def attentions(model: Any, config: ModelConfig) -> list[nn.Module]:
    """The attention layers in their order. Raises ModelError for an unknown architecture."""
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
    # What is compiled was refused before it began.
    if torch.compiler.is_compiling():
        return
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
        raise RequestError("a pruned model cannot be trained: call dcp.hf.restore(model) first")

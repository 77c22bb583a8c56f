"""What a pruned model cannot do, said in one line before it goes wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dcp.errors import RequestError
from dcp.hf.layers import rows_of

__all__ = ["refuse_call", "refuse_model"]

_COMPILED = (
    "a compiled model cannot forget, its cache has no fixed shape: leave torch.compile and "
    "cache_implementation out"
)


def refuse_model(model: Any) -> None:
    """Raises RequestError unless ``model`` is a plain `transformers` model."""
    if _compiled(model):
        raise RequestError(_COMPILED)
    if not isinstance(model, nn.Module) or not hasattr(model, "set_attn_implementation"):
        raise RequestError(
            f"give a transformers model, as AutoModelForCausalLM.from_pretrained makes it, not "
            f"{type(model).__name__}"
        )


def _compiled(model: Any) -> bool:
    parts = model.modules() if isinstance(model, nn.Module) else ()
    return any(
        hasattr(part, "_orig_mod")
        or getattr(part, "_compiled_call_impl", None) is not None
        or hasattr(vars(part).get("forward"), "_torchdynamo_orig_callable")
        for part in parts
    )


def refuse_call(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The token ids [B, T] of a call of a pruned ``model``. Raises RequestError."""
    if torch.compiler.is_compiling() or _compiled(model):
        raise RequestError(_COMPILED)
    ids = kwargs.get("input_ids", args[0] if args else None)
    if ids is None:
        raise RequestError("a pruned model is given token ids, not embeddings")
    if kwargs.get("output_attentions"):
        raise RequestError(
            "a pruned model keeps no attention weights: leave output_attentions out; "
            "dcp.hf.trace(model, tokenizer) says what was dropped"
        )
    given = kwargs.get("past_key_values")
    if given is not None and rows_of(given) is None:
        _refuse_cache(given)
    return torch.as_tensor(ids)


def _refuse_cache(given: Any) -> None:
    """Only an empty growing cache may be taken over."""
    from transformers import DynamicCache

    if not hasattr(given, "get_seq_length"):
        raise RequestError(f"past_key_values is a cache, not {type(given).__name__}")
    if type(given) is not DynamicCache or getattr(given, "offloading", False):
        raise RequestError(
            f"a pruned model keeps its rows itself, not in a {type(given).__name__}: leave "
            "cache_implementation and past_key_values out"
        )
    if given.get_seq_length():
        raise RequestError(
            "this cache was filled by a model that was not pruned: make one with "
            "dcp.hf.cache(model)"
        )

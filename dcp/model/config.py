"""The shapes and switches of a model and its sampling, as frozen dataclasses.

Knows nothing of torch, files or text. ``ModelConfig.from_hf`` reads a ``transformers`` config
dictionary and refuses by name what the model loop does not do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dcp.arguments import real, whole
from dcp.errors import ModelError, RequestError

__all__ = ["ARCHITECTURES", "ModelConfig", "RopeScaling", "Sampling"]

ARCHITECTURES = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
# Far beyond every model there is; a table of positions must fit into memory.
_MOST = {
    "vocab": 2**24,
    "width": 2**17,
    "layers": 2**12,
    "heads": 2**12,
    "kv_heads": 2**12,
    "head_dim": 2**12,
    "ffn": 2**20,
    "context": 2**21,
}
_ACTIVATIONS = {
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu": "gelu",
    "silu": "silu",
}


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched; ``kind`` linear uses ``factor`` alone."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """Dimensions and switches of the one model loop (`dcp.model.transformer`).

    vocab V, width D, layers L, heads H, kv_heads H_kv, head_dim d, ffn hidden width of the MLP,
    context the largest number of positions. ``gated_mlp`` is SwiGLU: act(gate) * up, then down.
    """

    architecture: str
    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    norm: Literal["layernorm", "rmsnorm"]
    norm_eps: float
    positions: Literal["learned", "rope"]
    activation: Literal["gelu_new", "gelu", "silu"]
    gated_mlp: bool
    tied: bool
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> ModelConfig:
        """Read a ``transformers`` config dictionary.

        Raises ModelError naming the first thing that the model loop does not do.
        """
        kind = hf.get("model_type")
        if kind not in ARCHITECTURES:
            raise ModelError(
                f"architecture {kind!r} is not supported; use one of: {', '.join(ARCHITECTURES)}"
            )
        if hf.get("quantization_config"):
            raise ModelError("the checkpoint is quantised; use its float32 or bfloat16 original")
        try:
            config = _from_gpt2(hf) if kind == "gpt2" else _from_llama_family(hf)
        except KeyError as missing:
            raise ModelError(f"config.json has no {missing} entry, which {kind} needs") from None
        except (TypeError, ValueError, AttributeError, ArithmeticError) as wrong:
            raise ModelError(f"config.json is damaged: {wrong}") from None
        for name, most in _MOST.items():
            if not 0 < getattr(config, name) <= most:
                raise ModelError(
                    f"config.json is damaged: {name} is {getattr(config, name)}, not 1 to {most}"
                )
        for name in ("norm_eps", "rope_theta"):
            if not 0 < getattr(config, name) < math.inf:
                raise ModelError(f"config.json is damaged: {name} is {getattr(config, name)}")
        if config.positions == "rope" and config.head_dim % 2:
            raise ModelError(f"rotary positions need an even head_dim, not {config.head_dim}")
        return config


def _activation(name: str) -> Literal["gelu_new", "gelu", "silu"]:
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"activation {name!r} is not supported; use one of: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]  # type: ignore[return-value]


def _from_gpt2(hf: Mapping[str, Any]) -> ModelConfig:
    if hf.get("scale_attn_by_inverse_layer_idx"):
        raise ModelError("scale_attn_by_inverse_layer_idx is not supported")
    if hf.get("scale_attn_weights", True) is not True:
        raise ModelError("scale_attn_weights=false is not supported")
    if hf.get("add_cross_attention"):
        raise ModelError("add_cross_attention is not supported")
    width, heads = int(hf["n_embd"]), int(hf["n_head"])
    if width % heads:
        raise ModelError(f"n_embd {width} is not a multiple of n_head {heads}")
    return ModelConfig(
        architecture="gpt2",
        vocab=int(hf["vocab_size"]),
        width=width,
        layers=int(hf["n_layer"]),
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        ffn=int(hf.get("n_inner") or 4 * width),
        context=int(hf["n_positions"]),
        norm="layernorm",
        norm_eps=float(hf.get("layer_norm_epsilon", 1e-5)),
        positions="learned",
        activation=_activation(str(hf.get("activation_function", "gelu_new"))),
        gated_mlp=False,
        tied=bool(hf.get("tie_word_embeddings", True)),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
    )


def _from_llama_family(hf: Mapping[str, Any]) -> ModelConfig:
    kind = str(hf["model_type"])
    width, heads = int(hf["hidden_size"]), int(hf["num_attention_heads"])
    kv_heads = int(hf.get("num_key_value_heads") or heads)
    if heads % kv_heads:
        raise ModelError(f"{heads} query heads do not divide into {kv_heads} key/value heads")
    context = int(hf["max_position_embeddings"])
    window = hf.get("sliding_window", 4096)
    uses_window = (
        kind == "mistral"
        or hf.get("use_sliding_window", False)
        or any(t != "full_attention" for t in hf.get("layer_types") or ())
    )
    if uses_window and window is not None and int(window) < context:
        raise ModelError(
            f"sliding_window {window} is shorter than the context {context}, which is not supported"
        )
    theta, scaling = _rope(hf)
    attention_bias = bool(hf.get("attention_bias", False))
    return ModelConfig(
        architecture=kind,
        vocab=int(hf["vocab_size"]),
        width=width,
        layers=int(hf["num_hidden_layers"]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=int(hf.get("head_dim") or width // heads),
        ffn=int(hf["intermediate_size"]),
        context=context,
        norm="rmsnorm",
        norm_eps=float(hf.get("rms_norm_eps", 1e-6)),
        positions="rope",
        activation=_activation(str(hf.get("hidden_act", "silu"))),
        gated_mlp=True,
        tied=bool(hf.get("tie_word_embeddings", False)),
        rope_theta=theta,
        rope_scaling=scaling,
        qkv_bias=kind == "qwen2" or attention_bias,
        out_bias=kind in ("llama", "qwen3") and attention_bias,
        mlp_bias=kind == "llama" and bool(hf.get("mlp_bias", False)),
        qk_norm=kind == "qwen3",
    )


def _rope(hf: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """``rope_theta`` + ``rope_scaling``, or transformers 5's ``rope_parameters``.

    Where both are there, `transformers` takes the older one.
    """
    found = dict(hf.get("rope_scaling") or hf.get("rope_parameters") or {})
    theta = float(found.get("rope_theta") or hf.get("rope_theta") or 10000.0)
    kind = found.get("rope_type") or found.get("type") or "default"
    if float(found.get("partial_rotary_factor") or hf.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ModelError("partial_rotary_factor other than 1 is not supported")
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, RopeScaling("linear", float(found["factor"]))
    if kind == "llama3":
        return theta, RopeScaling(
            "llama3",
            float(found["factor"]),
            float(found["low_freq_factor"]),
            float(found["high_freq_factor"]),
            int(found["original_max_position_embeddings"]),
        )
    raise ModelError(f"RoPE scaling {kind!r} is not supported; use default, linear or llama3")


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. temperature 0 is greedy; top_k 0 and top_p 1 are off."""

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            object.__setattr__(self, name, real(name, getattr(self, name)))
        for name in ("top_k", "seed"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if self.temperature < 0:
            raise RequestError(f"temperature must be 0 or more, not {self.temperature}")
        if self.top_k < 0:
            raise RequestError(f"top-k must be 0 (off) or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top-p must be in (0, 1], not {self.top_p}")
        if not 0 <= self.seed < 2**63:
            raise RequestError(f"seed must be in 0 … 2**63 - 1, not {self.seed}")

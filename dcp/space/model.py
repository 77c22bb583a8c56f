"""What the page must know of a model besides its weights: its shape, its dial, its frequencies.

The page's loop is one: RMSNorm, rotary positions, grouped queries, SwiGLU, q/k norm as a switch,
gates. A model of another kind is refused here, by name, and not discovered by a visitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcp.errors import ModelError
from dcp.model.gate_config import measured_at

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["describe", "tensors_of"]

Floats = npt.NDArray[np.float32]
# The page's vectors are four floats wide.
_LANES = 4


def tensors_of(model: OpenModel) -> dict[str, Floats]:
    """Every weight of the page's loop by name, float32, in the order of use; betas excepted.

    ``layers.0.joint`` is Q, K, V, then both gate projections, one product in the page. Raises
    ModelError.
    """
    config = model.loaded.config
    _check(model)
    state = {name: p.float().numpy() for name, p in model.loaded.transformer.state_dict().items()}
    return dict(_tensors(state, config.layers, config.qk_norm, config.tied))


def _tensors(
    state: dict[str, Floats], layers: int, qk_norm: bool, tied: bool
) -> Iterator[tuple[str, Floats]]:
    yield "embed", state["embed.weight"]
    for n in range(layers):
        block = f"blocks.{n}."
        yield f"layers.{n}.attn_norm", state[block + "attn_norm.weight"]
        joint = (state[block + name] for name in ("qkv.weight", "q_int.weight", "k_int.weight"))
        yield f"layers.{n}.joint", np.concatenate(list(joint))
        if qk_norm:
            yield f"layers.{n}.q_norm", state[block + "q_norm.weight"]
            yield f"layers.{n}.k_norm", state[block + "k_norm.weight"]
        yield f"layers.{n}.out", state[block + "out.weight"]
        yield f"layers.{n}.mlp_norm", state[block + "mlp_norm.weight"]
        yield f"layers.{n}.up", state[block + "mlp.up.weight"]
        yield f"layers.{n}.down", state[block + "mlp.down.weight"]
    yield "norm", state["norm.weight"]
    if not tied:
        yield "unembed", state["unembed.weight"]


def describe(model: OpenModel) -> dict[str, Any]:
    """The JSON object that `assets/space/model.js` reads beside the weights. Raises ModelError."""
    from dcp.model.rotary import inverse_frequencies

    _check(model)
    loaded, info = model.loaded, model.info
    config, gates = loaded.config, loaded.gates
    assert gates is not None
    blocks = loaded.transformer.state_dict()
    return {
        "name": info.name,
        "sha256": loaded.weights_sha256,
        "stored": "bfloat16, gates float32",
        "parameters": info.parameters,
        "layers": config.layers,
        "width": config.width,
        "heads": config.heads,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "ffn": config.ffn,
        "vocab": config.vocab,
        "context": config.context,
        "eps": config.norm_eps,
        "qk_norm": config.qk_norm,
        "tied": config.tied,
        "interaction": gates.interaction,
        "betas": [float(blocks[f"blocks.{n}.beta"]) for n in range(config.layers)],
        "inverse_frequencies": inverse_frequencies(config).tolist(),
        "stop_ids": list(model.stop_ids),
        "dial": [
            [point.sparsity, point.delta, point.perplexity_ratio]
            for point in measured_at(info.calibration)
        ],
        "shares": info.shares.to_json() if info.shares is not None else None,
    }


def _check(model: OpenModel) -> None:
    config, gates = model.loaded.config, model.loaded.gates
    if gates is None:
        raise ModelError(f"{model.info.name} has no gates: the page shows nothing without them")
    if gates.delay:
        raise ModelError(f"{model.info.name} delays its drops by {gates.delay}: the page does not")
    kind = (config.norm, config.positions, config.activation, config.gated_mlp)
    if kind != ("rmsnorm", "rope", "silu", True) or config.architecture == "gpt2":
        raise ModelError(f"the page runs the Llama family, not {config.architecture}")
    if config.qkv_bias or config.out_bias or config.mlp_bias:
        raise ModelError(f"the page's layers have no biases; those of {config.architecture} do")
    sizes = (config.width, config.ffn, config.head_dim // 2, gates.interaction)
    if any(size % _LANES for size in sizes):
        raise ModelError(f"the page needs widths that are multiples of {_LANES}, not {sizes}")

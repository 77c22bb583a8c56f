"""Models to measure: random weights of a known shape, and how many bytes a step must read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dcp.kernels.row_bytes import entry_bytes, gate_key_bytes
from dcp.model.config import ModelConfig
from dcp.model.gate_config import GateConfig
from dcp.model.saving import save
from dcp.model.transformer import Transformer
from dcp.model.weights import LoadedModel

__all__ = ["SHAPES", "random_checkpoint", "step_bytes"]

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2-124m": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
    },
    "tiny": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 257,
        "n_positions": 128,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 256,
        "eos_token_id": 256,
    },
}
"""Configurations as ``transformers`` writes them: "gpt2-124m" is measured, "tiny" tries it out."""


@contextmanager
def random_checkpoint(shape: str) -> Iterator[Path]:
    """A folder with seeded random weights and gates, there until the context ends."""
    config = ModelConfig.from_hf(SHAPES[shape])
    interaction = min(64, config.kv_heads * config.head_dim // 4)
    transformer = Transformer(config, interaction)
    transformer.initialise(seed=0)
    with tempfile.TemporaryDirectory(prefix="dcp-bench-") as name:
        folder = Path(name) / shape
        save(folder, transformer, SHAPES[shape], GateConfig(interaction), torch.bfloat16)
        yield folder


# Of a weight in the layers, and of one that decides the token: blocks of 32 with one or two halves.
_BYTES = {
    "float32": (4.0, 4.0),
    "bfloat16": (2.0, 2.0),
    "int8": (34 / 32, 34 / 32),
    "int4": (20 / 32, 34 / 32),
}


def step_bytes(
    model: LoadedModel, weights: str, live: int, *, gates: bool, kept: torch.dtype | None = None
) -> float:
    """Bytes that one decode step cannot avoid reading; batched rows share the weights.

    Every weight of a matrix product once, the ``live`` bytes of keys and values, and beside each
    entry (of type ``kept``, by default the model's) its gate key if ``gates`` are scored. Where
    memory is the bottleneck, the ratio of two of these bounds a speed-up.
    """
    c = model.config
    ups = 2 if c.gated_mlp else 1
    per_layer = c.width * (c.heads + 2 * c.kv_heads) * c.head_dim
    per_layer += c.heads * c.head_dim * c.width + (ups + 1) * c.width * c.ffn
    inner, last = _BYTES[weights]
    total = c.layers * per_layer * inner + c.vocab * c.width * last + live
    if gates and model.gates:
        gate_key = gate_key_bytes(model.gates.interaction)
        entries = live / entry_bytes(c.kv_heads, c.head_dim, kept or model.dtype)
        total += 2 * c.layers * c.width * gate_key + entries * gate_key
    return total

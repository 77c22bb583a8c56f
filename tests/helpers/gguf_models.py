"""A tiny Llama as a GGUF file, laid out as llama.cpp's converter does it, and adapters on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import save_file

from dcp.model.adapter import name_base
from dcp.model.checkpoint import Checkpoint
from dcp.model.gate_config import GateConfig

LAYERS, WIDTH, HEADS, KV_HEADS, FFN, CONTEXT = 2, 64, 4, 2, 96, 128
R = 8
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
MERGES = ["h e", "l l", "he ll", "Ġ w", "Ġ Ġ", "Ċ Ċ"]


def vocabulary() -> list[str]:
    from tokenizers import pre_tokenizers

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), *merged]


def write(
    folder: Path,
    name: str = "tiny.gguf",
    *,
    seed: int = 0,
    architecture: str = "llama",
    tied: bool = True,
    changes: dict[str, Any] | None = None,
) -> Path:
    """``folder/name``: Q8_0 embeddings, Q4_1 matrices, float32 norms, random from ``seed``."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    out = gguf.GGUFWriter(folder / name, architecture)
    settings: dict[str, Any] = {
        "block_count": LAYERS, "context_length": CONTEXT, "embedding_length": WIDTH,
        "feed_forward_length": FFN, "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS, "rope.freq_base": 5000.0,
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.dimension_count": WIDTH // HEADS,
        "vocab_size": len(vocabulary()),
    } | (changes or {})  # fmt: skip
    for key, value in settings.items():
        if isinstance(value, str):
            out.add_string(f"{architecture}.{key}", value)
        elif isinstance(value, float):
            out.add_float32(f"{architecture}.{key}", value)
        elif value is not None:
            out.add_uint32(f"{architecture}.{key}", value)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(vocabulary())
    out.add_token_types([3] * 3 + [1] * (len(vocabulary()) - 3))
    out.add_token_merges(MERGES)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_chat_template(CHAT)
    kv = KV_HEADS * (WIDTH // HEADS)

    def add(tensor: str, shape: tuple[int, ...], kind: Kind) -> None:
        values = (rng.standard_normal(shape) * 0.3).astype(np.float32)
        if len(shape) == 1:
            values = 1 + values / 3
        if kind == Kind.F32:
            out.add_tensor(tensor, values)
        else:
            out.add_tensor(tensor, gguf.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", (len(vocabulary()), WIDTH), Kind.Q8_0)
    for i in range(LAYERS):
        add(f"blk.{i}.attn_norm.weight", (WIDTH,), Kind.F32)
        add(f"blk.{i}.attn_q.weight", (WIDTH, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.attn_k.weight", (kv, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.attn_v.weight", (kv, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.attn_output.weight", (WIDTH, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.ffn_norm.weight", (WIDTH,), Kind.F32)
        add(f"blk.{i}.ffn_gate.weight", (FFN, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.ffn_up.weight", (FFN, WIDTH), Kind.Q4_1)
        add(f"blk.{i}.ffn_down.weight", (WIDTH, FFN), Kind.Q4_1)
    add("output_norm.weight", (WIDTH,), Kind.F32)
    if not tied:
        add("output.weight", (len(vocabulary()), WIDTH), Kind.Q8_0)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return folder / name


def write_adapter(home: Path, base: Path, **changes: Any) -> Path:
    """An adapter with random gates on the GGUF file ``base``; ``changes`` go to what it says."""
    home.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    gates = {
        f"layers.{layer}.{name}.weight": torch.randn(R, WIDTH) * 0.1
        for layer in range(LAYERS)
        for name in ("q_int", "k_int")
    } | {f"layers.{layer}.beta": torch.zeros(1) for layer in range(LAYERS)}
    save_file(gates, home / "dcp.safetensors")
    said = GateConfig(R, base=name_base(Checkpoint.read(base.parent))).to_json()
    said["base"] |= changes
    said["base"] = {name: value for name, value in said["base"].items() if value is not None}
    (home / "dcp_config.json").write_text(json.dumps(said))
    return home

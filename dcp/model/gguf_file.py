"""Read a GGUF file of a Llama: its configuration, its tensors in float32, its tokenizer.

Blocks are dequantised by the package ``gguf``; names and layouts come out as ``transformers`` has
them. The writer of such files turns the rows of q and k so that rotary positions act on
neighbouring pairs: turned back here. Without torch.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcp.errors import ModelError
from dcp.model.files import first_line, regular
from dcp.model.gguf_header import Entry, read_header

if TYPE_CHECKING:
    import tokenizers

__all__ = ["GgufFile"]

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# What llama.cpp splits text by, under the name it gives it. Beyond these, tokens would be wrong.
_DIGITS_APART = {"gpt-2": False, "smollm": True}


@dataclass(frozen=True, eq=False)
class GgufFile:
    """An open GGUF file. ``entries`` has the tensors under the names of ``transformers``."""

    path: Path
    fields: Mapping[str, Any]
    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, path: Path) -> GgufFile:
        """Read the header. Raises ModelError for anything damaged or not a Llama."""
        try:
            with regular(path).open("rb") as file:
                fields, entries = read_header(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError, struct.error, UnicodeDecodeError) as wrong:
            raise ModelError(f"{path} is not a readable GGUF file: {first_line(wrong)}") from None
        kind = fields.get("general.architecture")
        if kind != "llama":
            raise ModelError(f"{path} is a GGUF file of architecture {kind!r}; only llama is read")
        return cls(path, fields, {_name_of(entry.name): entry for entry in entries})

    @cached_property
    def hf_config(self) -> dict[str, Any]:
        """The configuration as ``transformers`` writes it. Raises ModelError."""
        own = {k.removeprefix("llama."): v for k, v in self.fields.items() if k.startswith("llama")}
        if own.get("expert_count"):
            raise ModelError(f"{self.path} is a mixture of experts, which is not supported")
        if own.get("rope.scaling.type", "none") != "none":
            raise ModelError(f"{self.path} has RoPE scaling, which is not read from GGUF files")
        try:
            width, heads = int(own["embedding_length"]), int(own["attention.head_count"])
            head_dim = int(own.get("attention.key_length", width // heads))
            if int(own.get("rope.dimension_count", head_dim)) != head_dim:
                raise ModelError(f"{self.path} turns only part of each head, not supported")
            return {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "vocab_size": self.entries["model.embed_tokens.weight"].shape[0],
                "hidden_size": width,
                "intermediate_size": int(own["feed_forward_length"]),
                "num_hidden_layers": int(own["block_count"]),
                "num_attention_heads": heads,
                "num_key_value_heads": int(own.get("attention.head_count_kv", heads)),
                "head_dim": head_dim,
                "max_position_embeddings": int(own["context_length"]),
                "hidden_act": "silu",
                "rms_norm_eps": float(own["attention.layer_norm_rms_epsilon"]),
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": float(own.get("rope.freq_base", 10000.0)),
                },
                "tie_word_embeddings": "lm_head.weight" not in self.entries,
                "bos_token_id": self.fields.get("tokenizer.ggml.bos_token_id"),
                "eos_token_id": self.fields.get("tokenizer.ggml.eos_token_id"),
            }
        except KeyError as missing:
            raise ModelError(f"{self.path} has no {missing}, which a Llama needs") from None
        except (TypeError, ValueError, ArithmeticError) as wrong:
            raise ModelError(f"{self.path} is damaged: {first_line(wrong)}") from None

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(int(np.prod(entry.shape)) for entry in self.entries.values())

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor by the name that ``transformers`` gives it, in float32. Raises ModelError."""
        import gguf

        entry = self.entries[name]
        try:
            kind = gguf.GGMLQuantizationType(entry.kind)
            block, size = gguf.GGML_QUANT_SIZES[kind]
            *rows, columns = entry.shape
            if columns % block:
                raise ValueError(f"{columns} columns are no multiple of the block of {block}")
            row = columns // block * size
            count = int(np.prod(rows)) * row
            raw = np.memmap(self.path, np.uint8, "r", entry.offset, (count,))
            # Damaged scales become NaN or infinity, which whoever loads them refuses.
            with np.errstate(all="ignore"):
                found = gguf.dequantize(raw.reshape(*rows, row), kind).reshape(entry.shape)
        except (ValueError, KeyError, OSError, NotImplementedError) as wrong:
            raise ModelError(
                f"{self.path}: tensor {entry.name!r} cannot be read: {first_line(wrong)}"
            ) from None
        for part, heads in (("q", "num_attention_heads"), ("k", "num_key_value_heads")):
            if f".{part}_proj." in name:
                found = _turned_back(found, int(self.hf_config[heads]))
        # What is stored in float32 is a view into the file: its owner must have a copy.
        return np.require(found, np.float32, ["C", "W"])

    @property
    def chat_template(self) -> str | None:
        """Jinja source of the tokenizer's chat template."""
        found = self.fields.get("tokenizer.chat_template")
        return found if isinstance(found, str) else None

    def tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer in the file. Raises ModelError for another kind than byte-level BPE."""
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, processors

        own = {k.removeprefix("tokenizer.ggml."): v for k, v in self.fields.items()}
        kind, split = own.get("model"), own.get("pre")
        if kind != "gpt2" or split not in _DIGITS_APART:
            raise ModelError(f"{self.path} has a tokenizer {kind!r}, {split!r} that is not read")
        try:
            names: list[str] = own["tokens"]
            merges = [tuple(merge.split(" ")) for merge in own["merges"]]
            vocab = {name: i for i, name in enumerate(names)}
            found = tokenizers.Tokenizer(models.BPE(vocab, merges))
            special = [name for name, t in zip(names, own["token_type"], strict=True) if t == 3]
            found.add_special_tokens(
                [tokenizers.AddedToken(name, normalized=False, special=True) for name in special]
            )
            byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
            digits = [pre_tokenizers.Digits(individual_digits=True)] * _DIGITS_APART[split]
            found.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level])
            found.decoder = decoders.ByteLevel()
            if own.get("add_bos_token"):
                start = names[own["bos_token_id"]]
                found.post_processor = processors.TemplateProcessing(
                    f"{start} $A", special_tokens=[(start, own["bos_token_id"])]
                )
        # `tokenizers` raises plain Exception for merges that are none.
        except Exception as wrong:
            raise ModelError(f"{self.path} has a damaged tokenizer: {first_line(wrong)}") from None
        return found


def _name_of(stored: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``; else as it stands."""
    found = re.fullmatch(r"(?:blk\.(\d{1,6})\.)?(\w+)\.(weight|bias)", stored)
    if found is None or found[2] not in _NAMES:
        return stored
    layer = "" if found[1] is None else f"model.layers.{found[1]}."
    return f"{layer}{_NAMES[found[2]]}.{found[3]}"


def _turned_back(rows: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows of each head from neighbouring pairs (0, 1), (2, 3) … to (0, d/2), (1, d/2 + 1) …"""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)

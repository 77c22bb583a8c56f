"""The names and layouts of weights: ours, and those of ``transformers``.

They keep q, k, v (and gate, up) apart, and GPT-2 stores linear layers as [in, out]; our loop has
one qkv and one up matrix, [out, in]. Translated here and nowhere else. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcp.errors import ModelError
from dcp.model.config import ModelConfig

__all__ = [
    "from_hf_names",
    "gate_names",
    "resolve_head",
    "stored_name",
    "to_hf_names",
    "unknown_names",
]

# Buffers that some versions of transformers saved; they carry no weights.
_EMBED, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_BUFFERS = (".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq")


def to_hf_names(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our parameters, all or some of them -> the names, splits and layouts of ``transformers``.
    Gates are left out."""
    out: dict[str, Tensor] = {}
    for part in _parts(config):
        if part.ours not in state:
            continue
        whole = state[part.ours]
        pieces = torch.split(whole, list(part.rows)) if len(part.theirs) > 1 else (whole,)
        for name, piece in zip(part.theirs, pieces, strict=True):
            out[name] = (piece.t() if part.transposed else piece).contiguous()
    return out


def from_hf_names(
    read: Callable[[str], Tensor], names: Collection[str], config: ModelConfig
) -> dict[str, Tensor]:
    """The inverse of ``to_hf_names``; ``read`` gives a tensor by name, one of ``names``.

    Raises ModelError for a missing or misshapen tensor.
    """
    out: dict[str, Tensor] = {}
    for part in _parts(config):
        pieces = []
        for name, rows in zip(part.theirs, part.rows, strict=True):
            stored = stored_name(name, names)
            if stored is None:
                raise ModelError(f"the checkpoint lacks tensor {name!r}")
            found = read(stored)
            expected = (rows, *part.rest)
            piece = found.t() if part.transposed else found
            if tuple(piece.shape) != expected:
                wanted = list(reversed(expected) if part.transposed else expected)
                raise ModelError(
                    f"tensor {name!r} has shape {list(found.shape)}, config.json says {wanted}"
                )
            pieces.append(piece)
        out[part.ours] = torch.cat(pieces) if len(pieces) > 1 else pieces[0].contiguous()
    return out


def unknown_names(names: Collection[str], config: ModelConfig) -> list[str]:
    """Tensors of a checkpoint that the model loop would leave out."""
    wanted = {stored_name(name, names) for part in _parts(config) for name in part.theirs}
    if config.tied:
        wanted.add("lm_head.weight")
    return sorted(n for n in names if n not in wanted and not n.endswith(_BUFFERS))


def resolve_head(
    config: ModelConfig, read: Callable[[str], Tensor], names: set[str]
) -> tuple[ModelConfig, Callable[[str], Tensor], set[str]]:
    """Tied embeddings as `transformers` takes them, whatever of the two matrices is stored.

    Both, and they differ: the model is not tied. The head alone: it is the embedding too.
    """
    embed = "transformer.wte.weight" if config.architecture == "gpt2" else _EMBED
    stored = stored_name(embed, names)
    if not config.tied or _HEAD not in names:
        return config, read, names
    if stored is None:
        return config, lambda name: read(_HEAD if name == embed else name), {*names, embed}
    if not torch.equal(read(stored), read(_HEAD)):
        return replace(config, tied=False), read, names
    return config, read, names


def gate_names(layers: int) -> Iterator[tuple[str, str]]:
    """(our parameter, name in dcp.safetensors) for every gate tensor."""
    for layer in range(layers):
        for name in ("q_int.weight", "k_int.weight", "beta"):
            yield f"blocks.{layer}.{name}", f"layers.{layer}.{name}"


def stored_name(name: str, names: Collection[str]) -> str | None:
    """GPT-2 checkpoints come with and without the ``transformer.`` prefix."""
    bare = name.removeprefix("transformer.")
    return name if name in names else bare if bare in names else None


@dataclass(frozen=True)
class _Part:
    """One parameter of ours and the tensors of theirs that it is stacked from, along rows."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...]
    rest: tuple[int, ...]
    transposed: bool = False


def _parts(c: ModelConfig) -> Iterator[_Part]:
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    norm_parts = ("weight", "bias") if c.norm == "layernorm" else ("weight",)

    def linear(ours: str, theirs: tuple[str, ...], rows: tuple[int, ...], cols: int, bias: bool,
               transposed: bool = False) -> Iterator[_Part]:  # fmt: skip
        yield _Part(
            f"{ours}.weight", tuple(f"{t}.weight" for t in theirs), rows, (cols,), transposed
        )
        if bias:
            yield _Part(f"{ours}.bias", tuple(f"{t}.bias" for t in theirs), rows, ())

    def norm(ours: str, theirs: str, width: int) -> Iterator[_Part]:
        for kind in norm_parts:
            yield _Part(f"{ours}.{kind}", (f"{theirs}.{kind}",), (width,), ())

    if c.architecture == "gpt2":
        yield _Part("embed.weight", ("transformer.wte.weight",), (c.vocab,), (c.width,))
        yield _Part("position.weight", ("transformer.wpe.weight",), (c.context,), (c.width,))
        for i in range(c.layers):
            o, t = f"blocks.{i}", f"transformer.h.{i}"
            yield from norm(f"{o}.attn_norm", f"{t}.ln_1", c.width)
            yield from linear(f"{o}.qkv", (f"{t}.attn.c_attn",), (q + 2 * kv,), c.width, True, True)
            yield from linear(f"{o}.out", (f"{t}.attn.c_proj",), (c.width,), q, True, True)
            yield from norm(f"{o}.mlp_norm", f"{t}.ln_2", c.width)
            yield from linear(f"{o}.mlp.up", (f"{t}.mlp.c_fc",), (c.ffn,), c.width, True, True)
            yield from linear(f"{o}.mlp.down", (f"{t}.mlp.c_proj",), (c.width,), c.ffn, True, True)
        yield from norm("norm", "transformer.ln_f", c.width)
    else:
        yield _Part("embed.weight", ("model.embed_tokens.weight",), (c.vocab,), (c.width,))
        for i in range(c.layers):
            o, t = f"blocks.{i}", f"model.layers.{i}"
            a, m = f"{t}.self_attn", f"{t}.mlp"
            yield from norm(f"{o}.attn_norm", f"{t}.input_layernorm", c.width)
            yield from linear(f"{o}.qkv", (f"{a}.q_proj", f"{a}.k_proj", f"{a}.v_proj"),
                              (q, kv, kv), c.width, c.qkv_bias)  # fmt: skip
            if c.qk_norm:
                yield from norm(f"{o}.q_norm", f"{a}.q_norm", c.head_dim)
                yield from norm(f"{o}.k_norm", f"{a}.k_norm", c.head_dim)
            yield from linear(f"{o}.out", (f"{a}.o_proj",), (c.width,), q, c.out_bias)
            yield from norm(f"{o}.mlp_norm", f"{t}.post_attention_layernorm", c.width)
            yield from linear(f"{o}.mlp.up", (f"{m}.gate_proj", f"{m}.up_proj"), (c.ffn, c.ffn),
                              c.width, c.mlp_bias)  # fmt: skip
            yield from linear(f"{o}.mlp.down", (f"{m}.down_proj",), (c.width,), c.ffn, c.mlp_bias)
        yield from norm("norm", "model.norm", c.width)
    if not c.tied:
        yield _Part("unembed.weight", ("lm_head.weight",), (c.vocab,), (c.width,))

"""Checkpoints on disk: a folder that ``transformers`` loads unchanged, plus our two files.

    config.json, model.safetensors (or shards with an index), tokenizer files   the base model
    dcp_config.json, dcp.safetensors                                            the gates

Names and layouts are translated here and nowhere else: `transformers` keeps q, k, v (and gate,
up) apart and GPT-2 stores linear layers as [in, out]; our loop has one qkv and one up matrix,
[out, in].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dcp.config import GateConfig, ModelConfig
from dcp.errors import ModelError
from dcp.model.transformer import Transformer

__all__ = ["LoadedModel", "from_hf_names", "load", "save", "to_hf_names"]

SHARD_BYTES = 9 * 10**6


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run. ``gates`` is None for a base model without them."""

    transformer: Transformer
    config: ModelConfig
    gates: GateConfig | None
    name: str
    path: Path
    weights_sha256: str
    dtype: torch.dtype


def to_hf_names(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our parameters -> the names, splits and layouts of ``transformers``. Gates are left out."""
    out: dict[str, Tensor] = {}
    for part in _parts(config):
        whole = state[part.ours]
        pieces = torch.split(whole, list(part.rows)) if len(part.theirs) > 1 else (whole,)
        for name, piece in zip(part.theirs, pieces, strict=True):
            out[name] = (piece.t() if part.transposed else piece).contiguous()
    return out


def from_hf_names(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of ``to_hf_names``. Raises ModelError for a missing or misshapen tensor."""
    out: dict[str, Tensor] = {}
    for part in _parts(config):
        pieces = []
        for name, rows in zip(part.theirs, part.rows, strict=True):
            if name not in tensors:
                raise ModelError(f"the checkpoint lacks tensor {name!r}")
            piece = tensors[name].t() if part.transposed else tensors[name]
            expected = (rows, *part.rest)
            if tuple(piece.shape) != expected:
                raise ModelError(
                    f"tensor {name!r} has shape {list(tensors[name].shape)}, "
                    f"which does not fit config.json"
                )
            pieces.append(piece)
        out[part.ours] = torch.cat(pieces) if len(pieces) > 1 else pieces[0].contiguous()
    return out


def gate_names(layers: int) -> Iterator[tuple[str, str]]:
    """(our parameter, name in dcp.safetensors) for every gate tensor."""
    for layer in range(layers):
        for ours, theirs in (
            ("q_int.weight", "q_int.weight"),
            ("k_int.weight", "k_int.weight"),
            ("beta", "beta"),
        ):
            yield f"blocks.{layer}.{ours}", f"layers.{layer}.{theirs}"


def save(
    folder: Path,
    transformer: Transformer,
    hf_config: Mapping[str, Any],
    gates: GateConfig | None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write config, weights (sharded under 9 MB a file) and gates (float32) to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu() for k, v in transformer.state_dict().items()}
    tensors = {k: v.to(dtype) for k, v in to_hf_names(state, transformer.config).items()}
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    _save_sharded(folder, tensors)
    (folder / "config.json").write_text(json.dumps(dict(hf_config), indent=2) + "\n")
    if gates is not None:
        named = {
            theirs: state[ours].float() for ours, theirs in gate_names(transformer.config.layers)
        }
        save_file(named, folder / "dcp.safetensors", metadata={"format": "pt"})
        (folder / "dcp_config.json").write_text(json.dumps(gates.to_json(), indent=2) + "\n")


def _save_sharded(folder: Path, tensors: dict[str, Tensor]) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        grown = size + tensor.nbytes
        if shards[-1] and grown > SHARD_BYTES:
            shards.append({})
            grown = tensor.nbytes
        shards[-1][name] = tensor
        size = grown
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        name = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, name))
    total = sum(t.nbytes for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def load(
    folder: str | Path, dtype: torch.dtype = torch.float32, *, gates: bool = True
) -> LoadedModel:
    """Load a checkpoint folder. ``gates=False`` loads the base model alone.

    Raises ModelError in one line for anything missing, unsupported or misshapen.
    """
    folder = Path(folder)
    hf_config = _read_json(folder / "config.json")
    config = ModelConfig.from_hf(hf_config)
    gate_config = GateConfig.from_json(_read_json(folder / "dcp_config.json")) if gates else None
    interaction = gate_config.interaction if gate_config else 0
    with torch.device("meta"):
        transformer = Transformer(config, interaction)
    files = _weight_files(folder)
    tensors = {k: v.to(dtype) for f in files for k, v in _read(f)}
    state = from_hf_names(_strip_prefix(tensors), config)
    if gate_config:
        files.append(folder / "dcp.safetensors")
        found = dict(_read(files[-1]))
        for ours, theirs in gate_names(config.layers):
            if theirs not in found:
                raise ModelError(f"dcp.safetensors lacks tensor {theirs!r}")
            state[ours] = found[theirs].float()
    try:
        transformer.load_state_dict(state, strict=not config.tied, assign=True)
    except RuntimeError as wrong:
        raise ModelError(
            f"weights do not fit config.json: {str(wrong).splitlines()[-1].strip()}"
        ) from None
    if config.tied:
        transformer.unembed.weight = transformer.embed.weight
    transformer.eval().requires_grad_(False)
    return LoadedModel(
        transformer, config, gate_config, folder.name, folder.resolve(), _sha256(files), dtype
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}") from None
    except (OSError, ValueError) as wrong:
        raise ModelError(f"{path} cannot be read: {wrong}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object")
    return found


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if not index.exists():
        raise ModelError(f"{folder} has no model.safetensors; save it with save_pretrained first")
    names = _read_json(index).get("weight_map", {})
    return [folder / Path(name).name for name in sorted(set(names.values()))]


def _read(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 -- not a mapping
                yield name, file.get_tensor(name)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing") from None
    except Exception as wrong:
        raise ModelError(f"{path} is not a readable safetensors file: {wrong}") from None


def _strip_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """GPT-2 checkpoints come with and without the ``transformer.`` prefix."""
    if "wte.weight" in tensors:
        return {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    return tensors


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


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

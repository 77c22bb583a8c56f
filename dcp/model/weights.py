"""Checkpoints on disk: a folder that ``transformers`` loads unchanged, plus our two files.

    config.json, model.safetensors (or shards with an index), tokenizer files   the base model
    dcp_config.json, dcp.safetensors                                            the gates

Loading looks before it leaps: whatever this version does not do, or what is damaged, is named in
one line. safetensors only, no pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dcp.errors import ModelError
from dcp.model.config import GateConfig, ModelConfig
from dcp.model.int8 import quantise
from dcp.model.names import from_hf_names, gate_names, to_hf_names, unknown_names
from dcp.model.transformer import Transformer

__all__ = ["LoadedModel", "load", "save"]

SHARD_BYTES = 9 * 10**6
_STORED = (torch.float32, torch.bfloat16, torch.float16)
_LOADED = (torch.float32, torch.bfloat16, torch.int8)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HOW_TO_MAKE_GATES = "make them with: python -m dcp train prune"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run. ``gates`` is None for a base model without them.

    dtype is that of activations and cache: float32 for int8 weights.
    """

    transformer: Transformer
    config: ModelConfig
    gates: GateConfig | None
    name: str
    path: Path
    weights_sha256: str
    dtype: torch.dtype


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
    """Load a checkpoint folder for inference on the CPU.

    dtype float32 (also of weights stored in 16 bits), bfloat16, or int8: weights of the linear
    layers in int8, the rest in float32. ``gates=False`` loads the base model alone. Gates are
    float32 always. Raises ModelError in one line for anything missing, unsupported or damaged.
    """
    folder = Path(folder)
    if dtype not in _LOADED:
        raise ModelError(f"dtype {dtype} is not supported; use float32, bfloat16 or int8")
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; give the folder of a checkpoint")
    config = ModelConfig.from_hf(_read_json(folder / "config.json"))
    gate_config = _gate_config(folder) if gates else None
    files = _weight_files(folder)
    _check_tokenizer(folder, config)
    wide = torch.float32 if dtype == torch.int8 else dtype
    with _tensors(files) as (read, names):
        if strange := unknown_names(names, config):
            raise ModelError(
                f"the checkpoint has tensor {strange[0]!r}, which {config.architecture} as we "
                "run it does not use"
            )
        state = from_hf_names(lambda name: _sound(name, read(name)).to(wide), names, config)
    if gate_config:
        files.append(folder / "dcp.safetensors")
        state |= _gates(files[-1], config, gate_config)
    if config.tied:
        state["unembed.weight"] = state["embed.weight"]
    with torch.device("meta"):
        transformer = Transformer(config, gate_config.interaction if gate_config else 0)
    transformer.load_state_dict(state, assign=True)
    if config.tied:
        transformer.unembed.weight = transformer.embed.weight
    transformer.eval().requires_grad_(False)
    if dtype == torch.int8:
        quantise(transformer)
    return LoadedModel(
        transformer, config, gate_config, folder.name, folder.resolve(), _sha256(files), wide
    )


def _gate_config(folder: Path) -> GateConfig:
    for name in ("dcp_config.json", "dcp.safetensors"):
        if not (folder / name).exists():
            raise ModelError(f"{folder} has no {name}, so no gates; {_HOW_TO_MAKE_GATES}")
    return GateConfig.from_json(_read_json(folder / "dcp_config.json"))


def _gates(path: Path, config: ModelConfig, gates: GateConfig) -> dict[str, Tensor]:
    out = {}
    with _tensors([path]) as (read, names):
        for ours, theirs in gate_names(config.layers):
            if theirs not in names:
                raise ModelError(f"{path.name} lacks tensor {theirs!r}; {_HOW_TO_MAKE_GATES}")
            found = _sound(theirs, read(theirs)).float()
            wanted = [1] if theirs.endswith("beta") else [gates.interaction, config.width]
            if list(found.shape) != wanted:
                raise ModelError(
                    f"{path.name}: tensor {theirs!r} has shape {list(found.shape)}, "
                    f"dcp_config.json says {wanted}"
                )
            out[ours] = found
    return out


def _sound(name: str, tensor: Tensor) -> Tensor:
    """The tensor, copied out of its file. Raises ModelError for a wrong dtype, NaN or infinity."""
    if tensor.dtype not in _STORED:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(f"tensor {name!r} is {kind}; weights must be float32, bfloat16 or float16")
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"tensor {name!r} holds NaN or infinity: the checkpoint is damaged")
    return tensor.clone()


def _check_tokenizer(folder: Path, config: ModelConfig) -> None:
    """Raises ModelError when the tokenizer knows ids that the model has no embedding for."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    found = _read_json(path)
    try:
        vocab = found["model"]["vocab"]
        ids = list(vocab.values()) if isinstance(vocab, dict) else [len(vocab) - 1]
        ids += [token["id"] for token in found.get("added_tokens") or ()]
        largest = max(ids, default=-1)
    except (KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is not a tokenizer that this version can read") from None
    if largest >= config.vocab:
        raise ModelError(
            f"the tokenizer has token id {largest}, but config.json says vocab_size {config.vocab}"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as wrong:
        raise ModelError(f"{path} cannot be read: {_line(wrong)}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object")
    return found


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if not index.exists():
        pickles = sorted(p.name for kind in _PICKLES for p in folder.glob(kind))
        if pickles:
            raise ModelError(
                f"{folder} has only pickled weights ({pickles[0]}), which can run code; load it "
                "in transformers once and save_pretrained it as safetensors"
            )
        raise ModelError(f"{folder} has no model.safetensors; save it with save_pretrained first")
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} has no weight_map")
    # The last part alone: an index must not reach out of its folder.
    return [folder / Path(str(name)).name for name in sorted(set(map(str, weight_map.values())))]


@contextmanager
def _tensors(files: list[Path]) -> Iterator[tuple[Callable[[str], Tensor], set[str]]]:
    """Read tensors by name from open safetensors files, one at a time."""
    with ExitStack() as stack:
        home: dict[str, Any] = {}
        for path in files:
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
                home.update(dict.fromkeys(file.keys(), file))
            except FileNotFoundError:
                raise ModelError(f"{path} is missing") from None
            except Exception as wrong:
                raise ModelError(
                    f"{path} is not a readable safetensors file: {_line(wrong)}"
                ) from None
        yield lambda name: home[name].get_tensor(name), set(home)


def _line(wrong: Exception) -> str:
    return str(wrong).split("\n", 1)[0]


def _sha256(files: list[Path]) -> str:
    """Of all weight files, one after another."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()

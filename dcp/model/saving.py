"""Write a checkpoint: a folder that ``transformers`` loads unchanged, plus the two files of gates.

safetensors only, in shards that any host takes. Knows nothing of tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dcp.model.adapter import save_adapter, write_gates
from dcp.model.gate_config import GateConfig
from dcp.model.names import to_hf_names
from dcp.model.transformer import Transformer

__all__ = ["save"]

SHARD_BYTES = 9 * 10**6


def save(
    folder: Path,
    transformer: Transformer,
    hf_config: Mapping[str, Any],
    gates: GateConfig | None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write config, weights (sharded under 9 MB a file) and gates (float32) to ``folder``.

    Gates that name a base are written as an adapter: they, and what differs from the base.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if gates is not None and gates.base is not None:
        save_adapter(folder, transformer, gates)
        return
    state = {k: v.detach().cpu() for k, v in transformer.state_dict().items()}
    tensors = {k: v.to(dtype) for k, v in to_hf_names(state, transformer.config).items()}
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    _save_sharded(folder, tensors)
    (folder / "config.json").write_text(json.dumps(dict(hf_config), indent=2) + "\n")
    if gates is not None:
        write_gates(folder, transformer, gates, {})


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

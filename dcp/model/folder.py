"""What lies where in a checkpoint folder: weight files, stop ids, the chat template.

Reads JSON alone. Knows nothing of gates, bases or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcp.errors import ModelError
from dcp.model.files import read_json, read_text

__all__ = ["chat_template", "stop_ids", "weight_files"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def weight_files(folder: Path, names: set[str]) -> list[Path]:
    """The safetensors files of the base model. Raises ModelError where there are none."""
    single, index = "model.safetensors", "model.safetensors.index.json"
    if single in names:
        return [folder / single]
    if index not in names:
        pickles = sorted(p.name for kind in _PICKLES for p in folder.glob(kind))
        if pickles:
            raise ModelError(
                f"{folder} has only pickled weights ({pickles[0]}), which can run code; load it "
                "in transformers once and save_pretrained it as safetensors"
            )
        raise ModelError(f"{folder} has no {single}; save it with save_pretrained first")
    weight_map = read_json(folder / index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / index} has no weight_map")
    # The last part alone: an index must not reach out of its folder.
    return [folder / Path(str(name)).name for name in sorted(set(map(str, weight_map.values())))]


def stop_ids(*configs: Mapping[str, Any]) -> tuple[int, ...]:
    """The end-of-text ids of all configs, each once, in their order."""
    ids: list[int] = []
    for config in configs:
        found = config.get("eos_token_id")
        ids += [t for t in (found if isinstance(found, list) else [found]) if type(t) is int]
    return tuple(dict.fromkeys(ids))


def chat_template(folder: Path, names: set[str], settings: Mapping[str, Any]) -> str | None:
    """From its own file, or the tokenizer's settings; of several the one named default."""
    if "chat_template.jinja" in names:
        return read_text(folder / "chat_template.jinja")
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None

"""A pruned checkpoint or adapter as a repository for the Hugging Face Hub: a folder, ready to push.

    README.md                         the model card: front matter with results, use, the dial
    dcp.safetensors, dcp_config.json  the gates
    config.json, weights, tokenizer   of a whole model; an adapter names its base instead
    custom_generate/generate.py       `generate()` that forgets: ``custom_generate=REPOSITORY``
    .gitattributes                    large files by Git LFS

Copies files, loads no weights, needs no network.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp import __version__
from dcp.errors import ModelError, RequestError
from dcp.hf.card import card_of
from dcp.model.checkpoint import GATES, gates_of
from dcp.model.files import read_text, regular, stamp_of
from dcp.model.folder import weight_files
from dcp.model.gate_config import GateConfig
from dcp.model.registry import find
from dcp.resources import asset

__all__ = ["Repository", "build", "write"]

_COPIED = (
    *("config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.model", "vocab.json", "merges.txt", "LICENSE", "NOTICE"),
)
_INDEX = "model.safetensors.index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_MARK = "custom_generate/generate.py"


@dataclass(frozen=True)
class Repository:
    """name of the model; files to copy, and files to write, each by its place in the repository."""

    name: str
    copied: Mapping[str, Path]
    written: Mapping[str, str]


def build(model: str | Path | None, hub_id: str | None = None) -> Repository:
    """What the repository of ``model`` (a bundled name, a folder) holds.

    ``hub_id`` is where it will be, ``OWNER/NAME``: the card and the recipe name it. Raises
    RequestError or ModelError.
    """
    if hub_id is not None and not _HUB_ID.fullmatch(hub_id):
        raise RequestError(f"a Hub id is OWNER/NAME, not {hub_id!r}")
    folder = find(model)
    for name in ("dcp_config.json", GATES):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} has no {name}: only a model with gates can be exported")
    gates = gates_of(folder, stamp_of(folder))
    copied = {GATES: regular(folder / GATES)}
    if gates.base is None:
        names = {path.name for path in folder.iterdir()}
        copied |= {path.name: regular(path) for path in weight_files(folder, names)}
        wanted = (*_COPIED, *(() if "model.safetensors" in names else (_INDEX,)))
        copied |= {name: regular(folder / name) for name in wanted if name in names}
        if "config.json" not in copied:
            raise ModelError(f"{folder} has no config.json")
    bundled = folder.parent == asset("models")
    source = folder.name if bundled else ""
    name = hub_id.rpartition("/")[2] if hub_id else folder.name
    card = read_text(folder / "README.md") if (folder / "README.md").is_file() else ""
    written = {
        "README.md": card_of(name, gates, card, hub_id),
        "dcp_config.json": json.dumps(_public(gates), indent=2) + "\n",
        _MARK: _recipe(hub_id or source),
        "custom_generate/requirements.txt": f"dcp>={__version__}\n",
        ".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    }
    return Repository(name, copied, written)


def write(repository: Repository, folder: Path) -> int:
    """Write it, taking the place of one that was written there before; returns how many bytes.

    Raises RequestError where the folder holds anything else, or cannot be written.
    """
    try:
        there = folder.iterdir() if folder.exists() else ()
        if any(path.name != ".git" for path in there) and not (folder / _MARK).is_file():
            raise RequestError(f"{folder} holds other files: name a new or an empty folder")
        size = 0
        # Of a former export: files that this one has not.
        for old in {*folder.glob("*.safetensors"), *(folder / name for name in (*_COPIED, _INDEX))}:
            if old.name not in repository.copied and old.name not in repository.written:
                old.unlink(missing_ok=True)
        for name, text in repository.written.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
            size += len(text.encode())
        for name, source in repository.copied.items():
            if not ((folder / name).exists() and (folder / name).samefile(source)):
                shutil.copyfile(source, folder / name)
            size += source.stat().st_size
        return size
    except OSError as wrong:
        raise RequestError(f"cannot write {folder}: {wrong.strerror or wrong}") from None


def _public(gates: GateConfig) -> dict[str, Any]:
    """What dcp_config.json says, less where the base lay on this machine."""
    found = gates.to_json()
    if "base" in found:
        found["base"] = {name: value for name, value in found["base"].items() if name != "folder"}
    return found


def _recipe(checkpoint: str) -> str:
    text = asset("hub/generate.py").read_text(encoding="utf-8")
    return text.replace('CHECKPOINT = ""', f"CHECKPOINT = {json.dumps(checkpoint)}")

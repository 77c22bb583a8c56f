"""A checkpoint folder, each of its files read once.

    config.json, generation_config.json           the model's shape, the ids that end a text
    model.safetensors (or shards with an index)   the base model
    tokenizer.json, tokenizer_config.json         the tokenizer and its chat template
    dcp_config.json, dcp.safetensors              the gates

Reads JSON and safetensors headers alone, without torch; `dcp.model.weights` loads the tensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.errors import ModelError
from dcp.model.config import ModelConfig
from dcp.model.files import Stamp, parameters_of, read_json, read_text, sha256_of, stamp_of
from dcp.model.gate_config import GateConfig

if TYPE_CHECKING:
    from dcp.text.tokens import Tokenizer

__all__ = ["GATES", "Checkpoint"]

GATES = "dcp.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """What a folder says, read when its files had ``stamp``: a changed folder is another one.

    hf_config      config.json as it stands
    config         the same, understood
    stop_ids       the ids that end a text
    chat_template  Jinja source of the tokenizer's chat template, or None
    """

    folder: Path
    stamp: Stamp = field(repr=False)
    hf_config: Mapping[str, Any] = field(compare=False, repr=False)
    config: ModelConfig = field(compare=False, repr=False)
    stop_ids: tuple[int, ...] = field(compare=False, repr=False)
    chat_template: str | None = field(compare=False, repr=False)

    @classmethod
    def read(cls, folder: str | Path) -> Checkpoint:
        """Read a folder, or give what was read of it if nothing in it changed. Raises ModelError.

        The gates are looked at when they are asked for: a base model has none.
        """
        path = Path(os.path.abspath(folder))
        if not path.is_dir():
            raise ModelError(f"{folder} is not a folder; give the folder of a checkpoint")
        return _read(path, stamp_of(path))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def has_gates(self) -> bool:
        """Whether there is a file that says so; it may still be damaged."""
        return self._has("dcp_config.json")

    @cached_property
    def gates(self) -> GateConfig:
        """What dcp_config.json says. Raises ModelError where there are no gates."""
        for name in ("dcp_config.json", GATES):
            if not self._has(name):
                raise ModelError(
                    f"{self.folder} has no {name}, so no gates; make them with: "
                    f"python -m dcp train prune --base {self.folder}"
                )
        return GateConfig.from_json(read_json(self.folder / "dcp_config.json"))

    @cached_property
    def weights(self) -> tuple[Path, ...]:
        """The files of the base model's tensors. Raises ModelError where there are none."""
        return tuple(_weight_files(self.folder, {name for name, *_ in self.stamp}))

    def parameters(self, *, gates: bool) -> int:
        """How many numbers the files hold, those of the gates too where ``gates`` says so."""
        return sum(map(parameters_of, self.files(gates=gates)))

    def files(self, *, gates: bool) -> tuple[Path, ...]:
        """The files of all tensors."""
        return (*self.weights, self.folder / GATES) if gates else self.weights

    def sha256(self, *, gates: bool) -> str:
        """Of all tensor files, one after another."""
        return sha256_of(self.files(gates=gates))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded once. Raises ModelError where it knows more than the model."""
        from dcp.text.tokens import Tokenizer

        found = Tokenizer.load(self.folder)
        if found.largest >= self.config.vocab:
            raise ModelError(
                f"the tokenizer has token id {found.largest}, but config.json says vocab_size "
                f"{self.config.vocab}"
            )
        return found

    def check_tokenizer(self) -> None:
        """Raises ModelError where there is a tokenizer that does not go with the model."""
        if self._has("tokenizer.json"):
            _ = self.tokenizer

    def _has(self, name: str) -> bool:
        return any(name == found for found, *_ in self.stamp)


@lru_cache(maxsize=8)
def _read(folder: Path, stamp: Stamp) -> Checkpoint:
    hf_config = read_json(folder / "config.json")
    names = {name for name, *_ in stamp}

    def optional(name: str) -> dict[str, Any]:
        return read_json(folder / name) if name in names else {}

    return Checkpoint(
        folder,
        stamp,
        hf_config,
        ModelConfig.from_hf(hf_config),
        _stop_ids(hf_config),
        _chat_template(folder, names, optional("tokenizer_config.json")),
    )


def _weight_files(folder: Path, names: set[str]) -> list[Path]:
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


def _stop_ids(*configs: Mapping[str, Any]) -> tuple[int, ...]:
    """The end-of-text ids of all configs, each once, in their order."""
    ids: list[int] = []
    for config in configs:
        found = config.get("eos_token_id")
        ids += [t for t in (found if isinstance(found, list) else [found]) if type(t) is int]
    return tuple(dict.fromkeys(ids))


def _chat_template(folder: Path, names: set[str], settings: Mapping[str, Any]) -> str | None:
    """From its own file, or the tokenizer's settings; of several the one named default."""
    if "chat_template.jinja" in names:
        return read_text(folder / "chat_template.jinja")
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None

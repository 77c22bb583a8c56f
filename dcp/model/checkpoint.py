"""A checkpoint folder, each of its files read once.

    config.json, generation_config.json           the model's shape, the ids that end a text
    model.safetensors (or shards with an index)   the base model
    tokenizer.json, tokenizer_config.json         the tokenizer and its chat template
    dcp_config.json, dcp.safetensors              the gates

Or an adapter: gates alone, and in ``dcp_config.json`` the name of the base model that all else
comes from. Or a folder with a GGUF file, which is all of the first three. Reads JSON and
headers alone, without torch; `dcp.model.weights` loads the tensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.errors import ModelError
from dcp.model.bases import find_base, how_to_get
from dcp.model.config import ModelConfig
from dcp.model.files import Stamp, parameters_of, read_json, regular, sha256_of, stamp_of
from dcp.model.folder import chat_template, stop_ids, weight_files
from dcp.model.gate_config import Base, GateConfig
from dcp.model.gguf_file import GgufFile

if TYPE_CHECKING:
    from dcp.text.tokens import Tokenizer

__all__ = ["DELTA", "GATES", "Checkpoint", "base_of", "gates_of", "open_base"]

GATES = "dcp.safetensors"
DELTA = "delta."
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class Checkpoint:
    """What a folder says, read when its files had ``stamp``: a changed folder is another one.

    hf_config      config.json as it stands
    config         the same, understood
    stop_ids       the ids that end a text
    chat_template  Jinja source of the tokenizer's chat template, or None
    gguf           the open file, where the model is one
    base           of an adapter: the checkpoint that all but the gates comes from
    """

    folder: Path
    stamp: Stamp = field(repr=False)
    hf_config: Mapping[str, Any] = field(compare=False, repr=False)
    config: ModelConfig = field(compare=False, repr=False)
    stop_ids: tuple[int, ...] = field(compare=False, repr=False)
    chat_template: str | None = field(compare=False, repr=False)
    gguf: GgufFile | None = field(compare=False, repr=False)
    base: Checkpoint | None = field(default=None, repr=False)

    @classmethod
    def read(cls, folder: str | Path, base: str | Path | None = None) -> Checkpoint:
        """Read a folder, or give what was read of it if nothing in it changed.

        base  of an adapter: the folder of its base model, instead of where it is looked for

        The gates are looked at when they are asked for: a base model has none. Raises ModelError,
        for an adapter also when its base is missing or another file than the gates belong to.
        """
        path = Path(os.path.abspath(folder))
        if not path.is_dir():
            raise ModelError(f"{folder} is not a folder; give the folder of a checkpoint")
        stamp = stamp_of(path)
        wanted = base_of(path, stamp)
        if wanted is None:
            return _read(path, stamp)
        return _adapter(path, stamp, open_base(wanted, base))

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
                    f"{self.folder} has no {name}, so no gates: train them, with this as the base, "
                    "or choose a policy that needs none",
                    remedy="gates",
                )
        return gates_of(self.folder, self.stamp)

    @cached_property
    def weights(self) -> tuple[Path, ...]:
        """The files of the base model's tensors. Raises ModelError where there are none."""
        if self.base is not None:
            return self.base.weights
        if self.gguf is not None:
            return (self.gguf.path,)
        return tuple(weight_files(self.folder, {name for name, *_ in self.stamp}))

    def parameters(self, *, gates: bool) -> int:
        """How many numbers the files hold, those of the gates too where ``gates`` says so."""
        own = [self.folder / GATES] if gates else []
        if self.base is not None:
            return self.base.parameters(gates=False) + sum(map(parameters_of, own))
        if self.gguf is not None:
            return self.gguf.parameters
        return sum(map(parameters_of, (*self.weights, *own)))

    def files(self, *, gates: bool) -> tuple[Path, ...]:
        """The files of all tensors."""
        return (*self.weights, self.folder / GATES) if gates else self.weights

    def sha256(self, *, gates: bool) -> str:
        """Of all tensor files, one after another."""
        return sha256_of(self.files(gates=gates)) if gates else self._own_sha256

    @cached_property
    def _own_sha256(self) -> str:
        return sha256_of(self.weights)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded once. Raises ModelError where it knows more than the model.

        Tokens that were added to it later, such as [PAD], may be more: no text needs them.
        """
        from dcp.text.tokens import Tokenizer

        if self.base is not None:
            return self.base.tokenizer
        for name in _TOKENIZER_FILES:
            if self._has(name):
                regular(self.folder / name)
        found = Tokenizer(self.gguf.tokenizer()) if self.gguf else Tokenizer.load(self.folder)
        if found.largest < self.config.vocab:
            return found
        if not found.added_beyond(self.config.vocab):
            raise ModelError(
                f"the tokenizer has token id {found.largest}, but config.json says vocab_size "
                f"{self.config.vocab}"
            )
        return Tokenizer(found.backend, rows=self.config.vocab)

    def check_tokenizer(self) -> None:
        """Raises ModelError where there is a tokenizer that does not go with the model."""
        if self.base is not None or self.gguf is not None or self._has("tokenizer.json"):
            _ = self.tokenizer

    def _has(self, name: str) -> bool:
        return any(name == found for found, *_ in self.stamp)


def base_of(folder: Path, stamp: Stamp) -> Base | None:
    """What an adapter says of its base; None for a whole model. Raises ModelError."""
    names = {name for name, *_ in stamp}
    if "dcp_config.json" not in names or "config.json" in names:
        return None
    return gates_of(folder, stamp).base


@lru_cache(maxsize=8)
def gates_of(folder: Path, stamp: Stamp) -> GateConfig:
    """What dcp_config.json says. Raises ModelError."""
    return GateConfig.from_json(read_json(folder / "dcp_config.json"))


def open_base(wanted: Base, explicit: str | Path | None = None) -> Checkpoint:
    """The base model of an adapter, found and its hash checked. Raises ModelError."""
    folder = find_base(wanted, explicit)
    stamp = stamp_of(folder)
    if wanted.file.endswith(".gguf"):
        # What else lies in the folder is not part of the model.
        stamp = tuple(entry for entry in stamp if entry[0] == wanted.file)
    found = _read(folder, stamp)
    if found.sha256(gates=False) != wanted.sha256:
        raise ModelError(
            f"{folder / wanted.file} is damaged or another file than the base model {wanted.name}: "
            f"its sha256 is not {wanted.sha256[:12]}…; replace it: {how_to_get(wanted)}"
        )
    return found


@lru_cache(maxsize=8)
def _adapter(folder: Path, stamp: Stamp, base: Checkpoint) -> Checkpoint:
    return replace(base, folder=folder, stamp=stamp, base=base)


@lru_cache(maxsize=8)
def _read(folder: Path, stamp: Stamp) -> Checkpoint:
    names = {name for name, *_ in stamp}
    files = sorted(name for name in names if name.endswith(".gguf"))
    if len(files) == 1 and "config.json" not in names:
        return _read_gguf(folder, stamp, GgufFile.read(folder / files[0]))
    hf_config = read_json(folder / "config.json")

    def optional(name: str) -> dict[str, Any]:
        return read_json(folder / name) if name in names else {}

    return Checkpoint(
        folder,
        stamp,
        hf_config,
        ModelConfig.from_hf(hf_config),
        stop_ids(hf_config, optional("generation_config.json")),
        chat_template(folder, names, optional("tokenizer_config.json")),
        None,
    )


def _read_gguf(folder: Path, stamp: Stamp, file: GgufFile) -> Checkpoint:
    config = ModelConfig.from_hf(file.hf_config)
    stops = stop_ids(file.hf_config)
    return Checkpoint(folder, stamp, file.hf_config, config, stops, file.chat_template, file)

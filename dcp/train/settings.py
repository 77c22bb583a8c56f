"""What one training run does: sections of settings, read from a TOML file.

    [data]
    length = 512

    [gates]
    kind = "hard"

Knows nothing of how it is done, nor of what each key means (`dcp.train.sections`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dcp.errors import RequestError
from dcp.train.checks import typed
from dcp.train.sections import (
    Data,
    Dial,
    Eviction,
    GateSettings,
    Model,
    Optimiser,
    Run,
    Teacher,
)

__all__ = ["SECTIONS", "TrainSettings", "section_of"]

SECTIONS: Mapping[str, type] = {
    "model": Model,
    "data": Data,
    "optimiser": Optimiser,
    "gates": GateSettings,
    "dial": Dial,
    "teacher": Teacher,
    "eviction": Eviction,
    "run": Run,
}


@dataclass(frozen=True)
class TrainSettings:
    """All sections of a run; each part of the trainer is handed those that it needs."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    gates: GateSettings = field(default_factory=GateSettings)
    dial: Dial = field(default_factory=Dial)
    teacher: Teacher = field(default_factory=Teacher)
    eviction: Eviction = field(default_factory=Eviction)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        if self.data.copies > 1 and self.optimiser.tune == "all":
            raise RequestError('copies of a window need tune = "gates", "norms" or "low rank"')
        if self.dial.spread and self.gates.kind == "soft":
            raise RequestError('a spread of gate shifts needs kind = "hard" in [gates]')

    @classmethod
    def read(cls, path: Path | None, **overrides: Any) -> TrainSettings:
        """Defaults, then ``path`` (TOML), then ``overrides`` by their keys that are not None.

        Raises RequestError for an unreadable file, an unknown key, or one outside of its section.
        """
        settings = cls()
        if path is not None:
            try:
                found = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
                raise RequestError(f"cannot read settings from {path}: {wrong}") from None
            try:
                settings = settings.merged(found)
            except RequestError as wrong:
                raise RequestError(f"{path}: {wrong}", remedy=wrong.remedy) from None
        given = {key: value for key, value in overrides.items() if value is not None}
        return settings.change(**given)

    def change(self, **keys: Any) -> TrainSettings:
        """These settings with other values, by the names of keys, which no two sections share."""
        found: dict[str, dict[str, Any]] = {}
        for key, value in keys.items():
            found.setdefault(section_of(key), {})[key] = value
        return self.merged(found)

    def merged(self, found: Mapping[str, Any]) -> TrainSettings:
        """These settings with what ``found`` says, section by section."""
        _refuse_loose_keys(found)
        sections = {}
        for name, keys in found.items():
            kind = SECTIONS[name]
            for key in keys:
                if key not in _keys(kind):
                    raise RequestError(_stray(key, name))
            values = {key: typed(kind, key, value) for key, value in keys.items()}
            sections[name] = replace(getattr(self, name), **values)
        return replace(self, **sections)


def section_of(key: str) -> str:
    """The section that a key belongs to; raises RequestError for an unknown key."""
    for name, kind in SECTIONS.items():
        if key in _keys(kind):
            return name
    known = ", ".join(sorted(key for kind in SECTIONS.values() for key in _keys(kind)))
    raise RequestError(f"unknown setting {key!r}; known: {known}")


def _keys(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _refuse_loose_keys(found: Mapping[str, Any]) -> None:
    """Settings were flat once: say where each key has gone."""
    moved: dict[str, list[str]] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            if key not in SECTIONS:
                raise RequestError(f"unknown section [{key}]; known: {', '.join(SECTIONS)}")
        elif key == "gates":
            moved.setdefault("gates", []).append("kind (was gates)")
        else:
            moved.setdefault(section_of(key), []).append(key)
    if moved:
        where = "; ".join(f"[{name}] {', '.join(keys)}" for name, keys in moved.items())
        raise RequestError(f"settings are in sections now, move these keys: {where}")


def _stray(key: str, section: str) -> str:
    right = section_of(key)
    return f"the setting {key!r} is in [{section}] and belongs in [{right}]"

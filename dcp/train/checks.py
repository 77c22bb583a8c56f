"""Checks of the keys of a settings section, each one line that names the key.

Knows no section.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from dcp.errors import RequestError

__all__ = ["at_least", "one_of", "share", "typed"]


def at_least(least: int, section: Any, *names: str) -> None:
    """Raises RequestError where one of the keys is less than ``least``."""
    for name in names:
        value = getattr(section, name)
        if not value >= least:
            raise RequestError(f"{name} must be {least} or more, not {value}")


def share(section: Any, name: str) -> None:
    """Raises RequestError where a key is not in 0 … 1."""
    if not 0 <= getattr(section, name) <= 1:
        raise RequestError(f"{name} must be in 0 … 1, not {getattr(section, name)}")


def one_of(section: Any, name: str, *known: str) -> None:
    """Raises RequestError where a key has a value that is not known."""
    if getattr(section, name) not in known:
        raise RequestError(
            f"{name} must be one of {', '.join(known)}, not {getattr(section, name)!r}"
        )


def typed(section: type, key: str, value: Any) -> Any:
    """``value`` as the type of ``section``'s ``key`` says; raises RequestError for another type."""
    (kind,) = (str(field.type) for field in fields(section) if field.name == key)
    numbers = isinstance(value, list | tuple) and all(_is(v, kind[6:-6]) for v in value)
    if kind.startswith("tuple[") and numbers:
        return tuple(value)
    plain = "str" if kind.startswith("Literal[") else kind
    if not _is(value, plain):
        wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        named = wanted.get(plain, "text" if plain == "str" else "a list of numbers")
        raise RequestError(f"{key} must be {named}, not {value!r}")
    return value


def _is(value: Any, kind: str) -> bool:
    if kind == "float":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return type(value).__name__ == kind

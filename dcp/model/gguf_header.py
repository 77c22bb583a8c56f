"""The header of a GGUF file: typed key/value pairs and the table of tensors.

Source: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian. Trusts nothing:
every count and length is checked against the file. Knows nothing of models.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry", "read_header"]

_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_MOST = 2**24


@dataclass(frozen=True)
class Entry:
    """A tensor in the file: its stored name, shape (rows first), ggml type, and first byte."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def read_header(data: mmap.mmap) -> tuple[dict[str, Any], list[Entry]]:
    """(key/value pairs, tensors). Raises ValueError or struct.error where it is damaged."""
    return _Cursor(data).read()


class _Cursor:
    """A place in the file; every read is checked against its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def read(self) -> tuple[dict[str, Any], list[Entry]]:
        if self._data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version = self._one("I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}; versions 2 and 3 are read")
        tensors, pairs = self._count(), self._count()
        fields = {self._string(): self._value(self._one("I")) for _ in range(pairs)}
        entries = [self._entry() for _ in range(tensors)]
        step = fields.get("general.alignment", 32)
        if type(step) is not int or not 0 < step <= 2**16:
            raise ValueError(f"its alignment is {step!r}")
        start = -(-self._at // step) * step
        placed = [Entry(e.name, e.shape, e.kind, start + e.offset) for e in entries]
        if any(entry.offset >= len(self._data) for entry in placed):
            raise ValueError("it is cut short: a tensor would lie behind its end")
        return fields, placed

    def _one(self, form: str) -> Any:
        (found,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return found

    def _count(self) -> int:
        found: int = self._one("Q")
        if found > min(_MOST, len(self._data)):
            raise ValueError(f"it counts {found} of something")
        return found

    def _string(self) -> str:
        size = self._count()
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise ValueError("it is cut short")
        self._at += size
        return found.decode()

    def _strings(self, size: int) -> list[str]:
        """As many strings: a vocabulary and its merges are a hundred thousand, read in one loop."""
        data, at, end, length = self._data, self._at, len(self._data), struct.Struct("<Q")
        found = []
        for _ in range(size):
            (count,) = length.unpack_from(data, at)
            start, at = at + 8, at + 8 + count
            if at > end:
                raise ValueError("it is cut short")
            found.append(data[start:at].decode())
        self._at = at
        return found

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            if kind not in _SCALARS:
                raise ValueError(f"it has a value of unknown type {kind}")
            return self._one(_SCALARS[kind])
        inner = self._one("I")
        size = self._count()
        if inner == _STRING:
            return self._strings(size)
        if inner not in _SCALARS:
            raise ValueError(f"it has a list of type {inner}")
        found = struct.unpack_from(f"<{size}{_SCALARS[inner]}", self._data, self._at)
        self._at += struct.calcsize(f"<{size}{_SCALARS[inner]}")
        return list(found)

    def _entry(self) -> Entry:
        name = self._string()
        dims = self._one("I")
        if not 0 < dims <= 4:
            raise ValueError(f"tensor {name!r} has {dims} dimensions")
        shape = tuple(reversed([self._count() for _ in range(dims)]))
        return Entry(name, shape, self._one("I"), self._one("Q"))

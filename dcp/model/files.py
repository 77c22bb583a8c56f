"""The files of a checkpoint folder, opened with care: a folder may come from anywhere.

Only regular files are opened (a pipe would block for good), only so much is read, and whatever is
wrong is one `ModelError`. Knows nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dcp.errors import ModelError

__all__ = [
    *("Stamp", "first_line", "parameters_of", "read_json", "read_text", "regular"),
    *("sha256_of", "stamp_of"),
]

Stamp = tuple[tuple[str, int, int, int], ...]
"""(name, time of change in ns, bytes, inode) of each file of a folder."""

_TEXT_LIMIT = 64 * 2**20
_HEADER_LIMIT = 16 * 2**20
_LFS = b"version https://git-lfs"


def stamp_of(folder: Path) -> Stamp:
    """What changes whenever a file of ``folder`` does. Raises ModelError for no folder."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as wrong:
        raise ModelError(f"{folder} is not a folder that can be read: {wrong.strerror}") from None
    return tuple((name, *_change(folder / name)) for name in names)


def _change(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    # A link to nothing or to itself: it is refused when something asks for the file.
    except OSError:
        return 0, -1, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def regular(path: Path) -> Path:
    """``path`` itself, a regular file or a link to one. Raises ModelError for anything else."""
    try:
        mode = path.stat().st_mode
    except OSError as wrong:
        if path.is_symlink():
            raise ModelError(f"{path} is a link to nothing; copy the file it meant there") from None
        if isinstance(wrong, FileNotFoundError):
            raise ModelError(f"{path} is missing") from None
        raise ModelError(f"{path} cannot be read: {wrong.strerror}") from None
    if not stat.S_ISREG(mode):
        raise ModelError(f"{path} is not a regular file")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ModelError, also for a file that is not there."""
    if not path.exists() and not path.is_symlink():
        raise ModelError(f"{path.parent} has no {path.name}")
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as wrong:
        raise ModelError(f"{path} cannot be read: {first_line(wrong)}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object")
    return found


def read_text(path: Path) -> str:
    """A text file in UTF-8, of at most 64 MiB. Raises ModelError."""
    if regular(path).stat().st_size > _TEXT_LIMIT:
        raise ModelError(f"{path} is larger than {_TEXT_LIMIT >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as wrong:
        raise ModelError(f"{path} cannot be read: {first_line(wrong)}") from None


def parameters_of(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header alone. Raises ModelError."""
    try:
        return sum(
            math.prod(entry["shape"])
            for name, entry in _header(path).items()
            if name != "__metadata__"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise ModelError(
            f"{path} is not a readable safetensors file: {first_line(wrong)}"
        ) from None


def _header(path: Path) -> Mapping[str, Any]:
    with regular(path).open("rb") as file:
        start = file.read(8)
        if _LFS.startswith(start) and start:
            raise ModelError(f"{path} is a git-lfs pointer, not the file; run: git lfs pull")
        length = int.from_bytes(start, "little")
        if length > _HEADER_LIMIT:
            raise ValueError("its header is too long")
        found: Mapping[str, Any] = json.loads(file.read(length))
        return found


def sha256_of(files: Iterable[Path]) -> str:
    """Of all files, one after another. Raises ModelError."""
    digest = hashlib.sha256()
    for path in files:
        with regular(path).open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def first_line(wrong: BaseException) -> str:
    """The first line of an error's message, or its type where it has none; 200 characters."""
    return (str(wrong).strip() or type(wrong).__name__).splitlines()[0][:200]

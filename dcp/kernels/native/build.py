"""Finds the compiled decode step, compiling it the first time: `library`, or why there is none.

The library lies in the user's cache folder under a name made of its sources, compiler, flags and
this processor's abilities, so that none of them can change unnoticed. Knows nothing of models.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs

from dcp.errors import DeviceError

__all__ = ["library", "why_not"]

_HERE = Path(__file__).parent
_SOURCES = (
    *("simd.h", "kv.h", "threads.h", "weights.h", "products.h", "gates.h"),
    *("attention.h", "model.h", "walk.h"),
    "step.cpp",
)
_FLAGS = (
    # Vectors never cross the interface: how they would be passed does not matter.
    *("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wno-psabi"),
    # A product and a sum become one instruction; errno of square roots is read by nobody.
    *("-ffp-contract=fast", "-fno-math-errno"),
)
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 300


@functools.cache
def why_not() -> str | None:
    """None where the step is there or could be compiled, else the reason in one line."""
    try:
        library()
    except DeviceError as reason:
        return str(reason)
    return None


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library; raises DeviceError in one line where it cannot be made."""
    path = _path()
    if not path.exists():
        _compile(path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as wrong:
        raise DeviceError(f"the compiled decode step cannot be loaded: {wrong}") from None


@functools.cache
def _compiler() -> str:
    named = os.environ.get("CXX")
    for name in (named,) if named else _COMPILERS:
        if found := shutil.which(name):
            return found
    raise DeviceError(
        f"no C++ compiler ({named or ', '.join(_COMPILERS)}) to make the native decode step; "
        "install one, or use impl cpu"
    )


def _path() -> Path:
    key = hashlib.sha256()
    for name in _SOURCES:
        key.update((_HERE / name).read_bytes())
    version = subprocess.run(
        [_compiler(), "--version"], capture_output=True, timeout=_SECONDS, check=False
    )
    for part in (
        version.stdout.decode(errors="replace"),
        *_FLAGS,
        platform.machine(),
        _abilities(),
    ):
        key.update(part.encode())
    named = os.environ.get("DCP_CACHE")
    folder = Path(named) if named else Path(platformdirs.user_cache_dir("dcp", appauthor=False))
    return folder / "native" / f"step-{key.hexdigest()[:24]}.so"


def _abilities() -> str:
    """What ``-march=native`` means here, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            command = [_compiler(), *_FLAGS, str(_HERE / "step.cpp"), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
            if done.returncode:
                lines = done.stderr.decode(errors="replace").splitlines()
                first = next((line for line in lines if "error" in line), "no message")
                raise DeviceError(
                    f"the native decode step does not compile here ({first.strip()}); use impl cpu"
                )
            # Whoever comes second replaces the same bytes.
            os.replace(made, path)
    except (OSError, subprocess.TimeoutExpired) as wrong:
        raise DeviceError(f"the native decode step cannot be compiled: {wrong}") from None

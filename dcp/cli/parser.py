"""The argument parser: argparse whose errors are one line, and the argument types it lacks.

Knows no command.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from dcp.errors import RequestError

__all__ = [
    *("Parser", "add_json", "add_model", "count", "folder", "number", "output", "port"),
    "read_text",
]

# argparse takes "-2" for a value but "-1e-3" for an option: list options need both.
_NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|-inf$|-nan$")


class Parser(argparse.ArgumentParser):
    """argparse that raises RequestError in place of printing usage and leaving the process.

    ``example`` is shown under ``--help``.
    """

    def __init__(self, *, example: str = "", **settings: object) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)  # type: ignore[arg-type]
        self.epilog = f"example:\n  {example}" if example else None
        self._negative_number_matcher = _NEGATIVE

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} (see: {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse would hide a full disk or a reader that left.
        (file or sys.stdout).write(message)


def add_json(parser: argparse.ArgumentParser, help: str = "machine output on stdout") -> None:
    parser.add_argument("--json", action="store_true", help=help)


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model`` and, for adapters, ``--base``."""
    parser.add_argument("--model", metavar="M", help="name, folder or Hub id (default: bundled)")
    parser.add_argument(
        "--base",
        metavar="DIR",
        help="folder of an adapter's base model (default: cache, installed package, Hub cache)",
    )


def count(text: str) -> int:
    """An argument type: a whole number, 0 or more."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return value


def number(text: str) -> float:
    """An argument type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def port(text: str) -> int:
    """An argument type: a port that any user may serve on, 1024 to 65535."""
    value = count(text)
    if not 1024 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 1024 to 65535")
    return value


def output(text: str) -> Path:
    """An argument type: a file that can be written, checked before the work begins."""
    path = _place(text)
    if _is_stdout(path):
        raise argparse.ArgumentTypeError(f"{text} gets what the command prints; name a file")
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file in it")
    if not os.path.isdir(path.parent):
        raise argparse.ArgumentTypeError(f"folder {path.parent} does not exist")
    return path


def folder(text: str) -> Path:
    """An argument type: a folder that is there or can be made, checked before the work begins."""
    path = _place(text)
    there = next((at for at in (path, *path.parents) if os.path.lexists(at)), path)
    if there.exists() and not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file: name a folder")
    return path


def _place(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    try:
        os.lstat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as wrong:
        raise argparse.ArgumentTypeError(f"cannot use {text[:80]}: {wrong.strerror}") from None
    return Path(text)


def _is_stdout(path: Path) -> bool:
    """Whether ``path`` is another name of the standard output, such as /dev/stdout."""
    if not str(path).startswith(("/dev/", "/proc/")):
        return False
    try:
        return os.path.samestat(os.stat(path), os.fstat(1)) and not os.path.samefile(
            path, os.devnull
        )
    except OSError:
        return False


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, exactly, less a byte order mark. Raises RequestError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise RequestError(f"{path} is not UTF-8 text (byte {wrong.start})") from None
    except (OSError, ValueError) as wrong:
        reason = wrong.strerror if isinstance(wrong, OSError) else str(wrong)
        raise RequestError(f"cannot read {path}: {reason}") from None

"""What the commands print: JSON and tables on stdout, notes on stderr.

Knows no command. Text from models and files is stripped of control characters before it reaches a
terminal; JSON escapes them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from dcp.progress import Progress

__all__ = ["note", "notes", "one_line", "print_json", "print_table", "printable"]


def print_json(value: Any, indent: int | None = 2) -> None:
    """Plain JSON on stdout, in ASCII; nan and infinity become null."""
    print(json.dumps(_plain(value), indent=indent, allow_nan=False))


def note(message: str) -> None:
    """One line of progress on stderr."""
    print(message, file=sys.stderr, flush=True)


def notes(command: str) -> Progress:
    """The `Progress` of a command: each line a note that begins with its name."""
    return lambda _, line: note(f"{command}: {line}")


def printable(text: str) -> str:
    """``text`` without what a terminal would obey; line breaks and tabs stay."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def one_line(message: str) -> str:
    """``message`` on one line, without control characters."""
    return " ".join(printable(message).split())


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Rows as aligned columns: numbers right, text left, missing values blank."""
    if not rows:
        print("(nothing)")
        return
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    left = [any(isinstance(row[name], str) for row in rows) for name in names]
    for line in cells:
        padded = (
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, left, strict=True)
        )
        print("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return one_line(str(value))


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it: numpy scalars and arrays unwrapped, nan and infinity as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)

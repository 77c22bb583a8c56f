"""Reads the tables of README and docs, which tests hold to the files that they were made from."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ROOT", "numbers", "rows_of"]

ROOT = Path(__file__).resolve().parents[2]


def rows_of(path: str, heading: str) -> list[list[str]]:
    """The cells of the table in ``path`` whose first header is ``heading``."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading}"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def numbers(cell: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", cell)]

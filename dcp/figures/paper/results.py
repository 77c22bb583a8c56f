"""Results of `dcp eval` and `dcp bench` as JSON files: read, checked, named. Draws nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "number", "one_model", "parse_results", "read_results", "table"]

_LARGEST = 16 * 2**20


@dataclass(frozen=True)
class Results:
    """The objects of one file, and its name without folders."""

    name: str
    rows: tuple[dict[str, Any], ...]

    @property
    def models(self) -> set[str]:
        """What its rows with a setting of the dial, or with none to set, name as model."""
        gated = [row for row in self.rows if row.get("gate_shift", 0.0) is not None]
        return {row["model"] for row in gated if isinstance(row.get("model"), str)}


def read_results(path: Path) -> Results:
    """The list of objects in a JSON file. Raises RequestError for any other file."""
    try:
        if path.stat().st_size > _LARGEST:
            raise RequestError(f"{path.name} is over 16 MiB: that is no output of dcp")
        return parse_results(path.name, path.read_bytes())
    except OSError as wrong:
        raise RequestError(f"cannot read {path}: {wrong.strerror}") from None


def parse_results(name: str, data: bytes) -> Results:
    """The list of objects in ``data``. Raises RequestError for anything else."""
    try:
        found = json.loads(data.decode("utf-8"), parse_int=_whole)
    except (ValueError, RecursionError):
        raise RequestError(f"{name} is not JSON: give what eval or bench wrote as JSON") from None
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise RequestError(f"{name} is no list of results: give what eval or bench wrote as JSON")
    return Results(name, tuple(rows))


def table(results: Sequence[Results], names: Sequence[str], kind: str, made: str) -> pd.DataFrame:
    """The rows that have numbers under all ``names``, with the column ``file``.

    Raises RequestError where no row has them; ``made`` says which results have.
    """
    import pandas as pd

    found = [
        {"file": part.name, **row}
        for part in results
        for row in part.rows
        if all(number(row.get(name)) is not None for name in names)
    ]
    if not found:
        files = ", ".join(part.name for part in results)
        raise RequestError(
            f"{kind} needs {', '.join(names)}, which {files} lacks: give {made}",
            remedy="results",
        )
    return pd.DataFrame(found)


def one_model(data: pd.DataFrame, kind: str) -> None:
    """Raises RequestError where rows with a gate shift, or all without one, are of several models:
    one line through both would be of neither."""
    if "model" in data:
        gated = data[data["gate_shift"].notna()] if "gate_shift" in data else data
        names = sorted({str(name) for name in gated["model"].dropna()})
        if len(names) > 1:
            raise RequestError(
                f"{kind} draws one model at a time, and these are of {', '.join(names)}: give the "
                "results of one",
                remedy="results",
            )


def number(value: Any) -> float | None:
    """A finite number of a file; None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _whole(said: str) -> int | float:
    """What no column of a table can hold becomes infinite, which `number` leaves out."""
    return int(said) if len(said) < 19 else float(said)

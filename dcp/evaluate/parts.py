"""Work of hours in parts, each kept as a file: what is there is not done again.

    parts = Parts(folder)
    piece = parts.of("1024-64-tova-0.json", measure_it, Piece.from_json, Piece.to_json)
    found = parts.arrays("gates-0.npz", score_it)

A part is written whole or not at all; one that is damaged is done anew. Without a folder nothing is
kept. Knows nothing of what is measured.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from dcp.errors import RequestError
from dcp.trace import file

__all__ = ["Arrays", "Parts"]

T = TypeVar("T")
Arrays = dict[str, npt.NDArray[Any]]
_DAMAGED = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, RequestError)


def _nobody(said: str) -> None:
    """The default for what is said of damaged files."""


@dataclass(frozen=True)
class Parts:
    """The parts in ``folder``; ``say`` hears of those that are damaged."""

    folder: Path | None
    say: Callable[[str], None] = _nobody

    def of(
        self, name: str, make: Callable[[], T], read: Callable[[Any], T], write: Callable[[T], Any]
    ) -> T:
        """The part called ``name``, a JSON file, made where it is not there.

        read   it from its JSON; RequestError or ValueError where that is none of it
        write  it as JSON
        """

        return self._kept(
            name,
            make,
            lambda path: read(json.loads(path.read_text())),
            lambda value: json.dumps(write(value)).encode(),
        )

    def arrays(
        self, name: str, make: Callable[[], Arrays], sound: Callable[[Arrays], bool] | None = None
    ) -> Arrays:
        """The same for arrays by name, a file of numpy's; what is not ``sound`` is made anew."""

        def read(path: Path) -> Arrays:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
                part = {key: found[key] for key in found.files}
            if sound is not None and not sound(part):
                raise ValueError("arrays of another kind or size")
            return part

        def data(value: Arrays) -> bytes:
            made = io.BytesIO()
            # Names are ours: none is an option of savez.
            np.savez(made, **cast(Any, value))
            return made.getvalue()

        return self._kept(name, make, read, data)

    def _kept(
        self,
        name: str,
        make: Callable[[], T],
        read: Callable[[Path], T],
        data: Callable[[T], bytes],
    ) -> T:
        path = None if self.folder is None else self.folder / name
        if path is not None and path.exists():
            try:
                return read(path)
            except _DAMAGED:
                self.say(f"{path} is damaged: measured again")
        made = make()
        if path is not None:
            file.write(path, data(made))
        return made

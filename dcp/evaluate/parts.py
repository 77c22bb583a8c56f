"""Work of hours in parts, each kept as a file: what is there is not done again.

    parts = Parts(folder)
    value = parts.of("1024-64-tova-0.json", lambda: measure(…))     # JSON

A part is written whole or not at all; one that is damaged is done anew. Without a folder nothing is
kept. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dcp.errors import RequestError

__all__ = ["Parts"]

T = TypeVar("T")


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
        """The part called ``name``, made where it is not there.

        read   it from its JSON; RequestError or ValueError where that is none of it
        write  it as JSON
        """
        path = None if self.folder is None else self.folder / name
        if path is not None and path.exists():
            try:
                return read(json.loads(path.read_text()))
            except (OSError, ValueError, TypeError, KeyError, RequestError):
                self.say(f"{path} is damaged: measured again")
        made = make()
        if path is not None:
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_text(json.dumps(write(made)))
            os.replace(part, path)
        return made

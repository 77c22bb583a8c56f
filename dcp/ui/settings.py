"""What this server allows, read once from the environment. Knows no streamlit.

``DCP_PUBLIC=1`` is a server open to strangers: bundled models only, one worker, caps on everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

__all__ = ["Settings", "read", "settings"]


@dataclass(frozen=True)
class Settings:
    """Limits of one server.

    public        strangers use it: no paths, no Hub ids
    workers       runs at the same time; the others wait in line
    new_tokens    most tokens one run may generate
    seconds       most seconds one run may take, None for no limit
    characters    longest text that is looked at
    upload_mib    largest trace file taken (MiB)
    cells         most layers times tokens of a trace file
    layers        most layers of a trace file: figures draw some of them one by one
    idle_seconds  a run whose window has been gone this long is stopped
    waiting       most runs in the line
    tour          a new window is shown around (``DCP_TOUR=0`` turns it off)
    model         the bundled model that a new window begins with (``DCP_MODEL``), "" for the usual
    """

    public: bool = False
    workers: int = 2
    new_tokens: int = 2048
    seconds: float | None = None
    characters: int = 1_000_000
    upload_mib: int = 64
    cells: int = 4_000_000
    layers: int = 1024
    idle_seconds: float = 90.0
    waiting: int = 1000
    tour: bool = True
    model: str = ""


_PUBLIC = Settings(
    public=True,
    workers=1,
    new_tokens=256,
    seconds=60.0,
    characters=100_000,
    upload_mib=4,
    cells=262_144,
    layers=128,
    idle_seconds=20.0,
    waiting=32,
)


def read(environ: Mapping[str, str]) -> Settings:
    """The settings that an environment asks for.

    >>> read({"DCP_PUBLIC": "1"}).workers
    1
    """
    chosen = _PUBLIC if _on(environ.get("DCP_PUBLIC", "")) else Settings()
    model = environ.get("DCP_MODEL", "").strip()
    return replace(chosen, tour=_on(environ.get("DCP_TOUR", "1")), model=model)


def _on(value: str) -> bool:
    return value.strip().lower() in {"1", "true", "yes", "on"}


@cache
def settings() -> Settings:
    """The settings of this process."""
    return read(os.environ)

"""Dynamic Context Pruning: see what a language model forgets.

Importing this package imports nothing heavy; names resolve on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcp.record import record
    from dcp.trace import ALIVE, Trace

__version__ = "0.1.0"
__all__ = ["ALIVE", "Trace", "__version__", "record"]

_HOMES = {"ALIVE": "dcp.trace", "Trace": "dcp.trace", "record": "dcp.record"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dcp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

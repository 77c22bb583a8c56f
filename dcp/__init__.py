"""Dynamic Context Pruning: see what a language model forgets.

    import dcp
    run = dcp.record("The river rose for three days before anyone in the village")
    run.to_frame()

Importing this package imports nothing heavy; names resolve on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcp.deaths import ALIVE
    from dcp.errors import DcpError
    from dcp.model.registry import list_models
    from dcp.runs.recorder import record
    from dcp.trace import Trace

__version__ = "0.2.0"
__all__ = ["ALIVE", "DcpError", "Trace", "__version__", "list_models", "record"]

_HOMES = {
    "ALIVE": "dcp.deaths",
    "DcpError": "dcp.errors",
    "Trace": "dcp.trace",
    "list_models": "dcp.model.registry",
    "record": "dcp.runs.recorder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dcp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

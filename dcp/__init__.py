"""Dynamic Context Pruning: see what a language model forgets.

>>> import dcp
>>> run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=8)
>>> run.tokens - run.prompt_tokens
8

What is listed here is the public library, described in ``docs/api.md``; everything else may change.
Importing this package imports nothing heavy: names resolve on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcp.deaths import ALIVE
    from dcp.errors import (
        DcpError,
        DeviceError,
        MissingPartError,
        ModelError,
        RequestError,
        TraceError,
    )
    from dcp.model.registry import ModelInfo, OpenModel, list_models, open_model
    from dcp.runs.recorder import record
    from dcp.runs.rescore import gates_off
    from dcp.trace import Trace

__version__ = "0.2.0"
__all__ = [
    "ALIVE",
    "DcpError",
    "DeviceError",
    "MissingPartError",
    "ModelError",
    "ModelInfo",
    "OpenModel",
    "RequestError",
    "Trace",
    "TraceError",
    "__version__",
    "gates_off",
    "list_models",
    "open_model",
    "record",
]

_ERRORS = tuple(name for name in __all__ if name.endswith("Error"))
_HOMES = {
    "ALIVE": "dcp.deaths",
    **dict.fromkeys(_ERRORS, "dcp.errors"),
    **dict.fromkeys(("ModelInfo", "OpenModel", "list_models", "open_model"), "dcp.model.registry"),
    "Trace": "dcp.trace",
    "gates_off": "dcp.runs.rescore",
    "record": "dcp.runs.recorder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dcp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

"""What a caller gave, as plain Python, or one clear line: used where a caller enters the package.

numpy's scalars are taken for the numbers they are; a flag is not a number, and a text is none
either. Knows nothing of what the arguments are for.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

from dcp.errors import RequestError

__all__ = ["KV_DTYPES", "flag", "one_of", "real", "whole"]

KV_DTYPES = ("float32", "float16", "bfloat16", "int8")
"""What ``kv_dtype`` can be, wherever it is asked for: how a cache keeps keys and values."""


def whole(name: str, value: Any) -> int:
    """``value`` as an int. Raises RequestError for what is no whole number.

    >>> whole("seed", 3)
    3
    """
    if not _is_flag(value):
        try:
            return int(operator.index(value))
        except TypeError:
            pass
    raise RequestError(f"{name} must be a whole number, not {_shown(value)}")


def real(name: str, value: Any) -> float:
    """``value`` as a finite float. Raises RequestError for what is no finite number."""
    if isinstance(value, numbers.Real) and not _is_flag(value) and math.isfinite(value):
        return float(value)
    raise RequestError(f"{name} must be a finite number, not {_shown(value)}")


def flag(name: str, value: Any) -> bool:
    """``value`` as a bool. Raises RequestError for what is neither True nor False."""
    if _is_flag(value):
        return bool(value)
    raise RequestError(f"{name} must be True or False, not {_shown(value)}")


def one_of(name: str, value: Any, options: Sequence[str]) -> None:
    """Raise RequestError unless ``value`` is one of ``options``."""
    if not isinstance(value, str) or value not in options:
        raise RequestError(f"{name} {_shown(value)} is unknown: choose one of {', '.join(options)}")


def _is_flag(value: Any) -> bool:
    # numpy's own bool, without importing numpy.
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _shown(value: Any) -> str:
    """``value`` on one line that is not long."""
    found = " ".join(repr(value).split())
    return found if len(found) <= 60 else f"{found[:59]}…"

"""A table as CSV that spreadsheets and parsers read back as it was meant.

Lines end in CR LF (RFC 4180), which also makes Python before 3.11.9 and 3.12.3 quote a carriage
return inside a cell. A text cell that a spreadsheet would take for a formula begins with an
apostrophe. Knows no column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(frame: pd.DataFrame) -> str:
    """``frame`` as CSV, without its index.

    >>> import pandas as pd
    >>> to_csv(pd.DataFrame({"token": ["=A1", "a\\rb"], "change": [-1.5, 2.0]}))
    'token,change\\r\\n\\'=A1,-1.5\\r\\n"a\\rb",2.0\\r\\n'
    """
    text = frame.select_dtypes(include=["object", "string"]).columns
    safe = frame.assign(**{name: frame[name].map(_inert) for name in text})
    found: str = safe.to_csv(index=False, lineterminator="\r\n")
    return found


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell

"""Where the files that travel with the code are: models, tagger, viewer, samples, pages.

In a checkout they lie beside the package, in an installed wheel inside it. Knows nothing of what
they are.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["asset", "root"]

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds ``app.py``, ``pages`` and ``assets``."""
    inside = _PACKAGE / "bundle"
    return inside if inside.is_dir() else _PACKAGE.parent


def asset(name: str) -> Path:
    """``asset("viewer/tools.js")``: a file or folder of ``assets``, whether it exists or not."""
    return root() / "assets" / name

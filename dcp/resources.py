"""What travels with the code, and which optional parts are installed.

Models, tagger, viewer, samples and pages lie beside the package in a checkout and inside it in an
installed wheel; ``PARTS`` says which extra of ``pip install 'dcp[…]'`` brings which module. Knows
nothing of what any of them are.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dcp.errors import MissingPartError

__all__ = ["PARTS", "asset", "missing", "needs", "root"]

PARTS = {
    **dict.fromkeys(("plotly", "starlette", "streamlit"), "app"),
    **dict.fromkeys(("scipy", "spacy", "statsmodels", "thinc"), "speech"),
    **dict.fromkeys(("PIL", "matplotlib"), "figures"),
    **dict.fromkeys(("accelerate",), "train"),
    **dict.fromkeys(("triton",), "gpu"),
}
"""Modules that a plain ``pip install dcp`` leaves out, and the extra that brings each."""

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds ``app.py``, ``pages`` and ``assets``."""
    inside = _PACKAGE / "bundle"
    return inside if inside.is_dir() else _PACKAGE.parent


def asset(name: str) -> Path:
    """``asset("viewer/tools.js")``: a file or folder of ``assets``, whether it exists or not."""
    return root() / "assets" / name


def needs(*modules: str) -> None:
    """Raises MissingPartError for the first of ``modules`` that is not installed.

    Imports none of them; each is a key of ``PARTS``.

    >>> needs()
    """
    for module in modules:
        if find_spec(module) is None:
            raise missing(module)


def missing(module: str) -> MissingPartError:
    """The error that says how to install ``module``, a key of ``PARTS``."""
    return MissingPartError(
        f"this needs {module}, which is not installed: pip install 'dcp[{PARTS[module]}]'"
    )

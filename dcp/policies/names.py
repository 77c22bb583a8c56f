"""The names of all policies, for those who list them without running any. Loads nothing."""

from __future__ import annotations

__all__ = ["NAMES"]

NAMES = (
    *("gates", "none", "random", "oldest", "window", "strided", "sink", "h2o", "tova", "snapkv"),
    *("keynorm", "citrus", "citrus-shared", "citrus-individual"),
)

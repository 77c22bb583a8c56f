"""What two implementations of attention in training share: the block that `depth` counts in."""

from __future__ import annotations

__all__ = ["BLOCK"]

# Queries that are worked on together; a token that is long gone when they begin is left alone.
BLOCK = 128

"""Reads a Dockerfile as far as tests look at it."""

from __future__ import annotations

import re

__all__ = ["instructions"]


def instructions(dockerfile: str) -> dict[str, list[str]]:
    """Keyword -> what follows it, one entry for each time it is used; continued lines joined.

    >>> instructions("ENV A=1 \\\\\\n    B=2\\n# no\\nUSER user\\n")
    {'ENV': ['A=1 B=2'], 'USER': ['user']}
    """
    found: dict[str, list[str]] = {}
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", dockerfile, flags=re.M))
    for line in joined.splitlines():
        word, _, rest = line.partition(" ")
        if word:
            found.setdefault(word, []).append(rest.strip())
    return found

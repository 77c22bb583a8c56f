"""How long work is followed and ended: one callback each.

What a `Progress` raises ends the work at once; a `Cancel` is asked between steps and ends it in
good order. Knows nothing of what the work is.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Cancel", "Progress", "in_parts", "silent"]

Progress = Callable[[float, str], None]
"""Called with the share of the work that is done (0 to 1), and one line on what comes next."""

Cancel = Callable[[], bool]
"""Asked between steps; True: end now."""


def silent(done: float, line: str) -> None:
    """The `Progress` of work that nobody follows."""


def in_parts(progress: Progress, parts: int) -> Callable[[str], None]:
    """To be called with a line as each of ``parts`` equal parts begins.

    >>> begin = in_parts(print, 4)
    >>> begin("reading"), begin("counting")
    0.0 reading
    0.25 counting
    (None, None)
    """
    begun = 0

    def begin(line: str) -> None:
        nonlocal begun
        progress(begun / parts, line)
        begun += 1

    return begin

"""Where a figure will be printed: widths and type sizes of the venues' templates. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcp.errors import RequestError

__all__ = ["PLAIN", "VENUES", "Page", "Venue", "Width", "page"]

Width = Literal["column", "text"]

# Serif for the five venues, which all set Times; both families come with matplotlib.
_SERIF = ("STIXGeneral", "DejaVu Serif", "DejaVu Sans")
_SANS = ("DejaVu Sans",)


@dataclass(frozen=True)
class Page:
    """The room a figure has.

    width     inches, exact
    size      points: axis labels and titles; ticks and legends are one point smaller
    families  fonts, the first that has a character draws it
    """

    width: float
    size: float = 8.0
    families: tuple[str, ...] = _SANS

    @property
    def small(self) -> float:
        """Points: ticks, legends, notes."""
        return self.size - 1


PLAIN = Page(5.5)
"""Sans serif at the width of a one-column page, where no venue is named."""


@dataclass(frozen=True)
class Venue:
    """A template: ``text`` and, where it has two columns, ``column`` width in inches; type size."""

    text: float
    column: float | None
    size: float
    families: tuple[str, ...] = _SERIF


VENUES = {
    "neurips": Venue(5.5, None, 9),
    "icml": Venue(6.75, 3.25, 8),
    "iclr": Venue(5.5, None, 9),
    "acl": Venue(6.3, 3.03, 9),
    "cvpr": Venue(6.875, 3.25, 8),
    "screen": Venue(9.0, None, 10, _SANS),
}


def page(venue: str, width: Width | None = None) -> Page:
    """The page of ``venue``; without ``width`` one column where the template has two.

    Raises RequestError for an unknown venue and for a column where there is only one.
    """
    if venue not in VENUES:
        raise RequestError(f"style {venue!r} is unknown: choose one of {', '.join(VENUES)}")
    if width not in (None, "column", "text"):
        raise RequestError(f"width {width!r} is unknown: choose column or text")
    found = VENUES[venue]
    if width == "column" and found.column is None:
        raise RequestError(f"{venue} has one column of {found.text} inches: leave --width out")
    inches = found.text if width == "text" or found.column is None else found.column
    return Page(inches, found.size, found.families)

"""Where a figure will be printed: widths, type sizes and colours. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcp.errors import RequestError

__all__ = ["PALETTES", "PLAIN", "VENUES", "Page", "Palette", "Venue", "Width", "page"]

Width = Literal["column", "text"]

# Serif for the five venues, which all set Times; both families come with matplotlib.
_SERIF = ("STIXGeneral", "DejaVu Serif", "DejaVu Sans")
_SANS = ("DejaVu Sans",)


@dataclass(frozen=True)
class Palette:
    """Colours that people with any colour vision tell apart.

    ink, soft    text and main lines; notes and rules
    held, drop   what is held; what is dropped now, the only alarm
    gone         what was dropped earlier
    groups       of the five groups of parts of speech
    lines        of up to six lines in one panel
    ramp, depth  stops of a share from 0 to 1 and of the first to the last layer, light to dark
    """

    held: str
    drop: str
    gone: str
    groups: tuple[str, str, str, str, str]
    lines: tuple[str, str, str, str, str, str]
    ramp: tuple[str, ...]
    depth: tuple[str, ...]
    ink: str = "#16181d"
    soft: str = "#555b66"


PALETTES = {
    # jfly.uni-koeln.de/color: blue, vermillion, bluish green, orange, reddish purple; the last two
    # a little darker, to be read on white.
    "okabe-ito": Palette(
        held="#0072b2",
        drop="#d55e00",
        gone="#dcd9d3",
        groups=("#0072b2", "#009e73", "#b87a00", "#16181d", "#b0568a"),
        lines=("#0072b2", "#d55e00", "#009e73", "#16181d", "#b0568a", "#b87a00"),
        ramp=("#f4f2ee", "#7fb2d6", "#0072b2", "#002a47"),
        depth=("#e69f00", "#009e73", "#0072b2", "#3a1d5c"),
    ),
    # sronpersonalpages.nl/~pault: high contrast and muted.
    "tol": Palette(
        held="#004488",
        drop="#bb5566",
        gone="#dddbd2",
        groups=("#332288", "#44aa99", "#999933", "#16181d", "#aa4499"),
        lines=("#332288", "#cc6677", "#117733", "#16181d", "#aa4499", "#999933"),
        ramp=("#f4f2ee", "#8fa6c9", "#004488", "#001a38"),
        depth=("#ddaa33", "#cc6677", "#aa4499", "#332288"),
    ),
    # For print in black: marks and dashes carry the information.
    "grey": Palette(
        held="#6e6e6e",
        drop="#000000",
        gone="#dedede",
        groups=("#16181d", "#5a5a5a", "#8a8a8a", "#16181d", "#5a5a5a"),
        lines=("#16181d", "#6e6e6e", "#3c3c3c", "#8a8a8a", "#16181d", "#6e6e6e"),
        ramp=("#f6f6f6", "#b4b4b4", "#6e6e6e", "#141414"),
        depth=("#b8b8b8", "#8a8a8a", "#5a5a5a", "#141414"),
    ),
}
"""Colours by name; the first is the default."""


@dataclass(frozen=True)
class Page:
    """The room a figure has, and its look.

    width     inches, exact
    size      points: axis labels and titles; ticks and legends are one point smaller
    families  fonts, the first that has a character draws it
    palette   colours
    """

    width: float
    size: float = 8.0
    families: tuple[str, ...] = _SANS
    palette: Palette = PALETTES["okabe-ito"]

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


def page(venue: str, width: Width | None = None, palette: str = "okabe-ito") -> Page:
    """The page of ``venue``; without ``width`` one column where the template has two.

    Raises RequestError for an unknown venue or palette and for a column where there is only one.
    """
    if venue not in VENUES:
        raise RequestError(f"style {venue!r} is unknown: choose one of {', '.join(VENUES)}")
    if width not in (None, "column", "text"):
        raise RequestError(f"width {width!r} is unknown: choose column or text")
    if palette not in PALETTES:
        raise RequestError(f"palette {palette!r} is unknown: choose one of {', '.join(PALETTES)}")
    found = VENUES[venue]
    if width == "column" and found.column is None:
        raise RequestError(
            f"{venue} has one column of {found.text} inches: leave the width out", remedy="width"
        )
    inches = found.text if width == "text" or found.column is None else found.column
    return Page(inches, found.size, found.families, PALETTES[palette])

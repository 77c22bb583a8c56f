"""Figures for print, made with matplotlib from traces and tables. Pure: equal input, equal bytes.

Text and axes are vectors with embedded fonts; many cells are one image at print resolution, few are
vectors. Reading order: `presets` (where it is printed), `request` (what is asked and what comes
back), `catalogue` (the kinds, and `draw`), `style`, then one room per family of kinds. matplotlib
and pandas are loaded when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from dcp.figures.paper.catalogue import KINDS, Kind, draw
from dcp.figures.paper.presets import PALETTES, PLAIN, VENUES, Page, Palette, Venue, page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import Results, read_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dcp.trace import Trace

__all__ = [
    "FORMATS",
    "KINDS",
    "PALETTES",
    "VENUES",
    "Drawing",
    "Kind",
    "Options",
    "Page",
    "Palette",
    "Results",
    "Subject",
    "Venue",
    "draw",
    "overview",
    "page",
    "read_results",
    "render",
]

Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = ("pdf", "svg", "png")


def overview(trace: Trace, step: int | None = None, width: float = PLAIN.width) -> Figure:
    """Layer x token at ``step`` (default: the last) above the entries held at every step.

    width: inches. Raises RequestError for a step that is not in the trace.
    """
    return draw("overview", [(trace, ())], Page(width), Options(step=step)).figure


def render(
    figure: Figure, kind: Format, page: Page = PLAIN, about: Mapping[str, str] | None = None
) -> bytes:
    """The figure as a file, as `dcp.figures.paper.style.render` says. Raises RequestError."""
    from dcp.figures.paper import style

    return style.render(figure, kind, page, about)

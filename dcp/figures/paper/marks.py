"""Pieces that several figures share: cells, the seam, layer ticks, text that fonts can draw."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.font_manager import FontProperties, findfont, get_font

from dcp.figures.paper.presets import Page
from dcp.trace import Trace

__all__ = [
    "cells",
    "layer_ticks",
    "logarithmic",
    "pooled",
    "readable",
    "row_height",
    "seam",
    "whole_ticks",
]

VECTOR_CELLS = 2500
"""Up to so many cells are drawn as vectors, above it as one image without smoothing."""
COLUMNS = 1500
"""More columns than these are averaged: a printer would show some and skip others."""


def cells(
    axes: Axes,
    values: npt.NDArray[Any],
    *,
    cmap: Any,
    limits: tuple[float, float],
    first: float = 0,
) -> Any:
    """Draw ``values`` [rows, columns], row 0 on top, cell (r, c) around (``first`` + c, r).

    Of more than ``COLUMNS`` columns the averages are drawn: of numbers, or, where the values are
    integers that name states, of their colours.
    """
    rows, columns = values.shape
    left, right = first - 0.5, first + columns - 0.5
    look: dict[str, Any] = {"cmap": cmap, "vmin": limits[0], "vmax": limits[1]}
    if values.size > VECTOR_CELLS:
        extent = (left, right, rows - 0.5, -0.5)
        shown = values
        if columns > COLUMNS:
            states = np.issubdtype(values.dtype, np.integer)
            shown = _averaged(cmap(Normalize(*limits)(values)) if states else values)
        drawn: Any = axes.imshow(
            shown, aspect="auto", interpolation="nearest", extent=extent, **look
        )
    else:
        # Cells that only touch show hairlines between them.
        roomy = columns <= 60
        drawn = axes.pcolormesh(
            np.linspace(left, right, columns + 1),
            np.arange(rows + 1) - 0.5,
            values,
            edgecolors="white" if roomy else "face",
            linewidth=0.4 if roomy else 0.35,
            **look,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(rows - 0.5, -0.5)
    return drawn


def pooled(columns: int) -> str:
    """What a caption says of cells whose columns `cells` averages; "" for fewer."""
    if columns <= COLUMNS:
        return ""
    return f"Colours are averages: {COLUMNS:,} columns show {columns:,} positions."


def _averaged(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """``values`` [rows, columns, ...] with ``COLUMNS`` columns, each the mean over its width."""
    columns = values.shape[1]
    total = np.cumsum(np.insert(values.astype(float), 0, 0, axis=1), axis=1)
    edges = np.linspace(0, columns, COLUMNS + 1)
    whole = np.minimum(edges.astype(int), columns - 1)
    part = (edges - whole).reshape(-1, *[1] * (values.ndim - 2))
    reached = total[:, whole] * (1 - part) + total[:, whole + 1] * part
    mean = np.diff(reached, axis=1) * (COLUMNS / columns)
    # Rounding must stay within 0..1.
    return np.asarray(np.clip(mean, values.min(), values.max()), np.float64)


def seam(axes: Axes, trace: Trace, page: Page, named: bool = True, right: float = np.inf) -> None:
    """A line where the continuation begins, if there is one left of ``right``, with both names."""
    at = trace.prompt_tokens - 0.5
    if not 0 < trace.prompt_tokens < min(trace.tokens, right):
        return
    axes.axvline(at, color=page.palette.ink, lw=0.6)
    if not named:
        return
    place: dict[str, Any] = {
        "xycoords": axes.get_xaxis_transform(),
        "textcoords": "offset points",
        "va": "bottom",
        "fontsize": page.small - 0.5,
        "color": page.palette.soft,
        "annotation_clip": False,
    }
    low, high = axes.get_xlim()
    share = (at - low) / (high - low)
    if share > 0.15:
        axes.annotate("prompt", (at, 1), xytext=(-3, 1), ha="right", **place)
    # A short continuation has no room for its name.
    room = 0.12 if page.width > 4.5 else 0.2
    if 1 - share > room:
        axes.annotate("generated", (at, 1), xytext=(3, 1), ha="left", **place)


def layer_ticks(axes: Axes, layers: int, height: float, page: Page, which: str = "y") -> range:
    """A tick per layer on ``which`` axis, thinned where ``height`` inches have no room for all.

    Returns the layers that have one.
    """
    fit = max(int(height * 72 / (page.small * 1.25)), 2)
    stride = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100, 1000) if layers / s <= fit)
    named = range(0, layers, stride)
    (axes.set_yticks if which == "y" else axes.set_xticks)(named)
    return named


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis for what lies from ``low`` to ``high``, both above 0, in the data's own
    unit, with three to six plain numbers: matplotlib's own are formulae, which text here never is.
    """
    low, high = low / 1.06, high * 1.06
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: max(1, -(-len(ticks) // 6))]
    axes.set_yscale("log")
    axes.set_yticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(low, high)


def whole_ticks(axes: Axes, which: Literal["x", "y", "both"] = "x") -> None:
    """Ticks at whole numbers only: there is no step 2.5."""
    axes.locator_params(which, integer=True)


def row_height(rows: int, page: Page) -> float:
    """Inches of all ``rows`` of a grid: a line of type each, thinner where there are many."""
    return rows * float(np.clip(2.4 / max(rows, 1), 0.045, page.size * 1.7 / 72))


def readable(text: str, page: Page) -> str:
    """``text`` as the page's fonts can draw it: line breaks as ↵, what has no glyph as □."""
    fonts = [_characters(family) for family in page.families]
    shown = []
    # Composed, as most fonts have the letters of a language.
    for character in unicodedata.normalize("NFC", text):
        if character == "\n":
            shown.append("↵")
        elif unicodedata.category(character) in ("Mn", "Me", "Cf"):
            # These have no width of their own: joiners and marks alone are left out.
            if shown and any(ord(character) in font for font in fonts):
                shown.append(character)
        elif character.isspace():
            shown.append(" ")
        else:
            drawn = character.isprintable() and any(ord(character) in font for font in fonts)
            shown.append(character if drawn else "□")
    return "".join(shown)


@lru_cache(maxsize=8)
def _characters(family: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=family))).get_charmap())

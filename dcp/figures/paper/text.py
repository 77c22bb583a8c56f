"""The running text, struck through by the share of layers that dropped each token. Kind "text".

The text is a person's: every character is drawn as itself or as □, none is markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.marks import readable
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.states import span_of, step_of
from dcp.figures.paper.style import drawing, figure

__all__ = ["text"]

_FADED = "#767676"
"""Ink of a token that all layers dropped: 4.5 to 1 on white."""
_GHOST = "#a9adb5"
_TALLEST = 9.0
_LEADING = 1.45


@dataclass(frozen=True)
class _Bit:
    """A stretch of one token that stays on one line; ``share`` is nan where it is not read yet."""

    text: str
    share: float
    generated: bool


@dataclass(frozen=True)
class _Placed:
    """A bit at ``x`` points from the left on line ``y`` (lines, from the top)."""

    bit: _Bit
    x: float
    y: float
    width: float


def text(subject: Subject, options: Options, page: Page) -> Drawing:
    """The text at ``options.step``: a line through each token, thicker the more layers dropped it.

    Raises RequestError for a text that is longer than a page.
    """
    trace = subject.trace
    at, (first, last) = step_of(trace, options.step), span_of(trace, options.span)
    layers = list(range(trace.layers)) if options.layer is None else [options.layer]
    dropped = (trace.death[layers] <= at).sum(0)
    token = np.arange(first, last + 1)
    fragments = trace.fragments()
    data = pd.DataFrame(
        {
            "token": token,
            "text": fragments[first : last + 1],
            "source": np.where(token < trace.prompt_tokens, "prompt", "generated"),
            "read": token <= at,
            "layers_dropped": dropped[first : last + 1],
            "layers": len(layers),
        }
    )
    bits = [
        (part, float(dropped[j] / len(layers)) if j <= at else np.nan, j >= trace.prompt_tokens)
        for j in token.tolist()
        for part in re.findall(r"\n+|[^\S\n]+|\S+", fragments[j])
    ]
    with drawing(page):
        placed = _set([_Bit(*bit) for bit in bits], page)
        lines = max((bit.y for bit in placed), default=0) + 1
        leading = page.size * _LEADING
        height = (lines + 1.6) * leading / 72
        if height > _TALLEST:
            fits = int(len(token) * _TALLEST / height * 0.9)
            raise RequestError(
                f"{len(token)} tokens are more than a page: choose a span of them, for example "
                f"{first} to {first + fits}",
                remedy="span",
            )
        drawn = figure(page, height)
        drawn.set_layout_engine("none")
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, page.width * 72)
        axes.set_ylim(height * 72, 0)
        for bit in placed:
            _print(axes, bit, leading, page)
        one = len(layers) == 1
        _legend(axes, (lines + 0.5) * leading, leading, page, one, bool((token > at).any()))
    where = "in all layers" if options.layer is None else f"in layer {options.layer}"
    words = caption(
        subject,
        f"The text when step {at} has been read"
        + (f", tokens {first} to {last}" if options.span else "")
        + f": the line through a token is as thick, and its ink as pale, as the share of layers "
        f"that dropped it ({where}).",
        "Italics: written by the model." if trace.tokens > trace.prompt_tokens else "",
    )
    return Drawing("text", page, drawn, data, words)


def _set(bits: Sequence[_Bit], page: Page) -> list[_Placed]:
    """Break into lines at white space and at line ends; a word wider than a line breaks anywhere.

    Coordinates are points from the left and lines from the top.
    """
    room = page.width * 72 - 1
    placed: list[_Placed] = []
    x, y = 0.0, 0.0
    for kind, run in groupby(bits, key=lambda bit: _kind(bit.text)):
        parts = list(run)
        if kind == "break":
            # However many blank lines: one half line.
            more = sum(part.text.count("\n") for part in parts) > 1
            if placed:
                x, y = 0.0, y + (1.5 if more else 1.0)
            continue
        if kind == "space":
            x += _width(" ", parts[0].generated, page) if x else 0.0
            continue
        measured = [
            (part, _width(readable(part.text, page), part.generated, page)) for part in parts
        ]
        total = sum(width for _, width in measured)
        if x and x + total > room:
            x, y = 0.0, y + 1
        if total > room:
            measured = list(_letters(parts, page))
        for part, width in measured:
            if x and x + width > room:
                x, y = 0.0, y + 1
            placed.append(_Placed(part, x, y, width))
            x += width
    return placed


def _kind(text: str) -> str:
    return "break" if "\n" in text else "space" if text.isspace() else "word"


def _letters(parts: Sequence[_Bit], page: Page) -> Iterator[tuple[_Bit, float]]:
    for part in parts:
        for letter in part.text:
            bit = _Bit(letter, part.share, part.generated)
            yield bit, _width(readable(letter, page), part.generated, page)


@lru_cache(maxsize=8192)
def _width(text: str, italic: bool, page: Page) -> float:
    """Points that ``text`` takes, white space at its ends included."""
    font = _font(italic, page)
    measure = TextToPath().get_text_width_height_descent
    return float(measure(f"|{text}|", font, False)[0] - measure("||", font, False)[0])


def _font(italic: bool, page: Page) -> FontProperties:
    return FontProperties(
        family=list(page.families), size=page.size, style="italic" if italic else "normal"
    )


def _print(axes: Axes, placed: _Placed, leading: float, page: Page) -> None:
    bit = placed.bit
    shown = readable(bit.text, page)
    if not shown:
        return
    base = (placed.y + 1) * leading
    share = bit.share
    ink: object = _GHOST
    if np.isfinite(share):
        ink = tuple(
            (1 - share) * np.array(to_rgb(page.palette.ink)) + share * np.array(to_rgb(_FADED))
        )
    axes.text(
        placed.x, base, shown, fontproperties=_font(bit.generated, page), color=ink, va="baseline"
    )
    if share > 0:
        height = base - page.size * 0.24
        axes.plot(
            [placed.x, placed.x + placed.width],
            [height, height],
            color=page.palette.soft,
            lw=0.2 + 0.7 * share**2,
            solid_capstyle="butt",
        )


def _legend(axes: Axes, base: float, leading: float, page: Page, one: bool, ghosts: bool) -> None:
    names = [("dropped by", 0.0), ("no layer", 0.0), ("a quarter", 0.25), ("half", 0.5)]
    names += [("three quarters", 0.75), ("all", 1.0)]
    if one:
        names = [("held", 0.0), ("dropped", 1.0)]
    if ghosts:
        names.append(("not read yet", np.nan))
    small = replace(page, size=page.small)
    gap = 14.0
    x = page.width * 72 - 1 + gap - sum(_width(name, False, small) + gap for name, _ in names)
    axes.plot([0, page.width * 72], [base + 1] * 2, color=page.palette.soft, lw=0.3)
    for name, share in names:
        width = _width(name, False, small)
        _print(axes, _Placed(_Bit(name, share, False), x, base / leading, width), leading, small)
        x += width + gap

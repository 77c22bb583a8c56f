"""Layer x token at one step: which layers hold which tokens. Kinds "overview" and "heatmap"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.marks import (
    cells,
    layer_ticks,
    pooled,
    readable,
    row_height,
    seam,
    whole_ticks,
)
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing, figure, state_colours
from dcp.trace import Trace

__all__ = ["figure_1", "heatmap", "overview", "overview_figure", "span_of", "step_of"]

_NAMES = ("not read yet", "dropped earlier", "held", "dropped at this step")
_STEPS = "step (position of the token that is read)"
_NAMED_TOKENS = 40
_THIRTY = 30
_LONGEST = 14


def step_of(trace: Trace, step: int | None) -> int:
    """``step``, or the last one. Raises RequestError for one that is not in the trace."""
    last = trace.n_queries - 1
    at = last if step is None else step
    if not 0 <= at <= last:
        raise RequestError(f"step {at} is not in this trace: steps are 0 to {last}")
    return at


def span_of(trace: Trace, span: tuple[int, int] | None) -> tuple[int, int]:
    """``span``, or all tokens; both ends inclusive. Raises RequestError."""
    first, last = span or (0, trace.tokens - 1)
    if not 0 <= first <= last < trace.tokens:
        raise RequestError(
            f"no tokens {first} to {last}: this trace has tokens 0 to {trace.tokens - 1}"
        )
    return first, last


def heatmap(subject: Subject, options: Options, page: Page) -> Drawing:
    """The state of each token in each layer at ``options.step``, with the held count by layer."""
    trace = subject.trace
    at, (first, last) = step_of(trace, options.step), span_of(trace, options.span)
    with drawing(page):
        tall = row_height(trace.layers, page)
        names = [] if last - first >= _NAMED_TOKENS else _names(trace, first, last, page)
        longest = max(map(len, names), default=0)
        drawn = figure(page, tall + 0.62 + longest * page.small * 0.55 / 72)
        axes = drawn.subplots()
        state, named = _grid(axes, trace, at, page, tall, first, last)
        held = (state == 2).sum(1)
        for layer in named:
            axes.annotate(
                str(held[layer]),
                (1, layer),
                xycoords=axes.get_yaxis_transform(),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=page.small,
                color=page.palette.held,
            )
        axes.annotate(
            "held",
            (1, 1),
            xycoords="axes fraction",
            xytext=(3, 4),
            textcoords="offset points",
            fontsize=page.small,
            color=page.palette.held,
        )
        if names:
            axes.set_xticks(range(first, last + 1), names, rotation=90)
        else:
            axes.set_xlabel("token (position)")
            whole_ticks(axes)
        seam(axes, trace, page, named=False, right=last + 1)
    row, token = np.divmod(np.arange(state.size), state.shape[1])
    data = pd.DataFrame(
        {
            "layer": row,
            "token": token + first,
            "state": np.array(_NAMES)[state.ravel()],
        }
    )
    shown = f"tokens {first} to {last}" if options.span else "all tokens"
    words = caption(
        subject,
        f"What each layer still holds when step {at} has been read ({shown}).",
        "A dropped token is out of reach of every later token in that layer.",
        "Numbers at the right: tokens held in the layer, of those shown.",
        pooled(state.shape[1]),
        "Vertical line: where the continuation begins."
        if trace.tokens > trace.prompt_tokens
        else "",
    )
    return Drawing("heatmap", page, drawn, data, words)


def figure_1(subject: Subject, options: Options, page: Page) -> Drawing:
    """`heatmap` of 30 tokens by name, at the step that reads the last of them: the first figure of
    a paper. The span ends at ``options.step``; None: at the step where the tokens' fates differ
    most. It begins where a sentence does, if one does nearby."""
    trace = subject.trace
    first, last = _thirty(trace, options.step)
    at = replace(options, step=min(last, trace.n_queries - 1), span=(first, last))
    drawn = heatmap(subject, at, page)
    return replace(drawn, kind="figure-1")


def _thirty(trace: Trace, step: int | None) -> tuple[int, int]:
    n = min(_THIRTY, trace.n_queries)
    if step is not None:
        last = max(step_of(trace, step), n - 1)
        return last - n + 1, last
    pieces, best = trace.pieces(), (-1.0, 0)
    for first in range(trace.n_queries - n + 1):
        held = (trace.death[:, first : first + n] > first + n - 1).mean(axis=1)
        # Most to see where each layer holds about half, and layers differ.
        seen = float((held * (1 - held)).mean() + held.std())
        before = pieces[first - 1].rstrip(" ") if first else "."
        opens = before.endswith((".", "!", "?", "\n")) and pieces[first].strip()[:1].isalnum()
        best = max(best, (seen + opens, first))
    return best[1], best[1] + n - 1


def _names(trace: Trace, first: int, last: int, page: Page) -> list[str]:
    """Labels of the columns: the tokens, long ones cut."""
    names = [readable(piece.strip() or piece, page) for piece in trace.pieces()[first : last + 1]]
    return [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]


def overview(subject: Subject, options: Options, page: Page) -> Drawing:
    """`heatmap` above the entries held at every step."""
    trace = subject.trace
    at = step_of(trace, options.step)
    steps = np.arange(trace.n_queries)
    data = pd.DataFrame(
        {
            "step": steps,
            "held": trace.held().sum(0),
            "dense": trace.layers * (steps + 1),
        }
    )
    words = caption(
        subject,
        f"Above: what each layer holds when step {at} has been read.",
        "Below: entries held in all layers at every step, beside those of a dense model.",
        pooled(trace.tokens),
    )
    return Drawing("overview", page, overview_figure(trace, at, page), data, words)


def overview_figure(trace: Trace, step: int, page: Page) -> Figure:
    """The figure of `overview`: cells of step ``step``, then the curve."""
    with drawing(page):
        tall = row_height(trace.layers, page)
        drawn = figure(page, tall + 0.5 + 1.35)
        grid, memory = drawn.subplots(2, 1, sharex=True, height_ratios=[tall, 1.1])
        _grid(grid, trace, step, page, tall, 0, trace.tokens - 1)
        _held(memory, trace, step, page)
        memory.set_xlim(-0.5, trace.tokens - 0.5)
        seam(grid, trace, page, named=False)
        seam(memory, trace, page)
    return drawn


def _grid(
    axes: Axes, trace: Trace, at: int, page: Page, tall: float, first: int, last: int
) -> tuple[np.ndarray, range]:
    """Draw the cells; returns the states and the layers that have a tick."""
    state = _states(trace, at)[:, first : last + 1]
    cells(axes, state, cmap=state_colours(page), limits=(-0.5, 3.5), first=first)
    # Rows are told apart by a gap: a layer that holds all must not melt into the next.
    gap = float(np.clip(tall * 72 / trace.layers * 0.14, 0.15, 1.2))
    axes.hlines(
        np.arange(1, trace.layers) - 0.5, first - 0.5, first + state.shape[1] - 0.5,
        color="white", lw=gap, capstyle="butt",
    )  # fmt: skip
    # A cross on what goes now, so that the colour is not alone; a dot of ink where cells are thin.
    layer, token = np.nonzero(state == 3)
    wide = page.width * 60 / state.shape[1]
    size = float(np.clip(min(wide, tall * 60 / trace.layers) * 0.5, 0.8, 3))
    axes.plot(token + first, layer, ls="", marker="x", ms=size, mew=0.5, color=page.palette.ink)
    axes.set_ylabel("layer")
    named = layer_ticks(axes, trace.layers, tall, page)
    axes.tick_params(axis="y", length=0)
    handles: list[Any] = [
        Patch(color=page.palette.held, label="held"),
        Patch(color=page.palette.drop, label="dropped now" if page.width < 4.5 else _NAMES[3]),
        Patch(color=page.palette.gone, label="dropped" if page.width < 4.5 else _NAMES[1]),
    ]
    narrow = {"columnspacing": 0.7, "handlelength": 0.9} if page.width < 4.5 else {}
    axes.legend(handles=handles, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), **narrow)
    axes.set_title(f"step {at}", loc="left")
    return state, named


def _states(trace: Trace, at: int) -> np.ndarray:
    """[L, T] uint8: index into ``_NAMES``."""
    read = np.arange(trace.tokens) <= at
    state = np.where(trace.death > at, 2, np.where(trace.death == at, 3, 1))
    return np.where(read, state, 0).astype(np.uint8)


def _held(axes: Any, trace: Trace, at: int, page: Page) -> None:
    steps = np.arange(trace.n_queries)
    held = trace.held().sum(0)
    dense = trace.layers * (steps + 1)
    axes.plot(steps, dense, color=page.palette.soft, lw=0.8, ls=(0, (5, 2)), label="dense")
    axes.fill_between(steps, held, color=page.palette.held, alpha=0.2, lw=0)
    axes.plot(steps, held, color=page.palette.held, lw=1.1, label="held")
    axes.axvline(at, color=page.palette.soft, lw=0.6, ls=(0, (1, 2)))
    axes.set_ylabel("entries, all layers")
    axes.set_xlabel(_STEPS)
    whole_ticks(axes)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")

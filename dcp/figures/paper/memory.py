"""What stays in memory: kinds "held" (by step), "sparsity" (by context length), "depth"."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import PercentFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.marks import cells, layer_ticks, pooled, row_height, seam, whole_ticks
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import (
    depth_colour,
    depth_map,
    drawing,
    figure,
    ramp,
)
from dcp.trace import Trace

__all__ = ["depth", "held", "sparsity"]

_NAMED_LINES = 12
"""Lines that have their layer at the end; more have a scale of colours."""


def held(subject: Subject, options: Options, page: Page) -> Drawing:
    """Entries each layer holds at each step, their mean, and those of a dense run."""
    trace = subject.trace
    entries, steps = trace.held(), np.arange(trace.n_queries)
    with drawing(page):
        height = min(page.width * 0.6, 2.9)
        drawn = figure(page, height)
        axes = drawn.subplots()
        for layer, row in enumerate(entries):
            axes.plot(steps, row, color=depth_colour(layer, trace.layers, page), lw=0.8)
        # Above the layers, which it may coincide with.
        axes.plot(steps, steps + 1, color=page.palette.ink, lw=0.9, ls=(0, (4, 4)), label="dense")
        mean = entries.mean(0)
        axes.plot(steps, mean, color=page.palette.ink, lw=1.5, label="mean of layers")
        axes.set_xlim(0, max(trace.n_queries - 1, 1))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_ylabel("entries held in a layer")
        axes.legend(loc="upper left")
        whole_ticks(axes, "both")
        if trace.layers <= _NAMED_LINES:
            _name_ends(axes, entries[:, -1], height - 0.5, page)
        else:
            depths = ScalarMappable(Normalize(0, trace.layers - 1), depth_map(page))
            bar = drawn.colorbar(depths, ax=axes, aspect=25, pad=0.02)
            bar.set_label("layer")
            bar.outline.set_visible(False)
        seam(axes, trace, page)
    at, step = np.divmod(np.arange(entries.size), entries.shape[1])
    data = pd.DataFrame(
        {
            "layer": at,
            "step": step,
            "held": entries.ravel(),
            "dense": step + 1,
        }
    )
    words = caption(
        subject,
        "Entries (keys and values of one token) that each layer holds when a step's token has been "
        "read; the right margin names the layers. Dashed: a dense model.",
        f"At the end {mean[-1]:.0f} of {trace.n_queries:,} are held, mean over "
        f"{trace.layers} layers.",
    )
    return Drawing("held", page, drawn, data, words)


def _name_ends(axes: Axes, ends: np.ndarray, height: float, page: Page) -> None:
    """The number of each layer at the end of its line, moved apart where lines meet."""
    gap = axes.get_ylim()[1] * (page.small * 1.05 / 72) / height
    order = np.argsort(ends, kind="stable")
    at = _apart(ends[order].astype(float), gap)
    for layer, y in zip(order, at, strict=True):
        axes.annotate(
            str(layer),
            (1, ends[layer]),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.03, y),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=page.small,
            color=page.palette.ink,
            arrowprops={
                "arrowstyle": "-",
                "color": depth_colour(layer, len(ends), page),
                "lw": 0.7,
                "shrinkA": 0.5,
                "shrinkB": 0,
            },
        )
    axes.annotate(
        "layer",
        (1.03, max(at[-1] + gap * 1.1, 0)),
        xycoords=axes.get_yaxis_transform(),
        va="center",
        fontsize=page.small,
        color=page.palette.soft,
        annotation_clip=False,
    )


def _apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Ascending places at least ``gap`` apart, as near to the ascending ``wanted`` as can be.

    >>> _apart(np.array([0.0, 5.0, 5.0]), 2).tolist()
    [0.0, 4.0, 6.0]
    """
    # Isotonic regression of the places less their rank times the gap.
    pools: list[tuple[float, int]] = []
    for value in wanted - gap * np.arange(len(wanted)):
        mean, size = float(value), 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, size = (mean * size + before * many) / (size + many), size + many
        pools.append((mean, size))
    level = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    return np.asarray(np.maximum(level, 0) + gap * np.arange(len(wanted)))


def sparsity(subject: Subject, options: Options, page: Page) -> Drawing:
    """Dropped share of the previous tokens at every step: the mean, and each layer as cells."""
    trace = subject.trace
    if trace.n_queries < 2:
        raise RequestError("sparsity needs a text of two tokens or more")
    steps = np.arange(1, trace.n_queries)
    share = (steps + 1 - trace.held()[:, 1:]) / steps
    with drawing(page):
        tall = row_height(trace.layers, page)
        drawn = figure(page, tall + 1.5)
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[0.9, tall])
        above.plot(steps, share.mean(0), color=page.palette.ink, lw=1.1)
        above.set_ylim(0, 1)
        above.yaxis.set_major_formatter(PercentFormatter(1))
        above.set_yticks([0, 0.5, 1])
        above.grid(axis="y", lw=0.3, color="#dddddd")
        above.set_ylabel("dropped")
        drawn_cells = cells(below, share, cmap=ramp(page), limits=(0, 1), first=1)
        below.set_ylabel("layer")
        whole_ticks(below)
        below.set_xlabel("context length (tokens before the step)")
        layer_ticks(below, trace.layers, tall, page)
        below.tick_params(axis="y", length=0)
        bar = drawn.colorbar(
            drawn_cells, ax=[above, below], aspect=30, pad=0.015, format=PercentFormatter(1)
        )
        bar.set_label("dropped")
        bar.outline.set_visible(False)
        seam(below, trace, page, named=False)
        seam(above, trace, page)
    layer, column = np.divmod(np.arange(share.size), share.shape[1])
    data = pd.DataFrame({"layer": layer, "step": column + 1, "sparsity": share.ravel()})
    words = caption(
        subject,
        "Dropped share of the tokens before each step, by layer (below) and as the mean of layers "
        "(above).",
        f"At the last step (context {trace.n_queries - 1:,}) the mean is "
        f"{trace.sparsity_at_end():.1%}; the mean over steps is {trace.sparsity_mean_steps():.1%}.",
        pooled(share.shape[1]),
    )
    return Drawing("sparsity", page, drawn, data, words)


def depth(subject: Subject, options: Options, page: Page) -> Drawing:
    """Share of tokens that each layer keeps, at the end and as the mean over steps."""
    parts = [_kept(trace, text) for text, trace in enumerate(subject.traces)]
    data = pd.concat(parts, ignore_index=True)
    layers = np.arange(subject.trace.layers)
    with drawing(page):
        drawn = figure(page, min(page.width * 0.55, 2.4))
        axes = drawn.subplots()
        series = (
            ("mean_over_steps", page.palette.held, "o", "-", "mean over steps"),
            ("at_end", page.palette.ink, "s", (0, (4, 2)), "at the last step"),
        )
        for name, colour, marker, dashes, label in series:
            if len(parts) > 1:
                axes.plot(
                    data["layer"], data[name], ls="", marker=".", ms=2, color=colour,
                    alpha=0.6, mew=0,
                )  # fmt: skip
            mean = data.groupby("layer")[name].mean()
            axes.plot(
                layers, mean, color=colour, marker=marker, ms=3.5, lw=1, ls=dashes,
                label=label,
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("layer")
        axes.set_ylabel("tokens held")
        layer_ticks(axes, len(layers), page.width * 0.6, page, "x")
        axes.grid(axis="y", lw=0.3, color="#dddddd")
        axes.legend(loc="best")
    words = caption(
        subject,
        "Share of the previous tokens that each layer still holds, at the last step and as the "
        "mean over steps; both grow smaller with context.",
        "Small dots are single texts, lines their mean." if len(parts) > 1 else "",
    )
    return Drawing("depth", page, drawn, data, words)


def _kept(trace: Trace, text: int) -> pd.DataFrame:
    before = trace.n_queries - 1
    end = np.ones(trace.layers)
    if before:
        end = (trace.held()[:, -1] - 1) / before
    return pd.DataFrame(
        {
            "text": text,
            "layer": np.arange(trace.layers),
            "mean_over_steps": 1 - trace.sparsity_per_layer(),
            "at_end": end,
            "steps": before,
        }
    )

"""Lives against steps: kinds "lifelines" (one layer, a bar per token) and "mask" (all layers)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from dcp.figures.paper.caption import caption
from dcp.figures.paper.marks import whole_ticks
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing, figure, reach
from dcp.trace import ALIVE, Trace

__all__ = ["block_of", "lifelines", "mask", "shares_in_reach", "typical_layer"]

_BLOCKS = 768
"""Rows and columns of a mask at most; above it a cell is the share visible in a block."""


def lifelines(subject: Subject, options: Options, page: Page) -> Drawing:
    """A bar per token, down from the step that reads it to the one that drops it, in one layer: as
    the view in the browser draws it."""
    trace = subject.trace
    layer = typical_layer(trace) if options.layer is None else options.layer
    data = _lives(trace, [layer])
    born, end = data["born"].to_numpy(), data["last_step"].to_numpy() + 1
    dropped = ~data["censored"].to_numpy()
    with drawing(page):
        height = min(page.width * 0.72, 3.6)
        drawn = figure(page, height)
        axes = drawn.subplots()
        # Spacing of the tokens (points).
        room = (page.width - 0.6) * 72 / trace.tokens
        segments = np.stack([np.stack([born, born], 1), np.stack([born, end], 1)], 1)
        axes.add_collection(
            LineCollection(
                list(segments),
                colors=page.palette.held,
                # Lines that touch: no wider than their spacing.
                linewidths=float(np.clip(room * 0.75, min(room, 0.25), 3)),
                capstyle="butt",
                rasterized=len(born) > 2500,
            )
        )
        axes.plot(
            born[dropped],
            end[dropped],
            ls="",
            marker="_",
            ms=float(np.clip(room * 1.6, 1.6, 5)) if room > 0.15 else 0.6,
            mew=0.7 if room > 0.15 else 0.3,
            color=page.palette.drop,
            rasterized=len(born) > 2500,
        )
        axes.set_xlim(-0.5, trace.tokens - 0.5)
        axes.set_ylim(trace.n_queries + 0.5, -0.5)
        axes.set_ylabel("step")
        whole_ticks(axes, "both")
        axes.set_xlabel("token")
        axes.set_title(f"layer {layer}", loc="left")
        handles = [
            Line2D([], [], color=page.palette.held, lw=2, label="held"),
            Line2D(
                [], [], ls="", marker="_", ms=6, mew=1.2, color=page.palette.drop, label="dropped"
            ),
        ]
        if 0 < trace.prompt_tokens < trace.tokens:
            axes.axhline(trace.prompt_tokens - 0.5, color=page.palette.ink, lw=0.6)
            name = "generated from here"
            handles.append(Line2D([], [], color=page.palette.ink, lw=0.6, label=name))
        # The triangle over the diagonal is empty: no token is held before it is read.
        axes.legend(handles=handles, loc="upper right")
    why = "" if options.layer is not None else " (the layer of median sparsity)"
    words = caption(
        subject,
        f"Life of every token in layer {layer}{why}: a bar runs down from the step that reads a "
        "token to the first step without it; bars without a mark are still held at the end.",
        f"{int(dropped.sum()):,} of {len(born):,} tokens are dropped. Marks in one row were "
        "dropped together.",
    )
    return Drawing("lifelines", page, drawn, data, words)


def typical_layer(trace: Trace) -> int:
    """The layer of median sparsity."""
    order = np.argsort(trace.sparsity_per_layer(), kind="stable")
    return int(order[(trace.layers - 1) // 2])


def mask(subject: Subject, options: Options, page: Page) -> Drawing:
    """The attention mask of each layer: row = query, column = key it may attend to."""
    trace = subject.trace
    layers = list(range(trace.layers)) if options.layer is None else [options.layer]
    columns = min(len(layers), 4 if page.width > 4.5 else 3)
    rows = -(-len(layers) // columns)
    while rows * page.width / columns > 9 and columns < len(layers):
        columns += 1
        rows = -(-len(layers) // columns)
    side = min((page.width - 0.45) / columns, 4.5)
    kept = {layer: _kept(trace, layer) for layer in layers}
    with drawing(page):
        drawn = figure(page, rows * (side + 0.16) + 0.55)
        grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        end = trace.n_queries - 0.5
        image: Any = None
        for layer, axes in zip(layers, grid.flat, strict=False):
            look: dict[str, Any] = {"cmap": reach(page), "vmin": 0, "vmax": 1, "aspect": "equal"}
            picture = shares_in_reach(trace.death[layer, : trace.n_queries])
            extent = (-0.5, end, end, -0.5)
            image = axes.imshow(picture, interpolation="nearest", extent=extent, **look)
            axes.set_title(f"layer {layer}: {kept[layer]:.0%} held", fontsize=page.small, pad=2)
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.locator_params(nbins=4, integer=True)
            if 0 < trace.prompt_tokens < trace.n_queries:
                axes.axhline(trace.prompt_tokens - 0.5, color=page.palette.ink, lw=0.5)
        for axes in grid.flat[len(layers) :]:
            axes.set_visible(False)
        drawn.supxlabel("key (token attended to)", fontsize=page.size)
        drawn.supylabel("query (step)", fontsize=page.size)
        if image is not None and trace.n_queries > _BLOCKS:
            drawn.colorbar(image, ax=grid, shrink=0.5, aspect=30, label="share held")
    data = _lives(trace, layers)
    data["kept_pairs"] = data["layer"].map(kept)
    block = block_of(trace.n_queries)
    words = caption(
        subject,
        "Attention masks: blue, the key is held for the query; grey, it was dropped before; "
        "white, it is not read yet. Percentages: pairs held, of all with key at or before "
        "query.",
        f"A cell is a block of {block} × {block} pairs." if block > 1 else "",
    )
    return Drawing("mask", page, drawn, data, words)


def _lives(trace: Trace, layers: list[int]) -> pd.DataFrame:
    """One row per layer and token that was a query: born, last step held, whether censored."""
    born = np.arange(trace.n_queries)
    parts = []
    for layer in layers:
        death = trace.death[layer, : trace.n_queries].astype(np.int64)
        censored = death == ALIVE
        parts.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "born": born,
                    "last_step": np.where(censored, trace.n_queries, death) - 1,
                    "censored": censored,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _kept(trace: Trace, layer: int) -> float:
    """Share of the pairs j <= t that are held."""
    return float(trace.held()[layer].sum() / (trace.n_queries * (trace.n_queries + 1) / 2))


def block_of(queries: int) -> int:
    """Pairs along the side of a mask's cell."""
    return -(-queries // _BLOCKS)


def shares_in_reach(death: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """[R, R] share of the pairs j <= t of each block that are held; nan where there is none.

    death  [n_queries] int32, of one layer
    """
    n, block = len(death), block_of(len(death))
    key = np.arange(n)
    starts = np.arange(0, n, block)
    picture = np.full((len(starts), len(starts)), np.nan, np.float32)
    for row, first in enumerate(starts.tolist()):
        query = np.arange(first, min(first + block, n))[:, None]
        read = key <= query
        seen = np.add.reduceat((read & (death > query)).sum(0), starts)
        of = np.add.reduceat(read.sum(0), starts)
        picture[row, of > 0] = seen[of > 0] / of[of > 0]
    return picture

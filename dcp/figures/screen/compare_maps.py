"""Maps of two runs, made with plotly from a `Pair`. Cells go as single bytes.

Blue is A, green B; maps of A and B stand above their difference, so no colour speaks alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcp.figures.screen.compare import A, B, every, names, token_ticks
from dcp.figures.screen.theme import GONE, GROUND, LOSS
from dcp.stats.compare import Pair

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["flat_steps", "lost_map", "map_chart", "state_cells"]


def map_chart(pair: Pair, step: int) -> go.Figure:
    """Layer x token at ``step``: A, B, and below them where they differ, on one axis."""
    from plotly.subplots import make_subplots

    both = pair.cell_by_cell
    titles = ["A holds", "B holds"] + (["held by one alone"] if both else [])
    layers = [pair.a.layers, pair.b.layers] + ([pair.a.layers] if both else [])
    figure = make_subplots(
        rows=len(titles),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        subplot_titles=titles,
        row_heights=[float(n) for n in layers],
    )
    for row, (trace, colour) in enumerate(((pair.a, A), (pair.b, B)), 1):
        # 0 not read yet, 1 dropped, 2 held.
        read = (np.arange(trace.tokens) <= step).astype(np.uint8)
        cells = trace.visible(min(step, trace.tokens - 1)) + read
        scale = flat_steps([GROUND, GONE, colour])
        labels = ["not read yet", "dropped", "held"]
        figure.add_trace(state_cells(cells, scale, labels, names(trace)), row, 1)
    if both:
        labels = ["only B", "both or neither", "only A"]
        cells = (pair.difference(step) + 1).astype(np.uint8)
        scale = flat_steps([B, GROUND, A])
        figure.add_trace(state_cells(cells, scale, labels, names(pair.a)), 3, 1)
    figure.update_yaxes(autorange="reversed", dtick=every(max(layers)), showgrid=False)
    figure.update_xaxes(showgrid=False, zeroline=False)
    if pair.same_tokens:
        figure.update_xaxes(**token_ticks(pair.a), row=len(titles), col=1)
    else:
        figure.update_xaxes(title={"text": "token"}, row=len(titles), col=1)
    rows = sum(min(14 * n, 260) for n in layers)
    figure.update_layout(
        height=rows + 86 + 34 * len(titles),
        margin={"l": 44, "r": 10, "t": 30, "b": 70},
        uirevision="compare-map",
    )
    return _small_titles(figure)


def lost_map(pair: Pair) -> go.Figure | None:
    """Layer x step: the share of gates-off attention that sat on dropped tokens; None unmeasured.

    Runs that lost nothing have no map.
    """
    from plotly.subplots import make_subplots

    known = [
        (trace, name)
        for trace, name in ((pair.a, "A"), (pair.b, "B"))
        if trace.lost_attention is not None and np.nanmax(trace.lost_attention, initial=0) > 0
    ]
    if not known:
        return None
    figure = make_subplots(
        rows=len(known),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=[f"attention lost by {name}, at each step" for _, name in known],
    )
    for row, (trace, _) in enumerate(known, 1):
        assert trace.lost_attention is not None
        percent = np.round(100 * np.nan_to_num(trace.lost_attention)).astype(np.uint8)
        figure.add_heatmap(
            z=percent,
            zmin=0,
            zmax=100,
            colorscale=[[0, GROUND], [1, LOSS]],
            showscale=row == 1,
            colorbar={"ticksuffix": " %", "thickness": 10, "outlinewidth": 0},
            customdata=np.broadcast_to(np.array(names(trace), object), percent.shape),
            hovertemplate="layer %{y}, %{customdata}: %{z} %<extra></extra>",
            row=row,
            col=1,
        )
    figure.update_yaxes(autorange="reversed", dtick=every(pair.a.layers), showgrid=False)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_xaxes(title={"text": "step"}, row=len(known), col=1)
    rows = sum(min(14 * trace.layers, 260) for trace, _ in known)
    figure.update_layout(
        height=rows + 60 + 36 * len(known),
        margin={"l": 44, "r": 10, "t": 30, "b": 44},
        uirevision="compare-lost-map",
    )
    return _small_titles(figure)


def state_cells(cells: np.ndarray, scale: Any, labels: list[str], tokens: list[str]) -> go.Heatmap:
    """Cells [L, T] uint8, each an index of ``labels``, as a heatmap that says the token."""
    import plotly.graph_objects as go

    about = np.array(labels, object)[cells.astype(int)]
    shown = np.broadcast_to(np.array(tokens, object), cells.shape)
    return go.Heatmap(
        z=cells.astype(np.uint8),
        zmin=0,
        zmax=len(labels) - 1,
        colorscale=scale,
        showscale=False,
        xgap=0.5 if cells.shape[1] <= 300 else 0,
        ygap=1,
        text=about,
        customdata=shown,
        hovertemplate="layer %{y}, token %{x} %{customdata}: %{text}<extra></extra>",
    )


def flat_steps(colours: list[str]) -> list[list[Any]]:
    """A colour scale of equal flat steps."""
    n = len(colours)
    return [[edge / n, c] for i, c in enumerate(colours) for edge in (i, i + 1)]


def _small_titles(figure: go.Figure) -> go.Figure:
    figure.update_annotations(font={"size": 12}, x=0, xanchor="left")
    return figure

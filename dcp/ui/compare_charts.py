"""Charts of two runs, made with plotly from a `Pair`. Cells go as single bytes.

Blue is A, vermillion B; maps of A and B stand above their difference, so no colour speaks alone.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from dcp.compare import Pair
from dcp.trace import Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["held_chart", "lost_chart", "lost_map", "map_chart", "step_chart"]

A, B, SOFT = "#2a8cc7", "#d55e00", "#8a94a3"
_NONE, _GONE = "rgba(128,138,152,0.10)", "rgba(128,138,152,0.30)"
_LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}


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
        scale = _steps([_NONE, _GONE, colour])
        labels = ["not read yet", "dropped", "held"]
        figure.add_trace(_cells(cells, scale, 0, 2, labels, _names(trace)), row, 1)
    if both:
        labels = ["only B", "both or neither", "only A"]
        cells = (pair.difference(step) + 1).astype(np.uint8)
        figure.add_trace(_cells(cells, _steps([B, _NONE, A]), 0, 2, labels, _names(pair.a)), 3, 1)
    figure.update_yaxes(autorange="reversed", dtick=_every(max(layers)), showgrid=False)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_xaxes(title={"text": "token"}, row=len(titles), col=1)
    rows = sum(min(14 * n, 260) for n in layers)
    figure.update_layout(
        height=rows + 60 + 34 * len(titles),
        margin={"l": 44, "r": 10, "t": 30, "b": 44},
        uirevision="compare-map",
    )
    return _small_titles(figure)


def step_chart(pair: Pair) -> go.Figure:
    """Per token: the change in log-prob from A to B, and the KL divergences that were measured."""
    from plotly.subplots import make_subplots

    curves = [
        (array, name, colour, dash)
        for array, name, colour, dash in (
            (pair.kl, "KL(A ‖ B)", SOFT, "solid"),
            (pair.a.kl, "KL(gates off ‖ A)", A, "solid"),
            (pair.b.kl, "KL(gates off ‖ B)", B, "dot"),
        )
        if array is not None
    ]
    rows = 2 if curves else 1
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    change = pair.b.logprob - pair.a.logprob
    names, at = _names(pair.a), np.arange(pair.a.tokens)
    for sign, colour, name in ((1, B, "likelier in B"), (-1, A, "likelier in A")):
        here = np.flatnonzero(sign * np.nan_to_num(change) > 0)
        figure.add_bar(
            x=at[here],
            y=change[here],
            name=name,
            marker={"color": colour},
            customdata=[names[j] for j in here],
            hovertemplate="%{customdata}: %{y:+.3f} nats<extra></extra>",
            row=1,
            col=1,
        )
    for array, name, colour, dash in curves:
        figure.add_scatter(
            x=at,
            y=array,
            name=name,
            mode="lines",
            line={"color": colour, "width": 1.4, "dash": dash},
            customdata=names,
            hovertemplate="%{customdata}: %{y:.4f} nats<extra></extra>",
            row=2,
            col=1,
        )
    figure.update_yaxes(title={"text": "log-prob, B − A (nats)"}, row=1, col=1)
    if curves:
        figure.update_yaxes(title={"text": "KL (nats)"}, rangemode="tozero", row=2, col=1)
    figure.update_xaxes(showgrid=False, zeroline=False, range=[-0.5, pair.a.tokens - 0.5])
    figure.update_xaxes(title={"text": "token"}, row=rows, col=1)
    figure.update_layout(
        height=210 * rows + 60,
        margin={"l": 60, "r": 10, "t": 34, "b": 44},
        legend=_LEGEND,
        bargap=0,
        barmode="overlay",
        uirevision="compare-step",
    )
    return figure


def held_chart(pair: Pair) -> go.Figure:
    """Entries held per step, mean over layers, under what nothing dropped would be."""
    import plotly.graph_objects as go

    longest = max(pair.a.n_queries, pair.b.n_queries)
    figure = go.Figure(
        go.Scatter(
            x=[0, longest - 1],
            y=[1, longest],
            name="nothing dropped",
            mode="lines",
            line={"color": SOFT, "width": 1},
        )
    )
    for trace, name, colour, dash in ((pair.a, "A", A, "solid"), (pair.b, "B", B, "dot")):
        figure.add_scatter(
            x=np.arange(trace.n_queries),
            y=trace.held().mean(axis=0),
            name=name,
            mode="lines",
            line={"color": colour, "width": 2.2, "dash": dash},
            hovertemplate="step %{x}: %{y:.1f} entries<extra></extra>",
        )
    figure.update_layout(
        height=300,
        margin={"l": 60, "r": 10, "t": 34, "b": 44},
        legend=_LEGEND,
        xaxis={"title": {"text": "step"}, "showgrid": False},
        yaxis={"title": {"text": "entries held, mean of layers"}, "rangemode": "tozero"},
        uirevision="compare-held",
    )
    return figure


def lost_chart(pair: Pair) -> go.Figure:
    """Per layer: the mean share of attention that sat on dropped tokens, or the dropped share.

    Attention where it was measured for one of the two, else ``sparsity_per_layer``.
    """
    import plotly.graph_objects as go

    measured = pair.a.lost_attention is not None or pair.b.lost_attention is not None
    figure = go.Figure()
    for trace, name, colour, shape in ((pair.a, "A", A, ""), (pair.b, "B", B, "/")):
        if measured and trace.lost_attention is None:
            continue
        share = trace.sparsity_per_layer()
        if trace.lost_attention is not None:
            share = np.nan_to_num(trace.lost_attention[:, : trace.n_queries]).mean(axis=1)
        figure.add_bar(
            x=np.arange(trace.layers),
            y=share,
            name=name,
            marker={"color": colour, "pattern": {"shape": shape, "solidity": 0.4}},
            hovertemplate="layer %{x}: %{y:.1%}<extra></extra>",
        )
    what = "attention lost" if measured else "dropped share"
    figure.update_layout(
        height=300,
        margin={"l": 60, "r": 10, "t": 34, "b": 44},
        legend=_LEGEND,
        showlegend=True,
        barmode="group",
        xaxis={"title": {"text": "layer"}, "dtick": _every(pair.a.layers), "showgrid": False},
        yaxis={
            "title": {"text": f"{what}, mean of steps"},
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        uirevision="compare-lost",
    )
    return figure


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
            colorscale=[[0, _NONE], [1, "#7b3294"]],
            showscale=row == 1,
            colorbar={"ticksuffix": " %", "thickness": 10, "outlinewidth": 0},
            customdata=np.broadcast_to(np.array(_names(trace), object), percent.shape),
            hovertemplate="layer %{y}, %{customdata}: %{z} %<extra></extra>",
            row=row,
            col=1,
        )
    figure.update_yaxes(autorange="reversed", dtick=_every(pair.a.layers), showgrid=False)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_xaxes(title={"text": "step"}, row=len(known), col=1)
    rows = sum(min(14 * trace.layers, 260) for trace, _ in known)
    figure.update_layout(
        height=rows + 60 + 36 * len(known),
        margin={"l": 44, "r": 10, "t": 30, "b": 44},
        uirevision="compare-lost-map",
    )
    return _small_titles(figure)


def _cells(
    cells: np.ndarray, scale: Any, low: int, high: int, labels: list[str], names: list[str]
) -> go.Heatmap:
    import plotly.graph_objects as go

    about = np.array(labels, object)[cells.astype(int)]
    tokens = np.broadcast_to(np.array(names, object), cells.shape)
    return go.Heatmap(
        z=cells.astype(np.uint8),
        zmin=low,
        zmax=high,
        colorscale=scale,
        showscale=False,
        xgap=0.5 if cells.shape[1] <= 300 else 0,
        ygap=1,
        text=about,
        customdata=tokens,
        hovertemplate="layer %{y}, token %{x} %{customdata}: %{text}<extra></extra>",
    )


def _steps(colours: list[str]) -> list[list[Any]]:
    """A colour scale of equal flat steps."""
    n = len(colours)
    return [[edge / n, c] for i, c in enumerate(colours) for edge in (i, i + 1)]


def _names(trace: Trace) -> list[str]:
    return [escape(piece.replace("\n", "↵")[:40]) for piece in trace.pieces()]


def _every(layers: int) -> int:
    return max(1, layers // 8)


def _small_titles(figure: go.Figure) -> go.Figure:
    figure.update_annotations(font={"size": 12}, x=0, xanchor="left")
    return figure

"""The layer x token picture as a plotly heatmap, for a browser that cannot draw the linked view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcp.figures.screen.theme import HELD_SCALE
from dcp.trace import Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["held_heatmap", "held_share"]

_COLUMNS = 1024


def held_share(trace: Trace, step: int, columns: int = _COLUMNS) -> npt.NDArray[np.uint8]:
    """[L, min(T read, columns)] uint8: percent of the tokens of each column held at ``step``.

    No token is skipped: more tokens than columns are averaged.
    """
    held = trace.visible(step)[:, : step + 1]
    edges = np.linspace(0, step + 1, min(columns, step + 1) + 1).astype(int)
    sums = np.add.reduceat(held.astype(np.int32), edges[:-1], axis=1)
    share: npt.NDArray[np.uint8] = (100 * sums / np.diff(edges)).astype(np.uint8)
    return share


def held_heatmap(trace: Trace, step: int) -> go.Figure:
    """Layer x token at ``step``: full where held, pale where dropped."""
    import plotly.graph_objects as go

    share = held_share(trace, step)
    heatmap = go.Heatmap(
        z=share,
        x0=0,
        dx=(step + 1) / share.shape[1],
        zmin=0,
        zmax=100,
        colorscale=HELD_SCALE,
        colorbar={"title": {"text": "held, %"}},
        hovertemplate="layer %{y}, token %{x:.0f}: %{z} % held<extra></extra>",
    )
    figure = go.Figure(heatmap)
    figure.update_layout(
        height=120 + 24 * trace.layers,
        margin={"l": 60, "r": 20, "t": 20, "b": 44},
        uirevision="plain",
        xaxis={"title": {"text": "token"}},
        yaxis={"title": {"text": "layer"}, "autorange": "reversed", "dtick": 1},
    )
    return figure

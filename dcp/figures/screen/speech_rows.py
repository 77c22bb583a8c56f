"""What the charts of "Parts of speech" share: a row for each group, its name, its interval.

A group keeps its row and a chart its height whatever the filters say. Pure: no page, no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcp.figures.screen.theme import LEGEND
from dcp.stats.groups import group_label

__all__ = ["ROW", "by_group", "error_bar", "note", "rows_chart"]

ROW = 26
"""Height of a row (pixels)."""


def rows_chart(
    names: Sequence[str], title: str, key: str, *, extra: int = 0, right: int = 104
) -> go.Figure:
    """An empty chart with a row for each name, the first on top."""
    rows = list(reversed(names))
    figure = go.Figure()
    figure.update_layout(
        height=ROW * len(rows) + 104 + extra,
        margin={"l": 112, "r": right, "t": 40, "b": 44},
        legend=LEGEND,
        uirevision=key,
        dragmode=False,
        bargap=0.36,
        hoverlabel={"align": "left"},
        xaxis={"title": {"text": title}, "zeroline": False, "automargin": True},
        yaxis={
            "type": "category",
            "range": [-0.6, len(rows) - 0.4],
            "categoryorder": "array",
            "categoryarray": rows,
            "tickvals": rows,
            "ticktext": [group_label(name) for name in rows],
        },
    )
    return figure


def note(figure: go.Figure, row: str | int, text: str, *, faint: bool) -> None:
    figure.add_annotation(
        x=1.01,
        xref="paper",
        y=row,
        text=text,
        showarrow=False,
        xanchor="left",
        font={"size": 11},
        opacity=0.55 if faint else 0.9,
    )


def by_group(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["group"]): row for row in table.to_dict("records")}


def error_bar(value: float, low: float, high: float, colour: str) -> dict[str, Any]:
    """An error bar from ``low`` to ``high``; none where they are not known."""
    known = np.isfinite(low) and np.isfinite(high)
    up, down = (max(0.0, high - value), max(0.0, value - low)) if known else (0.0, 0.0)
    return {
        "type": "data",
        "symmetric": False,
        "array": [up],
        "arrayminus": [down],
        "color": colour,
        "thickness": 1.8,
        "width": 4,
        "visible": bool(known),
    }

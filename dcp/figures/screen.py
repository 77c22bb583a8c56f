"""Charts for the page, made with plotly from tables of `dcp.stats`. Pure: no page, no trace.

Colours are mid-tones that read on light and dark paper; a group has a marker shape too, so that
meaning never rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dcp.pos import GROUPS, UPOS, group_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["drop_rate_chart"]

_COLOURS = dict(zip(GROUPS, ("#2a8cc7", "#14a97f", "#b8975f", "#78828f", "#9a7cc0"), strict=True))
_SHAPES = dict(zip(GROUPS, ("circle", "diamond", "square", "x", "triangle-up"), strict=True))
_ROW = 26


def drop_rate_chart(table: pd.DataFrame, names: Sequence[str] = UPOS) -> go.Figure:
    """Dropped share within the horizon for each part of speech, with its interval and its count.

    table: rows of ``drop_table(by="pos")``, their group one of ``names``: tags, or names of
    ``GROUPS``. Every name has its row, so the chart never changes its height; those with too few
    words stay blank and say so.
    """
    import plotly.graph_objects as go

    rows = {str(row["group"]): row for row in table.to_dict("records")}
    tags = list(reversed(names))
    figure = go.Figure()
    for group in GROUPS:
        known = [
            tag
            for tag in tags
            if (tag if tag in GROUPS else group_of(tag)) == group
            and tag in rows
            and np.isfinite(rows[tag]["drop_rate"])
        ]
        rates = np.array([rows[tag]["drop_rate"] for tag in known])
        low = np.nan_to_num(rates - [rows[tag]["ci_low"] for tag in known])
        high = np.nan_to_num(np.array([rows[tag]["ci_high"] for tag in known]) - rates)
        figure.add_trace(
            go.Scatter(
                x=rates,
                y=known,
                mode="markers",
                name=group.replace("-", ", "),
                marker={"color": _COLOURS[group], "symbol": _SHAPES[group], "size": 10},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": np.maximum(high, 0),
                    "arrayminus": np.maximum(low, 0),
                    "color": _COLOURS[group],
                    "thickness": 1.6,
                    "width": 4,
                },
                customdata=[
                    [
                        rows[tag]["words"],
                        rows[tag]["events"],
                        rows[tag]["at_risk"],
                        rows[tag]["ci_low"],
                        rows[tag]["ci_high"],
                    ]
                    for tag in known
                ],
                hovertemplate="<b>%{y}</b>: %{x:.0%} dropped (%{customdata[3]:.0%} to "
                "%{customdata[4]:.0%})<br>%{customdata[0]} words, %{customdata[1]} drops, "
                "%{customdata[2]} word-layers still at risk<extra></extra>",
            )
        )
    for tag in tags:
        words = int(rows[tag]["words"]) if tag in rows else 0
        blank = tag not in rows or not np.isfinite(rows[tag]["drop_rate"])
        note = "none" if not words else f"{words} words, too few" if blank else f"{words} words"
        figure.add_annotation(
            x=1.01,
            xref="paper",
            y=tag,
            text=note,
            showarrow=False,
            xanchor="left",
            font={"size": 11},
            opacity=0.55 if blank else 0.9,
        )
    figure.update_layout(
        height=_ROW * len(tags) + 96,
        margin={"l": 96, "r": 120, "t": 44, "b": 44},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        showlegend=not set(names) <= set(GROUPS),
        uirevision="drop-rate",
        xaxis={
            "range": [-0.02, 1.02],
            "tickformat": ".0%",
            "title": {"text": "dropped within the horizon"},
            "zeroline": False,
        },
        yaxis={
            "type": "category",
            "range": [-0.6, len(tags) - 0.4],
            "categoryorder": "array",
            "categoryarray": tags,
            "tickfont": {"size": 12},
            "tickvals": tags,
            "ticktext": [tag.replace("-", ", ") for tag in tags],
        },
        hoverlabel={"align": "left"},
    )
    return figure

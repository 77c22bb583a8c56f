"""What one drop, or one token kept, did to the tokens after it, over what ordinary drops do."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from dcp.figures.screen.theme import GONE, LEGEND, LOSS, REFERENCE, RUN, quoted
from dcp.runs.effects import Effect
from dcp.trace import Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["change_chart", "sums_chart"]


def change_chart(trace: Trace, effect: Effect) -> go.Figure:
    """The change of each later token within the horizon, over the band of the controls."""
    import plotly.graph_objects as go

    after, first = effect.after, (effect.plan.first or 0) + 1
    low, high = effect.band()
    at, pieces = np.arange(1, len(after) + 1), trace.pieces()
    names = [escape(quoted(pieces[first + i])[1:-1]) for i in range(len(after))]
    figure = go.Figure()
    if np.isfinite(low).all():
        figure.add_trace(
            go.Scatter(
                x=np.r_[at, at[::-1]],
                y=np.r_[high, low[::-1]],
                fill="toself",
                fillcolor=GONE,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                name=f"middle 90 % of {len(effect.controls.plans)} matched random drops",
            )
        )
    for sign, colour, name, shape in (
        (1, RUN, "likelier", ""),
        (-1, LOSS, "less likely", "/"),
    ):
        here = sign * after > 0
        figure.add_trace(
            go.Bar(
                x=at[here],
                y=after[here],
                width=0.7,
                name=name,
                marker={"color": colour, "pattern": {"shape": shape, "solidity": 0.35}},
                customdata=[names[i] for i in np.flatnonzero(here)],
                hovertemplate="%{customdata}: %{y:+.3f} nats<extra></extra>",
            )
        )
    ticks = at if len(at) <= 40 else at[:: len(at) // 20]
    figure.update_layout(
        height=320,
        margin={"l": 60, "r": 10, "t": 34, "b": 70},
        legend=LEGEND,
        uirevision="put-back",
        barmode="overlay",
        xaxis={
            "range": [0.3, len(at) + 0.7],
            "tickvals": ticks,
            "ticktext": [names[i - 1] for i in ticks],
            "tickangle": -90,
            "tickfont": {"size": 10.5},
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": "change in log-prob (nats)"}, "zeroline": True},
    )
    return figure


def sums_chart(trace: Trace, effect: Effect) -> go.Figure:
    """The sum over the horizon, of the chosen token and of each control, on one line."""
    import plotly.graph_objects as go

    totals, pieces = effect.control_totals, trace.pieces()
    # A fixed zigzag keeps marks apart where sums are alike.
    heights = 0.18 * ((np.arange(len(totals)) % 5) - 2)
    figure = go.Figure(
        [
            go.Scatter(
                x=totals,
                y=heights,
                mode="markers",
                name="matched random drops",
                marker={
                    "symbol": "circle-open",
                    "size": 9,
                    "color": REFERENCE,
                    "line": {"width": 1.6},
                },
                customdata=[escape(quoted(pieces[plan.token])) for plan in effect.controls.plans],
                hovertemplate="%{customdata}: %{x:+.3f} nats<extra></extra>",
            ),
            go.Scatter(
                x=[effect.total],
                y=[0],
                mode="markers",
                name="the chosen token",
                marker={
                    "symbol": "diamond",
                    "size": 14,
                    "color": RUN if effect.total > 0 else LOSS,
                },
                hovertemplate="chosen: %{x:+.3f} nats<extra></extra>",
            ),
        ]
    )
    figure.update_layout(
        height=150,
        margin={"l": 60, "r": 10, "t": 30, "b": 40},
        legend=LEGEND,
        uirevision="put-back",
        xaxis={"title": {"text": f"sum over {effect.controls.horizon} tokens (nats)"}},
        yaxis={"visible": False, "range": [-0.6, 0.6]},
    )
    return figure

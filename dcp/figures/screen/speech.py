"""The charts of "Parts of speech", by plotly from tables of `dcp.stats`. Pure: no page, no trace.

A group keeps its row and a chart its height whatever the filters say. Groups have a colour and
stand under their name; what is no measurement of the gates is hollow or grey, so that nothing
rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcp.speech.tagger import GROUPS, group_of

__all__ = [
    "hazard_chart",
    "heatmap",
    "noise_chart",
    "rate_chart",
    "survival_chart",
    "trigger_chart",
]

_COLOURS = {
    **dict(zip(GROUPS, ("#2a8cc7", "#14a97f", "#b8975f", "#78828f", "#9a7cc0"), strict=True)),
    "content": "#2a8cc7",
    "function": "#b8975f",
    "neither": "#78828f",
    "single": "#2a8cc7",
    "multi": "#9a7cc0",
}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_GREY = "#8b929c"
# Reads on bars of every colour, on light and dark paper.
_CHANCE = "#d55e00"
_ARMS = {"random": ("random eviction", "circle-open"), "oldest": ("oldest first", "square-open")}
_LABELS = {
    "number-other": "number, other",
    "neither": "punctuation, other",
    "single": "one token",
    "multi": "several tokens",
}
_ROW = 26


def label(name: str) -> str:
    """A group's name as it is shown."""
    return _LABELS.get(name, name)


def _colour(name: str) -> str:
    return _COLOURS.get(name) or _COLOURS[group_of(name)]


def _frame(
    names: Sequence[str], title: str, key: str, *, extra: int = 0, right: int = 104
) -> go.Figure:
    """An empty chart with a row for each name, the first on top."""
    rows = list(reversed(names))
    figure = go.Figure()
    figure.update_layout(
        height=_ROW * len(rows) + 104 + extra,
        margin={"l": 112, "r": right, "t": 40, "b": 44},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
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
            "ticktext": [label(name) for name in rows],
        },
    )
    return figure


def _note(figure: go.Figure, row: str | int, text: str, *, faint: bool) -> None:
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


def _rows(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["group"]): row for row in table.to_dict("records")}


def _spread(value: float, low: float, high: float, colour: str) -> dict[str, Any]:
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


def rate_chart(table: pd.DataFrame, names: Sequence[str], horizon: int, key: str) -> go.Figure:
    """A bar for each group's drop rate with its interval, the controls' rates as hollow marks.

    table: rows of `drop_table_with_controls`. Groups with too few words stay blank and say so.
    """
    figure = _frame(names, f"dropped within {horizon} steps", key)
    gates = _rows(table[table.arm == "gates"])
    for name in names:
        row = gates.get(name)
        words = int(row["words"]) if row else 0
        blank = row is None or not np.isfinite(row["drop_rate"])
        what = "none" if not words else f"{words:,} words" + (", too few" if blank else "")
        _note(figure, name, what, faint=blank)
        if row is None or blank:
            continue
        colour = _colour(name)
        figure.add_bar(
            x=[row["drop_rate"]],
            y=[name],
            orientation="h",
            marker={"color": colour, "opacity": 0.5, "line": {"width": 0}},
            error_x=_spread(row["drop_rate"], row["ci_low"], row["ci_high"], _GREY),
            customdata=[[name]],
            showlegend=False,
            hovertemplate=f"<b>{label(name)}</b>: {row['drop_rate']:.1%} "
            f"({_percent(row['ci_low'])} to {_percent(row['ci_high'])})<br>{words:,} words, "
            f"{int(row['events']):,} drops; click for the words<extra></extra>",
        )
    for arm, (title, symbol) in _ARMS.items():
        chance = _rows(table[table.arm == arm])
        known = [n for n in names if n in chance and np.isfinite(chance[n]["drop_rate"])]
        figure.add_scatter(
            x=[chance[n]["drop_rate"] for n in known],
            y=known,
            mode="markers",
            name=title,
            marker={"symbol": symbol, "size": 10, "color": _CHANCE, "line": {"width": 2.2}},
            customdata=[[n] for n in known],
            hovertemplate=f"{title}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    return figure


def _percent(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "no interval"


def survival_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Share of words still in reach by age, a stepped line and a band for each group."""
    figure = go.Figure()
    known = [name for name in names if name in set(table["group"])]
    seen: dict[str, int] = {}
    for name in known:
        mine = table[table["group"] == name].sort_values("age")
        colour = _colour(name)
        # Tags of one colour differ in their dashes.
        dash = _DASHES[seen.get(colour, 0) % len(_DASHES)]
        seen[colour] = seen.get(colour, 0) + 1
        band = mine[np.isfinite(mine.ci_low) & np.isfinite(mine.ci_high)]
        if len(known) <= 6 and len(band):
            figure.add_scatter(
                x=[*band.age, *band.age[::-1]],
                y=[*band.ci_high, *band.ci_low[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.16,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(
            x=mine.age,
            y=mine.survival,
            mode="lines",
            name=label(name),
            legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2, "shape": "hv"},
            hovertemplate=f"{label(name)}: %{{y:.1%}} after %{{x}} steps<extra></extra>",
        )
    figure.update_layout(
        height=380,
        margin={"l": 60, "r": 16, "t": 16, "b": 44},
        uirevision=key,
        dragmode=False,
        legend={"orientation": "v", "x": 1.01, "y": 1},
        xaxis={"title": {"text": "steps since the word was read"}, "zeroline": False},
        yaxis={
            "title": {"text": "still in reach"},
            "range": [0, 1.02],
            "tickformat": ".0%",
            "zeroline": False,
        },
    )
    return figure


def heatmap(
    table: pd.DataFrame, names: Sequence[str], layers: int, horizon: int, key: str
) -> go.Figure:
    """Drop rate of each group in each layer; blank cells had too few words."""
    shown = table[table["group"].isin(names)]
    grid = shown.pivot(index="group", columns="layer", values="drop_rate")
    rows = list(reversed(names))
    grid = grid.reindex(index=rows, columns=range(layers)).astype(float)
    numbers = layers <= 16
    figure = _frame(names, "layer", key, right=16)
    figure.add_heatmap(
        z=grid.to_numpy(),
        x=list(range(layers)),
        y=rows,
        zmin=0,
        zmax=1,
        colorscale="Cividis",
        xgap=2,
        ygap=2,
        hoverongaps=False,
        texttemplate="%{z:.0%}" if numbers else None,
        textfont={"size": 11},
        colorbar={"title": {"text": "dropped"}, "tickformat": ".0%", "thickness": 12},
        hovertemplate=f"<b>%{{y}}</b>, layer %{{x}}: %{{z:.1%}} within {horizon} steps"
        "<extra></extra>",
    )
    # A heatmap cannot be clicked; the squares over it can, and are all but unseen.
    cells = [(name, layer) for name in rows for layer in range(layers)]
    told = [c for c in cells if np.isfinite(grid.loc[c[0], c[1]])]
    figure.add_scatter(
        x=[layer for _, layer in told],
        y=[name for name, _ in told],
        mode="markers",
        marker={"symbol": "square", "size": 20, "opacity": 0.01, "color": _GREY},
        customdata=[list(cell) for cell in told],
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(
        type="linear", range=[-0.5, layers - 0.5], dtick=1 if numbers else 4, showgrid=False
    )
    figure.update_yaxes(showgrid=False)
    return figure


def trigger_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Drops when a word of the group is read, over the mean query; grey: shuffled labels."""
    figure = _frame(names, "drops per query, over the mean of all queries", key)
    rows = _rows(table)
    for name in names:
        row = rows.get(name)
        count = int(row["queries"]) if row else 0
        blank = row is None or not np.isfinite(row["ratio"])
        what = "none" if not count else f"{count:,} read" + (", too few" if blank else "")
        _note(figure, name, what, faint=blank)
        if row is None or blank:
            continue
        figure.add_scatter(
            x=[row["null_low"], row["null_high"]],
            y=[name, name],
            mode="lines",
            line={"color": _GREY, "width": 9},
            opacity=0.35,
            name="if labels were shuffled",
            legendgroup="null",
            showlegend=not any(trace.legendgroup == "null" for trace in figure.data),
            hovertemplate=f"shuffled: {row['null_low']:.2f} to {row['null_high']:.2f}"
            "<extra></extra>",
        )
        figure.add_scatter(
            x=[row["ratio"]],
            y=[name],
            mode="markers",
            marker={"color": _colour(name), "size": 10, "symbol": "diamond"},
            error_x=_spread(row["ratio"], row["ci_low"], row["ci_high"], _colour(name)),
            customdata=[[name]],
            showlegend=False,
            hovertemplate=f"<b>{label(name)}</b>: {row['ratio']:.2f} times the mean query<br>"
            f"{row['drops_per_query']:.2f} drops per layer, mean {row['base_rate']:.2f}"
            "<extra></extra>",
        )
    figure.add_vline(x=1, line={"color": _GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(rangemode="tozero")
    return figure


def hazard_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Drops per 100 steps at risk, raw (hollow) and adjusted (filled), with intervals."""
    figure = _frame(names, "drops per 100 steps at risk", key, extra=_ROW // 2 * len(names))
    rows = _rows(table)
    at = {name: len(names) - 1 - i for i, name in enumerate(names)}
    kinds = {"raw": ("raw", "circle-open", 0.18), "adjusted": ("adjusted", "diamond", -0.18)}
    for kind, (title, symbol, shift) in kinds.items():
        known = [n for n in names if n in rows and np.isfinite(rows[n][kind])]
        for name in known:
            row, colour = rows[name], _colour(name) if kind == "adjusted" else _GREY
            value = 100 * row[kind]
            low, high = 100 * row[f"{kind}_low"], 100 * row[f"{kind}_high"]
            figure.add_scatter(
                x=[value],
                y=[at[name] + shift],
                mode="markers",
                name=title,
                legendgroup=kind,
                showlegend=not any(trace.legendgroup == kind for trace in figure.data),
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.6}},
                error_x=_spread(value, low, high, colour),
                hovertemplate=f"<b>{label(name)}</b>, {title}: {value:.2f} "
                f"({low:.2f} to {high:.2f})<extra></extra>"
                if np.isfinite(low)
                else f"<b>{label(name)}</b>, {title}: {value:.2f}<extra></extra>",
            )
    for name in names:
        found = rows.get(name)
        blank = found is None or not np.isfinite(found["raw"])
        what = "none" if found is None else f"{int(found['tokens']):,} tokens"
        _note(figure, at[name], what + (", too few" if found and blank else ""), faint=blank)
    # The two marks of a group stand above and below its row, so rows are numbers here.
    figure.update_yaxes(
        type="linear", tickvals=list(at.values()), ticktext=[label(name) for name in at]
    )
    if len(table):
        figure.add_vline(
            x=100 * float(table.base_rate.iloc[0]),
            line={"color": _GREY, "width": 1, "dash": "dot"},
        )
    figure.update_xaxes(rangemode="tozero")
    return figure


def noise_chart(table: pd.DataFrame, names: Sequence[str], horizon: int, key: str) -> go.Figure:
    """The rate as tagged, and how far it moves when tags are redrawn by the tagger's errors."""
    figure = _frame(names, f"dropped within {horizon} steps", key)
    rows = _rows(table)
    for name in names:
        row = rows.get(name)
        blank = row is None or not np.isfinite(row["drop_rate"])
        what = "none" if row is None else f"{row['redrawn']:.0%} redrawn"
        _note(figure, name, what, faint=blank)
        if row is None or blank:
            continue
        figure.add_scatter(
            x=[row["low"], row["high"]],
            y=[name, name],
            mode="lines",
            line={"color": _GREY, "width": 9},
            opacity=0.45,
            name="tags redrawn",
            legendgroup="drawn",
            showlegend=not any(trace.legendgroup == "drawn" for trace in figure.data),
            hovertemplate=f"redrawn: {row['low']:.1%} to {row['high']:.1%}<extra></extra>",
        )
        figure.add_scatter(
            x=[row["drop_rate"]],
            y=[name],
            mode="markers",
            name="as tagged",
            legendgroup="tagged",
            showlegend=not any(trace.legendgroup == "tagged" for trace in figure.data),
            marker={"color": _colour(name), "size": 9, "symbol": "circle"},
            hovertemplate=f"<b>{label(name)}</b>: {row['drop_rate']:.1%} as tagged<extra></extra>",
        )
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure

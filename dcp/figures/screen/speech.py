"""How soon kinds of words are dropped: rates, survival, layer by layer. Plotly, from `dcp.stats`.

Groups have a colour and stand under their name; what is no choice of the gates is hollow and grey,
so that nothing rests on colour alone. Pure: no page, no trace.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcp.figures.screen.speech_rows import by_group, error_bar, note, rows_chart
from dcp.figures.screen.theme import LEGEND, REFERENCE, faded, group_colour
from dcp.stats.groups import group_label
from dcp.stats.rates import MIN_WORDS

__all__ = ["heatmap", "rate_chart", "survival_chart"]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "x", "triangle-up", "cross")
_ARMS = {"random": ("random eviction", "circle-open"), "oldest": ("oldest first", "square-open")}


def rate_chart(
    table: pd.DataFrame,
    names: Sequence[str],
    horizon: int,
    key: str,
    behind: tuple[pd.DataFrame, int] | None = None,
) -> go.Figure:
    """A bar for each group's drop rate with its interval, the controls' rates as hollow marks.

    table: rows of `drop_table_with_controls`. Groups of fewer than 20 words are hollow, and say so;
    those without an estimate stay blank. behind: the same rates of a study as grey strokes, and the
    number of its texts.
    """
    figure = rows_chart(names, f"dropped within {horizon} steps", key)
    gates = by_group(table[table.arm == "gates"])
    for name in names:
        row = gates.get(name)
        words = int(row["words"]) if row else 0
        blank = row is None or not np.isfinite(row["drop_rate"])
        few = words < MIN_WORDS
        what = "none" if not words else f"{words:,} words" + (", few" if few else "")
        note(figure, name, what, faint=few)
        if row is None or blank:
            continue
        colour = group_colour(name)
        figure.add_bar(
            x=[row["drop_rate"]],
            y=[name],
            orientation="h",
            marker={
                "color": faded(colour, 0.06 if few else 0.5),
                "line": {"width": 1.4 if few else 0, "color": faded(colour, 0.75)},
            },
            error_x=error_bar(row["drop_rate"], row["ci_low"], row["ci_high"], REFERENCE),
            customdata=[[name]],
            showlegend=False,
            hovertemplate=f"<b>{group_label(name)}</b>: {row['drop_rate']:.1%} "
            f"({_percent(row['ci_low'])} to {_percent(row['ci_high'])})<br>{words:,} words, "
            f"{int(row['events']):,} drops; click for the words<extra></extra>",
        )
    if behind is not None:
        study, texts = by_group(behind[0]), behind[1]
        known = [n for n in names if n in study and np.isfinite(study[n]["drop_rate"])]
        figure.add_scatter(
            x=[study[n]["drop_rate"] for n in known],
            y=known,
            mode="markers",
            name=f"validation study, {texts:,} texts",
            marker={
                "symbol": "line-ns",
                "size": 20,
                "color": REFERENCE,
                "line": {"width": 3, "color": faded(REFERENCE, 0.7)},
            },
            hovertemplate=f"{texts:,} validation texts: %{{x:.1%}}<extra></extra>",
        )
    for arm, (title, symbol) in _ARMS.items():
        chance = by_group(table[table.arm == arm])
        known = [n for n in names if n in chance and np.isfinite(chance[n]["drop_rate"])]
        figure.add_scatter(
            x=[chance[n]["drop_rate"] for n in known],
            y=known,
            mode="markers",
            name=title,
            marker={"symbol": symbol, "size": 10, "color": REFERENCE, "line": {"width": 2.2}},
            customdata=[[n] for n in known],
            hovertemplate=f"{title}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    return figure


def _percent(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "no interval"


def survival_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Share of words still held by age, a stepped line and a band for each group."""
    figure = go.Figure()
    known = [name for name in names if name in set(table["group"])]
    for number, name in enumerate(known):
        mine = table[table["group"] == name].sort_values("age")
        colour = group_colour(name)
        # No two lines rest on colour alone: dash and mark differ as well.
        dash = _DASHES[number % len(_DASHES)]
        few = "words" in mine and int(mine["words"].iloc[0]) < MIN_WORDS
        band = mine[np.isfinite(mine.ci_low) & np.isfinite(mine.ci_high)]
        if len(known) <= 6 and len(band) and not few:
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
        marked = mine.iloc[number * 2 + 4 :: max(len(mine) // 6, 8)]
        figure.add_scatter(
            x=marked.age,
            y=marked.survival,
            mode="markers",
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
            marker={
                "symbol": f"{_SYMBOLS[number % len(_SYMBOLS)]}{'-open' if few else ''}",
                "size": 8,
                "color": colour,
            },
        )
        figure.add_scatter(
            x=mine.age,
            y=mine.survival,
            mode="lines",
            name=group_label(name) + (f" ({int(mine['words'].iloc[0])} words)" if few else ""),
            legendgroup=name,
            opacity=0.55 if few else 1,
            line={"color": colour, "dash": dash, "width": 1.4 if few else 2, "shape": "hv"},
            hovertemplate=f"{group_label(name)}: %{{y:.1%}} after %{{x}} steps<extra></extra>",
        )
    figure.update_layout(
        height=380,
        margin={"l": 60, "r": 16, "t": 16, "b": 44},
        uirevision=key,
        dragmode=False,
        # Few names go above, where a narrow window has room for them.
        legend=LEGEND if len(known) <= 6 else {"orientation": "v", "x": 1.01, "y": 1},
        xaxis={"title": {"text": "steps since the word was read"}, "zeroline": False},
        yaxis={
            "title": {"text": "still held"},
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
    figure = rows_chart(names, "layer", key, right=16)
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
    # Streamlit reports no clicks on a heatmap: near-transparent squares over it take them.
    cells = [(name, layer) for name in rows for layer in range(layers)]
    told = [c for c in cells if np.isfinite(grid.loc[c[0], c[1]])]
    figure.add_scatter(
        x=[layer for _, layer in told],
        y=[name for name, _ in told],
        mode="markers",
        marker={"symbol": "square", "size": 20, "opacity": 0.01, "color": REFERENCE},
        customdata=[list(cell) for cell in told],
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(
        type="linear", range=[-0.5, layers - 0.5], dtick=1 if numbers else 4, showgrid=False
    )
    figure.update_yaxes(showgrid=False)
    return figure

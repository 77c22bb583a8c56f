"""What lies behind the drop rates of words: triggers, adjusted effects, the tagger's errors.

Plotly, from tables of `dcp.stats`. Pure: no page, no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcp.figures.screen.speech_rows import ROW, by_group, error_bar, note, rows_chart
from dcp.figures.screen.theme import LOSS, REFERENCE, group_colour, in_chart
from dcp.stats.groups import group_label

__all__ = ["hazard_chart", "noise_chart", "token_chart", "trigger_chart"]


def trigger_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Drops when a word of the group is read, over the mean query; grey: shuffled labels."""
    return _trigger_rows(table, names, key, group_label, group_colour)


def token_chart(table: pd.DataFrame, key: str) -> go.Figure:
    """The same token by token, in the order of the table: `dcp.stats.triggers.trigger_tokens`."""
    names = [str(name) for name in table["group"]]
    figure = _trigger_rows(table, names, key, in_chart, lambda _: LOSS)
    return figure.update_yaxes(ticktext=[in_chart(name) for name in reversed(names)])


def _trigger_rows(
    table: pd.DataFrame,
    names: Sequence[str],
    key: str,
    label: Callable[[str], str],
    colour: Callable[[str], str],
) -> go.Figure:
    figure = rows_chart(names, "drops per query, over the mean of all queries", key)
    rows = by_group(table)
    for name in names:
        row = rows.get(name)
        count = int(row["queries"]) if row else 0
        blank = row is None or not np.isfinite(row["ratio"])
        what = "none" if not count else f"{count:,} read" + (", too few" if blank else "")
        note(figure, name, what, faint=blank)
        if row is None or blank:
            continue
        figure.add_scatter(
            x=[row["null_low"], row["null_high"]],
            y=[name, name],
            mode="lines",
            line={"color": REFERENCE, "width": 9},
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
            marker={"color": colour(name), "size": 10, "symbol": "diamond"},
            error_x=error_bar(row["ratio"], row["ci_low"], row["ci_high"], colour(name)),
            customdata=[[name]],
            showlegend=False,
            hovertemplate=f"<b>{label(name)}</b>: {row['ratio']:.2f} times the mean query<br>"
            f"{row['drops_per_query']:.2f} drops per layer, mean {row['base_rate']:.2f}"
            "<extra></extra>",
        )
    figure.add_vline(x=1, line={"color": REFERENCE, "width": 1, "dash": "dot"})
    figure.update_xaxes(rangemode="tozero")
    return figure


def hazard_chart(table: pd.DataFrame, names: Sequence[str], key: str) -> go.Figure:
    """Drops per 100 steps at risk, raw (hollow) and adjusted (filled), with intervals."""
    figure = rows_chart(names, "drops per 100 steps at risk", key, extra=ROW // 2 * len(names))
    rows = by_group(table)
    at = {name: len(names) - 1 - i for i, name in enumerate(names)}
    kinds = {"raw": ("raw", "circle-open", 0.18), "adjusted": ("adjusted", "diamond", -0.18)}
    for kind, (title, symbol, shift) in kinds.items():
        known = [n for n in names if n in rows and np.isfinite(rows[n][kind])]
        for name in known:
            row, colour = rows[name], group_colour(name) if kind == "adjusted" else REFERENCE
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
                error_x=error_bar(value, low, high, colour),
                hovertemplate=f"<b>{group_label(name)}</b>, {title}: {value:.2f} "
                f"({low:.2f} to {high:.2f})<extra></extra>"
                if np.isfinite(low)
                else f"<b>{group_label(name)}</b>, {title}: {value:.2f}<extra></extra>",
            )
    for name in names:
        found = rows.get(name)
        blank = found is None or not np.isfinite(found["raw"])
        what = "none" if found is None else f"{int(found['tokens']):,} tokens"
        note(figure, at[name], what + (", too few" if found and blank else ""), faint=blank)
    # Numbers for rows, so that the two marks of a group can stand above and below it.
    figure.update_yaxes(
        type="linear", tickvals=list(at.values()), ticktext=[group_label(name) for name in at]
    )
    if len(table):
        figure.add_vline(
            x=100 * float(table.base_rate.iloc[0]),
            line={"color": REFERENCE, "width": 1, "dash": "dot"},
        )
    figure.update_xaxes(rangemode="tozero")
    return figure


def noise_chart(table: pd.DataFrame, names: Sequence[str], horizon: int, key: str) -> go.Figure:
    """The rate as tagged (filled), and with the tagger's errors taken out (hollow, interval)."""
    figure = rows_chart(names, f"dropped within {horizon} steps", key)
    rows = by_group(table)
    for name in names:
        row = rows.get(name)
        blank = row is None or not np.isfinite(row["drop_rate"])
        what = "none" if row is None else f"{row['redrawn']:.0%} of another kind"
        note(figure, name, what, faint=blank)
        if row is None or blank:
            continue
        figure.add_scatter(
            x=[row["corrected"]],
            y=[name],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 11, "color": REFERENCE},
            error_x=error_bar(row["corrected"], row["low"], row["high"], REFERENCE),
            name="without the tagger's errors",
            legendgroup="drawn",
            showlegend=not any(trace.legendgroup == "drawn" for trace in figure.data),
            hovertemplate=f"<b>{group_label(name)}</b>: {row['corrected']:.1%} without the "
            f"tagger's errors ({row['low']:.1%} to {row['high']:.1%})<extra></extra>",
        )
        figure.add_scatter(
            x=[row["drop_rate"]],
            y=[name],
            mode="markers",
            name="as tagged",
            legendgroup="tagged",
            showlegend=not any(trace.legendgroup == "tagged" for trace in figure.data),
            marker={"color": group_colour(name), "size": 9, "symbol": "circle"},
            hovertemplate=f"<b>{group_label(name)}</b>: {row['drop_rate']:.1%} as tagged"
            "<extra></extra>",
        )
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure

"""One text under several policies: maps on one axis, KL token by token, words and their kinds.

Blue is held, as on every page; orange is lost. A policy is named by its row, never by a colour.
Pure plotly from `dcp.stats.policies`; cells go as single bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.figures.screen.compare import every, names, token_ticks
from dcp.figures.screen.theme import GONE, GROUND, HELD_SCALE, LOSS, OTHER, RUN, in_chart
from dcp.runs.policies import Beside
from dcp.stats.groups import group_label, group_names
from dcp.stats.policies import in_words, title_of
from dcp.trace import Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["kinds_chart", "kl_chart", "policy_maps", "words_chart"]

_TITLE = 26
"""Pixels that the title of a small map takes."""


def policy_maps(beside: Beside, step: int, against: bool = False) -> go.Figure:
    """Layer x token of every policy at ``step``, one below the other on one axis.

    against  where each differs from the first one, in place of what it holds
    """
    from plotly.subplots import make_subplots

    from dcp.figures.screen.compare_maps import flat_steps, state_cells

    first, mine = beside.first, in_chart(in_words(next(iter(beside.runs))))
    shown = [(n, t) for n, t in beside.runs.items() if not (against and t is first)]
    high = int(np.clip(7 * first.layers, 44, 120))
    figure = make_subplots(
        rows=len(shown),
        cols=1,
        shared_xaxes=True,
        # As much as a title takes, however many there are.
        vertical_spacing=_TITLE / ((high + _TITLE) * max(len(shown), 1)),
        subplot_titles=[_over(n, t, first, step, mine if against else "") for n, t in shown],
    )
    pieces = names(first)
    for row, (name, trace) in enumerate(shown, 1):
        if against:
            own, theirs = first.visible(step), trace.visible(step)
            cells = (own.astype(np.int8) - theirs + 1).astype(np.uint8)
            who = in_chart(title_of(name))
            labels = [f"held by {who} alone", "both or neither", f"held by {mine} alone"]
            scale = flat_steps([OTHER, GROUND, RUN])
        else:
            read = (np.arange(trace.tokens) <= step).astype(np.uint8)
            cells = trace.visible(step) + read
            labels, scale = ["not read yet", "dropped", "held"], flat_steps([GROUND, GONE, RUN])
        figure.add_trace(state_cells(cells, scale, labels, pieces), row, 1)
    figure.update_yaxes(autorange="reversed", dtick=max(4, every(first.layers)), showgrid=False)
    figure.update_yaxes(tickfont={"size": 10})
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_xaxes(**token_ticks(first), row=len(shown), col=1)
    figure.update_layout(
        height=(high + _TITLE) * len(shown) + 96,
        margin={"l": 40, "r": 10, "t": 24, "b": 70},
        uirevision="policy-maps",
    )
    figure.update_annotations(font={"size": 12}, x=0, xanchor="left")
    return figure


def _over(name: str, trace: Trace, first: Trace, step: int, against: str) -> str:
    held = trace.visible(step).sum() / trace.layers
    title = f"<b>{in_chart(title_of(name))}</b>"
    if not against:
        return f"{title} · {held:.1f} entries a layer"
    apart = int((first.visible(step) != trace.visible(step)).sum())
    return f"{title} · {apart:,} cells differ from {against}"


def kl_chart(beside: Beside, table: pd.DataFrame) -> go.Figure:
    """KL(nothing dropped ‖ policy) of each token's prediction, a row for each policy, the sum of
    the row at its right. table: `policy_table`."""
    import plotly.graph_objects as go

    rows = [name for name in beside.runs if name != "none"][::-1]
    kl = np.array([_known(beside.runs[name].kl) for name in rows])
    top = max(float(np.quantile(kl, 0.99)), 1e-6)
    figure = go.Figure(
        go.Heatmap(
            # The root: rows that lose little are seen beside one that loses much.
            z=np.round(255 * np.sqrt(np.clip(kl / top, 0, 1))).astype(np.uint8),
            y=[title_of(name) for name in rows],
            zmin=0,
            zmax=255,
            colorscale=[[0, GROUND], [1, LOSS]],
            colorbar={
                "title": {"text": "KL, nats"},
                "tickvals": [0, 127, 255],
                "ticktext": ["0", f"{top / 4:.2g}", f"{top:.2g}+"],
                "thickness": 10,
                "outlinewidth": 0,
                "x": 1.08,
            },
            ygap=2,
            customdata=np.dstack(
                [np.round(kl, 4), np.broadcast_to(np.array(names(beside.first), object), kl.shape)]
            ),
            hovertemplate="%{y}, “%{customdata[1]}”: %{customdata[0]} nats<extra></extra>",
        )
    )
    means = table.set_index("policy")["kl"]
    for name in rows:
        figure.add_annotation(
            x=1.005, xref="paper", y=title_of(name), text=f"{means[name]:.3f}",
            showarrow=False, xanchor="left", font={"size": 11},
        )  # fmt: skip
    figure.update_layout(
        height=23 * len(rows) + 118,
        margin={"l": 116, "r": 120, "t": 12, "b": 70},
        xaxis={**token_ticks(beside.first), "showgrid": False, "zeroline": False},
        yaxis={"showgrid": False},
        uirevision="policy-kl",
    )
    return figure


def _known(kl: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    assert kl is not None
    return np.nan_to_num(kl.astype(np.float64))


def words_chart(table: pd.DataFrame) -> go.Figure:
    """Policies x the words that mattered: the share of layers that hold each.

    table: `word_table`.
    """
    columns = table.drop_duplicates("first")
    grid = table.pivot(index="policy", columns="first", values="held")
    grid = grid.reindex(index=list(dict.fromkeys(table["policy"]))[::-1], columns=columns["first"])
    labels = [in_chart(word)[:14] for word in columns["word"]]
    hover = "%{y} holds “%{customdata}” in %{text} of its layers<extra></extra>"
    return _shares(grid, labels, labels, hover, angle=-40, uirevision="policy-words")


def kinds_chart(table: pd.DataFrame, horizon: int) -> go.Figure:
    """Policies x kinds of words: the share dropped within ``horizon`` steps.

    table: `rates_of_policies`.
    """
    kinds = [name for name in group_names("group") if name in set(table["group"])]
    counts = table.drop_duplicates("group").set_index("group")["words"]
    grid = table.pivot(index="policy", columns="group", values="drop_rate")
    grid = grid.reindex(index=list(dict.fromkeys(table["policy"]))[::-1], columns=kinds)
    labels = [f"{group_label(name)}<br>{counts[name]:,} words" for name in kinds]
    hover = (
        f"%{{y}} dropped %{{text}} of “%{{customdata}}” within {horizon} steps, a layer at random"
        "<extra></extra>"
    )
    plain = [group_label(name) for name in kinds]
    return _shares(grid, labels, plain, hover, angle=0, uirevision="policy-kinds", loss=True)


def _shares(
    grid: pd.DataFrame, labels: list[str], plain: list[str], hover: str, *, angle: int,
    uirevision: str, loss: bool = False,
) -> go.Figure:  # fmt: skip
    """Shares 0 to 1 as a table in colour, the number in each cell."""
    import plotly.graph_objects as go

    values = grid.to_numpy(dtype=float)
    text = np.where(np.isfinite(values), np.char.mod("%d %%", np.nan_to_num(100 * values)), "")
    # Opaque, so that the ink of the numbers is chosen against what is seen.
    scale = [[0, "#eceef1"], [1, LOSS]] if loss else HELD_SCALE
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(range(len(labels))),
            y=[title_of(name) for name in grid.index],
            zmin=0,
            zmax=1,
            colorscale=scale,
            showscale=False,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            text=text,
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=np.broadcast_to(np.array(plain, object), values.shape),
            hovertemplate=hover,
        )
    )
    figure.update_layout(
        height=24 * len(grid) + (110 if angle else 70),
        margin={"l": 116, "r": 10, "t": 8, "b": 84 if angle else 48},
        xaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": labels,
            "tickangle": angle,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"showgrid": False},
        uirevision=uirevision,
    )
    return figure

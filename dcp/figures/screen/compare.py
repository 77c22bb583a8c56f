"""Curves and bars of two runs, made with plotly from a `Pair`: blue is A, green and dotted B."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcp.figures.screen.theme import LEGEND, OTHER, REFERENCE, RUN, in_chart
from dcp.stats.compare import Pair
from dcp.trace import Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["A", "B", "every", "held_chart", "lost_chart", "names", "step_chart", "token_ticks"]

A, B = RUN, OTHER
_NAMED = 78
"""How many tokens can be named under a chart at most."""


def step_chart(pair: Pair) -> go.Figure:
    """Per token: the change in log-prob from A to B, and the KL divergences that were measured."""
    from plotly.subplots import make_subplots

    curves = [
        (array, name, colour, dash)
        for array, name, colour, dash in (
            (pair.kl, "KL(A ‖ B)", REFERENCE, "solid"),
            (pair.a.kl, "KL(gates off ‖ A)", A, "solid"),
            (pair.b.kl, "KL(gates off ‖ B)", B, "dot"),
        )
        if array is not None
    ]
    rows = 2 if curves else 1
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    change = pair.b.logprob - pair.a.logprob
    shown, at = names(pair.a), np.arange(pair.a.tokens)
    for sign, colour, name in ((1, B, "likelier in B"), (-1, A, "likelier in A")):
        here = np.flatnonzero(sign * np.nan_to_num(change) > 0)
        figure.add_bar(
            x=at[here],
            y=change[here],
            name=name,
            marker={"color": colour},
            customdata=[shown[j] for j in here],
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
            customdata=shown,
            hovertemplate="%{customdata}: %{y:.4f} nats<extra></extra>",
            row=2,
            col=1,
        )
    figure.update_yaxes(title={"text": "log-prob, B − A (nats)"}, row=1, col=1)
    if curves:
        figure.update_yaxes(title={"text": "KL (nats)"}, rangemode="tozero", row=2, col=1)
    figure.update_xaxes(showgrid=False, zeroline=False, range=[-0.5, pair.a.tokens - 0.5])
    figure.update_xaxes(**token_ticks(pair.a), row=rows, col=1)
    figure.update_layout(
        height=210 * rows + 86,
        margin={"l": 60, "r": 10, "t": 34, "b": 70},
        legend=LEGEND,
        bargap=0,
        barmode="overlay",
        uirevision="compare-step",
    )
    return figure


def held_chart(pair: Pair) -> go.Figure:
    """Entries held per step, mean over layers, under those of a dense model."""
    import plotly.graph_objects as go

    longest = max(pair.a.n_queries, pair.b.n_queries)
    figure = go.Figure(
        go.Scatter(
            x=[0, longest - 1],
            y=[1, longest],
            name="dense",
            mode="lines",
            line={"color": REFERENCE, "width": 1},
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
        legend=LEGEND,
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
        legend=LEGEND,
        showlegend=True,
        barmode="group",
        xaxis={"title": {"text": "layer"}, "dtick": every(pair.a.layers), "showgrid": False},
        yaxis={
            "title": {"text": f"{what}, mean of steps"},
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        uirevision="compare-lost",
    )
    return figure


def names(trace: Trace) -> list[str]:
    """Every token as a chart says it."""
    return [in_chart(piece) for piece in trace.pieces()]


def every(layers: int) -> int:
    """How many layers lie between two ticks."""
    return max(1, layers // 8)


def token_ticks(trace: Trace) -> dict[str, Any]:
    """Ticks of an axis of tokens that says the words: all of a short text, else some of them.

    A word of several tokens is named whole, where it begins; writing without spaces by its tokens.
    """
    gap = max(1, -(-trace.tokens // _NAMED))
    at, said = [], []
    for j, word in enumerate(_words(trace.fragments())):
        since = j - at[-1] if at else gap
        begins = any(c.isalnum() for c in word) or (word.strip() and gap == 1)
        if since >= gap and (begins or since >= 4 * gap):
            at.append(j)
            said.append(word.strip() or trace.piece(j).strip())
    return {
        "tickvals": at,
        "ticktext": [in_chart(word if len(word) <= 11 else f"{word[:10]}…") for word in said],
        "tickangle": -90,
        "tickfont": {"size": 9.5},
    }


def _words(fragments: list[str]) -> list[str]:
    """For each token the word that begins with it; "" inside of one."""
    found: list[str] = []
    start = 0
    for j, piece in enumerate(fragments):
        inside = piece[:1].isalnum() and j and fragments[j - 1][-1:].isalnum()
        found.append("" if inside or not piece else piece)
        start = j if found[-1] else start
        if inside:
            found[start] += piece
    return found

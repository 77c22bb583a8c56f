"""Two runs side by side, drawn: numbers, texts, maps, curves, files. Knows no model."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dcp.figures import paper
from dcp.figures.screen.compare import held_chart, lost_chart, step_chart
from dcp.figures.screen.compare_maps import lost_map, map_chart
from dcp.stats.compare import Number, Pair
from dcp.text.table import to_csv
from dcp.trace import Trace
from dcp.ui.compare.verdict import key_numbers, verdict
from dcp.ui.tiles import tiles
from dcp.ui.wide import wide

__all__ = ["compared"]

_CONFIG = {"displayModeBar": False}
_EXCERPT = 600


def compared(pair: Pair, names: tuple[str, str], key: str, note: str = "") -> None:
    """Everything about a pair; ``names`` of A and B, a unique ``key``, a ``note`` on what B is."""
    st.markdown(f"**{verdict(pair)}**")
    if note:
        st.caption(note)
    tiles(key_numbers(pair), "pair")
    if not pair.same_tokens:
        st.caption(
            "The two runs read different tokens: they are compared as wholes, at a common length. "
            "A difference token by token would have no meaning."
        )
    elif not pair.cell_by_cell:
        st.caption("The two models differ in layers: there is no difference map, layer by layer.")
    if pair.steps:
        _maps(pair, key)
    if pair.same_tokens and pair.a.tokens > 1:
        with wide("steps"):
            st.plotly_chart(step_chart(pair), key="compare-steps", config=_CONFIG)
    one, two = st.columns(2)
    one.plotly_chart(held_chart(pair), key="compare-held", config=_CONFIG)
    two.plotly_chart(lost_chart(pair), key="compare-lost", config=_CONFIG)
    lost = lost_map(pair)
    if lost is not None:
        st.plotly_chart(lost, key="compare-lost-map", config=_CONFIG)
        st.caption(
            "Attention lost: with the gates off and the same tokens, the share of each query's "
            "attention (mean of heads) that sat on tokens the run had dropped by then; token 0, "
            "which soaks up attention that has nowhere else to go, is left out."
        )
    with st.expander("A and B, and all numbers"):
        _texts(pair, names)
        _numbers(pair)
    _files(pair)


def _texts(pair: Pair, names: tuple[str, str]) -> None:
    for column, letter, name, trace in zip(
        st.columns(2), "AB", names, (pair.a, pair.b), strict=True
    ):
        with column.container(border=True):
            st.text(f"{letter} · {name}")
            st.caption(
                f"{trace.tokens} tokens, {trace.layers} layers, weights "
                f"{trace.meta.weights_sha256[:8]}"
            )
            if not pair.same_tokens:
                cut = len(trace.text) > _EXCERPT
                st.text(trace.text[:_EXCERPT] + (" …" if cut else ""))


def _numbers(pair: Pair) -> None:
    rows = [
        {
            "": number.name,
            "A": _said(number, number.a),
            "B": _said(number, number.b),
            "B − A": _said(number, number.difference, signed=True),
        }
        for number in pair.numbers()
        if number.a is not None or number.b is not None
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            name: st.column_config.TextColumn(alignment="right") for name in ("A", "B", "B − A")
        },
        key="compare-numbers",
    )


def _said(number: Number, value: float | None, signed: bool = False) -> str:
    if value is None:
        return "–"
    # A divergence between equal runs is rounding noise: show 0.
    value = 0.0 if abs(value) < 1e-7 else value
    sign = "+" if signed and value else ""
    if number.kind == "count":
        said = format(int(value), f"{sign},d")
    elif number.kind == "share":
        said = format(100 * value, f"{sign}.1f") + (" points" if signed else " %")
    else:
        said = format(value, f"{sign}.4g")
    return said.replace("-", "−")


@st.fragment
def _maps(pair: Pair, key: str) -> None:
    step = pair.steps - 1
    if pair.steps > 1:
        # A new pair has other steps, so it gets a new slider.
        step = st.slider("At step", 0, pair.steps - 1, pair.steps - 1, key=f"compare-step-{key}")
    with wide("map"):
        st.plotly_chart(map_chart(pair, step), key="compare-map", config=_CONFIG)


def _files(pair: Pair) -> None:
    """Downloads, each made when it is asked for."""
    files: list[tuple[str, str, str, Callable[[], bytes]]] = []
    if pair.same_tokens:
        files.append(
            ("Differences by token (CSV)", "compare-tokens.csv", "text/csv", _csv(pair.per_token))
        )
    if pair.cell_by_cell:
        files.append(
            ("Drops by layer and token (CSV)", "compare-cells.csv", "text/csv", _csv(pair.per_cell))
        )
    for letter, trace in (("A", pair.a), ("B", pair.b)):
        if trace.kl is not None and trace.sparsity_mean_steps() > 0:
            files.append(
                (
                    f"KL and lost attention of {letter} (PDF)",
                    f"cost-{letter.lower()}.pdf",
                    "application/pdf",
                    _cost(trace),
                )
            )
        files.append(
            (
                f"Trace {letter}",
                f"{letter.lower()}.safetensors",
                "application/octet-stream",
                trace.to_bytes,
            )
        )
    with st.container(horizontal=True):
        for label, name, kind, make in files:
            st.download_button(label, make, name, kind, key=f"take-{name}", on_click="ignore")


def _csv(make: Callable[[], pd.DataFrame]) -> Callable[[], bytes]:
    return lambda: to_csv(make()).encode()


def _cost(trace: Trace) -> Callable[[], bytes]:
    def make() -> bytes:
        page = paper.page("neurips")
        return paper.render(paper.draw("cost", [(trace, ())], page).figure, "pdf", page)

    return make

"""How many sequences fit into a memory budget, pruned and dense, with the sum written out."""

from __future__ import annotations

import streamlit as st

from dcp.stats.cost import Computed, Measured, batch_within
from dcp.trace import Trace
from dcp.trace.amounts import size
from dcp.ui.cost.words import BUDGETS
from dcp.ui.services import models

__all__ = ["batch_section"]

_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "int4": 20 / 32}


def batch_section(trace: Trace, found: Computed, measured: Measured | None) -> None:
    """The budget, both batches, and how they were calculated."""
    st.header("Sequences in a memory budget")
    if not found.entry_bytes:
        st.caption("This trace does not say how many bytes an entry takes.")
        return
    weights, told = _weights(trace, measured)
    # A file may say anything of itself, and this is shown as markup.
    kind = trace.meta.dtype if trace.meta.dtype in _WIDTHS else "4 bytes each"
    budget = st.select_slider(
        "Budget", BUDGETS, 2**30, format_func=size, key="budget", bind="query-params"
    )
    tokens = trace.tokens
    dense = int(trace.layers * tokens * found.entry_bytes)
    pruned = measured.peak["pruned"] if measured else trace.meta.memory.peak
    ours, theirs = (batch_within(budget, weights, peak) for peak in (pruned, dense))
    one, two, words = st.columns([1, 1, 2])
    ratio = f"{ours / theirs:.2f}× as many" if theirs else "dense fits none"
    one.metric("Pruned", f"{ours:,}", ratio, delta_color="off", delta_arrow="off", border=True)
    two.metric(
        "Dense", f"{theirs:,}", f"of {tokens:,} tokens each", delta_color="off",
        delta_arrow="off", border=True,
    )  # fmt: skip
    words.markdown(
        f"⌊({size(budget)} − {size(weights)} of weights in {kind}) ÷ {size(pruned)}⌋ = "
        f"**{ours:,}** pruned, with the peak allocated for one sequence like this "
        "one (measured).\n\n"
        f"⌊({size(budget)} − {size(weights)}) ÷ {size(dense)}⌋ = **{theirs:,}** dense, with "
        f"2 · L · T · H_kv · d · bytes and no slack (computed, in favour of dense). {told}"
    )


def _weights(trace: Trace, measured: Measured | None) -> tuple[int, str]:
    if measured is not None:
        return measured.weights, ""
    of = {info.name: info.parameters for info in models()}
    parameters = of.get(trace.meta.model)
    if parameters is None:
        return 0, "The size of this model's weights is not known here and counts as nothing."
    return int(parameters * _WIDTHS.get(trace.meta.dtype, 4)), ""

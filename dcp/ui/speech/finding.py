"""The first sentences of "Parts of speech": what the table says, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dcp.stats.groups import group_label
from dcp.stats.rates import MIN_WORDS

__all__ = ["finding"]


def finding(table: pd.DataFrame, names: Sequence[str], horizon: int) -> str:
    """Which kind of word goes first and which stays longest, of those with enough words.

    table: rows of `drop_table_with_controls`.
    """
    gates = table[(table.arm == "gates") & table["group"].isin(names)]
    told = gates[np.isfinite(gates.drop_rate) & (gates.words >= MIN_WORDS)]
    told = told.sort_values("drop_rate", ascending=False)
    if told.empty:
        return (
            f"No kind of word occurs {MIN_WORDS} times here: the bars are hollow, and what they "
            "show may be chance."
        )
    first = told.iloc[0]
    if not first["drop_rate"] > 0:
        return f"No word of these kinds was dropped within {horizon} steps."
    if len(told) == 1:
        return (
            f"Only {_name(first)} occur {MIN_WORDS} times: {first['drop_rate']:.0%} of them "
            f"are dropped within {horizon} steps in a layer taken at random."
        )
    last = told.iloc[-1]
    name = _name(first)
    said = (
        f"{name[:1].upper()}{name[1:]} go first, {first['drop_rate']:.0%} within {horizon} steps; "
        f"{_name(last)} stay longest ({last['drop_rate']:.0%})."
    )
    ends = [first["ci_low"], last["ci_high"]]
    if not np.isfinite(ends).all():
        return f"{said} Too short for intervals: it may be chance."
    if first["ci_low"] <= last["ci_high"]:
        return f"{said} Their intervals overlap: it may be chance."
    return f"{said} Their intervals do not overlap."


def _name(row: pd.Series) -> str:
    label = group_label(str(row["group"]))
    return label if label[:1].islower() else f"{label} words"

"""The tables behind the panels: one on the page, all to take along."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dcp.text.table import to_csv
from dcp.ui.speech.source import Filters, Tables

__all__ = ["take"]


def take(tables: Tables, filters: Filters, table: pd.DataFrame) -> None:
    """The table of rates, and downloads."""
    # On demand: the table widget's code is half a megabyte, too much for the first paint.
    if st.toggle("Show the rates as a table", key="speech-table"):
        st.dataframe(table, hide_index=True, width="stretch")
    files: list[tuple[str, Callable[[], pd.DataFrame]]] = [
        ("rates", lambda: table),
        ("layers", lambda: tables.by_layer(filters)),
        ("triggers", lambda: tables.triggers(filters)),
        ("hazard", lambda: tables.hazard(filters)),
        ("noise", lambda: tables.noise(filters)),
    ]
    for column, (name, make) in zip(st.columns(len(files)), files, strict=True):
        column.download_button(
            f"{name}.csv",
            _csv(make),
            f"{name}.csv",
            "text/csv",
            key=f"speech-take-{name}",
            on_click="ignore",
            width="stretch",
        )


def _csv(make: Callable[[], pd.DataFrame]) -> Callable[[], bytes]:
    return lambda: to_csv(make()).encode()

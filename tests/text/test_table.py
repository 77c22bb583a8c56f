"""One CSV for all: every cell comes back, on any Python, and no spreadsheet runs one."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcp.text.table import to_csv

ROOT = Path(__file__).parents[2]
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(cells, min_size=1, max_size=6))
def test_every_text_comes_back_from_its_own_row(texts: list[str]) -> None:
    written = to_csv(pd.DataFrame({"n": range(len(texts)), "token": texts}))
    rows = list(csv.reader(io.StringIO(written, newline="")))[1:]
    assert len(rows) == len(texts)
    for (_, cell), text in zip(rows, texts, strict=True):
        assert cell in (text, f"'{text}")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    written = to_csv(pd.DataFrame({"token": [text, "plain", None], "change": [-1.5, 2.0, np.nan]}))
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert rows[1] == [f"'{text}", "-1.5"]
    assert rows[2:] == [["plain", "2.0"], ["", ""]]


def test_nothing_else_writes_csv() -> None:
    """The training log is numbers alone, a row at a time."""
    allowed = {"dcp/text/table.py", "dcp/train/run_folder.py"}
    for path in (ROOT / "dcp").rglob("*.py"):
        if path.relative_to(ROOT).as_posix() not in allowed:
            assert not re.search(r"\.to_csv\(|csv\.writer", path.read_text(encoding="utf-8")), path

"""The simple heatmap says what the trace says, at any size, and skips no token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dcp.figures.screen.held import held_heatmap, held_share
from tests.helpers.traces import random_trace


@pytest.mark.parametrize("tokens", [1, 2, 63])
def test_each_cell_is_one_token_where_there_is_room(tokens: int) -> None:
    trace = random_trace(3, tokens=tokens)
    for step in {0, tokens // 2, trace.n_queries - 1}:
        wanted = 100 * trace.visible(step)[:, : step + 1]
        assert np.array_equal(held_share(trace, step), wanted)


@pytest.mark.parametrize("columns", [1, 7, 20])
def test_more_tokens_than_columns_are_averaged_not_skipped(columns: int) -> None:
    trace = random_trace(5, layers=2, tokens=63)
    share = held_share(trace, 62, columns)
    assert share.shape == (2, columns)
    edges = np.linspace(0, 63, columns + 1).astype(int)
    held = trace.visible(62)
    for i, (a, b) in enumerate(pairwise(edges)):
        assert share[:, i].tolist() == [int(100 * row[a:b].mean() + 1e-9) for row in held]


def test_the_first_layer_is_on_top_and_small_numbers_are_sent() -> None:
    figure = held_heatmap(random_trace(1, tokens=40), 39)
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.data[0].z.dtype == np.uint8

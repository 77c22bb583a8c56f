"""Texts read as branches of one row get what each gets by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcp.evaluate.branches import BranchedAttend, Rows, row_length
from dcp.evaluate.score import held_per_step
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel, load

# Few different tokens, so that texts begin alike, are one another's start, or are equal.
TEXT = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(lambda ids: np.asarray(ids))
GROUPS = st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=1, max_size=3)
SHIFTS = st.sampled_from([None, -2.0, -0.7, 0.0, 0.4])


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path]) -> LoadedModel:
    return load(tiny_checkpoint(request.param))


@settings(max_examples=40)
@given(GROUPS, SHIFTS)
def test_each_text_gets_what_it_gets_alone(
    model: LoadedModel, groups: list[list[np.ndarray]], shift: float | None
) -> None:
    rows = Rows.of(groups)
    way = BranchedAttend(rows, shift, torch.device("cpu"))
    with torch.no_grad():
        joint = model.transformer(torch.from_numpy(rows.ids), torch.from_numpy(rows.positions), way)
        for row, texts in enumerate(groups):
            for text, columns in zip(texts, rows.columns[row], strict=True):
                ids, alone = (
                    torch.from_numpy(text)[None],
                    MaskedAttend(shift or 0, prune=shift is not None),
                )
                logits = model.transformer(ids, torch.arange(len(text))[None], alone)[0]
                torch.testing.assert_close(joint[row, columns], logits, atol=1e-5, rtol=1e-4)
                held = held_per_step(alone.deaths)[:, 0].double().mean(0)
                assert torch.equal(way.held[row, columns], held)


@given(GROUPS)
def test_a_row_reads_what_its_texts_share_once(groups: list[list[np.ndarray]]) -> None:
    rows = Rows.of(groups)
    for row, texts in enumerate(groups):
        real = rows.branches[row] >= 0
        assert real.sum() == row_length(texts) <= sum(map(len, texts))
        assert set(np.concatenate(rows.columns[row])) == set(np.flatnonzero(real))
        for text, columns in zip(texts, rows.columns[row], strict=True):
            assert np.array_equal(rows.ids[row, columns], text)
            assert np.array_equal(rows.positions[row, columns], np.arange(len(text)))
        assert row_length(texts[:1] * 3) == len(texts[0])

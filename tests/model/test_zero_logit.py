"""A gate logit of exactly 0 drops: keep iff z > 0, on every road that decides it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.deaths import ALIVE
from dcp.engine.engine import Engine
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel, load


@pytest.fixture
def undecided(tiny_checkpoint: Callable[..., Path]) -> LoadedModel:
    """Projections of 0 and β = 0: every gate logit is 0, whatever is read."""
    model = load(tiny_checkpoint("llama"))
    for name, value in model.transformer.named_parameters():
        if "int" in name or "beta" in name:
            value.data.zero_()
    return model


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("chunk", [1, 7, 128])
def test_in_the_cached_engine(undecided: LoadedModel, impl: str, chunk: int) -> None:
    run = Engine(undecided, impl).run([list(range(20))], new_tokens=5, chunk=chunk)  # type: ignore[arg-type]
    for _ in run:
        pass
    death, margin = run.lives(0)
    # The last token drawn was never a query, so nothing is dropped at it.
    queries = death.shape[1] - 1
    steps = np.arange(1, queries)
    assert (death[:, : queries - 1] == steps).all()
    assert (death[:, queries - 1 :] == ALIVE).all()
    assert (margin[:, : queries - 1] == 0).all()


def test_in_one_masked_forward(undecided: LoadedModel) -> None:
    way = MaskedAttend()
    with torch.inference_mode():
        undecided.transformer(torch.arange(20)[None], torch.arange(20)[None], way)
    assert (way.deaths[:, 0, :-1].numpy() == np.arange(1, 20)).all()
    assert (way.deaths[:, 0, -1].numpy() == ALIVE).all()

"""The pictures of the method are right: they agree with training, the cache and the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dcp.train.schedule
from dcp.errors import TraceError
from dcp.kernels.training.alpha_sigmoid import alpha_sigmoid as trained_sigmoid
from dcp.kernels.training.alpha_sigmoid import log_interaction
from dcp.method import (
    GateLogits,
    alpha_at,
    alpha_logit,
    alpha_sigmoid,
    alpha_slope,
    band,
    cache_steps,
    interaction,
    progress_at,
)
from dcp.model.cache import HeldBytes, Slots
from dcp.trace import ALIVE, Trace
from dcp.train.sections import GateSettings
from tests.helpers.traces import random_deaths

TRACES = Path(__file__).resolve().parent.parent / "assets" / "traces"
ALPHAS = [1.0, 1.000001, 1.3, 1.5, 2.0, 3.7, 8.0]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_drawn_sigmoid_and_its_slope_are_those_of_training(alpha: float) -> None:
    # An odd count, so that 0 is there, and no point on the edge of the band, where slope jumps.
    z = np.linspace(-3.01, 3.01, 1001)
    points = torch.tensor(z, requires_grad=True)
    trained = trained_sigmoid(points, alpha)
    trained.sum().backward()
    p = alpha_sigmoid(z, alpha)
    assert points.grad is not None
    np.testing.assert_allclose(p, trained.detach().numpy(), atol=1e-6)
    inside = (np.abs(z) < band(alpha)) & (p > 1e-4) & (p < 1 - 1e-4)
    drawn = alpha_slope(p[inside], alpha)
    np.testing.assert_allclose(drawn, points.grad.numpy()[inside], rtol=3e-3)
    assert not points.grad.numpy()[np.abs(z) > band(alpha)].any()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_logit_and_sigmoid_undo_one_another_and_the_band_is_where_the_gate_shuts(
    alpha: float,
) -> None:
    p = np.linspace(0.01, 0.99, 63)
    np.testing.assert_allclose(alpha_sigmoid(alpha_logit(p, alpha), alpha), p, atol=1e-9)
    if alpha > 1.1:
        edge = band(alpha)
        assert alpha_sigmoid([-edge, edge], alpha).tolist() == [0.0, 1.0]
        assert 0 < alpha_sigmoid(-0.99 * edge, alpha) < 0.5


def test_the_schedule_is_that_of_training_and_its_inverse() -> None:
    for step in range(64):
        alpha = alpha_at(step / 63)
        assert alpha == pytest.approx(dcp.train.schedule.alpha_at(step, 63, GateSettings()))
        assert progress_at(alpha) == pytest.approx(step / 63, abs=1e-7)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 5.0])
def test_the_product_of_gates_is_that_of_training(alpha: float) -> None:
    z = np.random.default_rng(3).normal(0.4, 0.5, (17, 17))
    ours = interaction(alpha_sigmoid(z, alpha))
    theirs = np.tril(log_interaction(torch.tensor(z)[None].float(), alpha)[0].exp().numpy())
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_hard_gate_once_closed_is_closed_for_good() -> None:
    z = np.random.default_rng(4).normal(1, 1, (33, 33))
    kept = interaction(z > 0)
    assert set(np.unique(kept)) == {0.0, 1.0}
    below = np.tril(np.ones((33, 33), bool), -1)
    gates = GateLogits(np.where(below, z, np.nan)[None].astype(np.float32), "")
    steps = np.arange(33)
    visible = (steps[:, None] >= steps) & (steps[:, None] < gates.death()[0])
    assert (kept.astype(bool) == visible).all()
    assert gates.reopened().sum() == ((z > 0) & below & ~visible).sum() > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(0, 10**6))
def test_the_drawn_rows_are_those_of_the_cache(tokens: int, seed: int) -> None:
    death = random_deaths(np.random.default_rng(seed), 1, tokens, tokens)[0]
    slots = Slots(1, 2, 0, torch.float32, tokens, HeldBytes())
    nothing = np.zeros((1, 2), np.float32)
    for t, drawn in enumerate(cache_steps(death, tokens)):
        before = slots.positions[: slots.count].copy()
        dead = np.flatnonzero(death[before] <= t)
        slots.replace(dead, nothing, nothing, None, t)
        assert slots.positions[: slots.count].tolist() == list(drawn.rows)
        assert slots.capacity == drawn.capacity
        assert drawn.dropped == tuple((int(before[row]), int(row)) for row in dead)
        assert drawn.rows[drawn.written] == t
        for source, hole in drawn.moves:
            assert source >= len(drawn.rows) > hole


def test_the_bundled_gate_logits_explain_the_bundled_sample() -> None:
    trace = Trace.load(TRACES / "sample.safetensors")
    gates = GateLogits.load(TRACES / "sample.gates.json")
    width = gates.z.shape[1]
    assert gates.weights_sha256 == trace.meta.weights_sha256
    seen = trace.death[:, :width]
    assert (gates.death() == np.where(seen < width, seen, ALIVE)).all(), (
        "the sample has changed: run python -m benchmarks.sample_gates"
    )


def test_gate_logits_survive_a_file_and_damage_is_one_line(tmp_path: Path) -> None:
    z = np.random.default_rng(5).normal(size=(3, 7, 7)).astype(np.float32)
    z[:, ~np.tril(np.ones((7, 7), bool), -1)] = np.nan
    path = tmp_path / "some.gates.json"
    GateLogits(z, "ab").save(path)
    back = GateLogits.load(path)
    np.testing.assert_allclose(back.z, z, rtol=1e-4)
    assert back.weights_sha256 == "ab"
    assert (np.sign(back.z) == np.sign(z))[~np.isnan(z)].all()
    for damage in ("", "[]", '{"tokens": 9, "weights_sha256": "", "z": [[1]]}'):
        path.write_text(damage)
        with pytest.raises(TraceError, match="no gate logits"):
            GateLogits.load(path)

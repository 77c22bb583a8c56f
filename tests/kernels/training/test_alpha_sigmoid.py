"""The α-sigmoid against a float64 bisection of its defining equation, and its gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcp.kernels.training.alpha_sigmoid import AlphaSigmoid, alpha_sigmoid, log_interaction

Floats = npt.NDArray[np.float64]
ALPHAS = (1 + 1e-6, 1.001, 1.2, 1.49, 1.5, 1.9, 2.0, 2.1, 3.0, 4.5, 8.0, 16.0)


def solve(z: Floats, alpha: float) -> Floats:
    """p of  p^(α-1) - (1-p)^(α-1) = (α-1) z  by bisection in float64."""
    a = alpha - 1
    low, high = np.zeros_like(z), np.ones_like(z)
    for _ in range(80):
        p = (low + high) / 2
        with np.errstate(divide="ignore"):
            left = np.expm1(a * np.log(p)) - np.expm1(a * np.log1p(-p))
        low, high = np.where(left / a < z, p, low), np.where(left / a < z, high, p)
    return np.where(np.abs(z) * a >= 1, (z > 0).astype(float), (low + high) / 2)


def hard_places(alpha: float) -> npt.NDArray[np.float32]:
    """Everywhere, inside the band, very near 0 and very near the band's edge."""
    rng, edge = np.random.default_rng(0), 1 / (alpha - 1)
    z = np.concatenate(
        [
            np.linspace(-10, 10, 4001),
            rng.uniform(-edge, edge, 4000),
            10 ** rng.uniform(-12, 0, 1000),
            edge * (1 - 10 ** rng.uniform(-8, 0, 1000)),
        ]
    )
    return z[np.abs(z) <= 10].astype(np.float32)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_value_is_within_1e_6_of_the_float64_solution(alpha: float) -> None:
    z = hard_places(alpha)
    ours = alpha_sigmoid(torch.from_numpy(z), alpha).numpy()
    assert np.abs(ours - solve(z.astype(np.float64), alpha)).max() < 1e-6


@given(st.floats(1.0001, 16.0), st.floats(-10, 10))
def test_any_alpha_and_any_logit_solve_the_equation(alpha: float, z: float) -> None:
    logit = np.asarray([z], dtype=np.float32)
    ours = AlphaSigmoid.of.__wrapped__(AlphaSigmoid, alpha).probability(torch.from_numpy(logit))
    assert abs(float(ours) - solve(logit.astype(np.float64), alpha)[0]) < 1e-6


def test_at_alpha_1_it_is_the_logistic() -> None:
    z = torch.linspace(-9, 9, 1001)
    assert torch.allclose(alpha_sigmoid(z, 1.0), torch.sigmoid(z), atol=1e-6)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0, 8.0, 16.0])
def test_outside_the_band_it_is_exactly_0_or_1_with_no_gradient(alpha: float) -> None:
    edge = 1 / (alpha - 1)
    z = torch.tensor([-10.0, -edge * 1.0001, edge * 1.0001, 10.0], requires_grad=True)
    p = alpha_sigmoid(z, alpha)
    p.sum().backward()
    assert p.tolist() == [0, 0, 1, 1]
    assert z.grad is not None
    assert z.grad.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("alpha", [1.0, 1.3, 2.0, 3.0, 4.0])
def test_the_gradient_is_that_of_the_value(alpha: float) -> None:
    edge = min(4.0, 1 / max(alpha - 1, 0.25))
    z = torch.linspace(-0.9 * edge, 0.9 * edge, 31, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: alpha_sigmoid(x, alpha), z, eps=1e-4, atol=2e-3, rtol=2e-3
    )


@pytest.mark.parametrize("alpha", [1.0, 1.5, 3.0])
def test_log_interaction_has_the_gradient_of_its_value(alpha: float) -> None:
    torch.manual_seed(0)
    edge = min(2.0, 1 / max(alpha - 1, 0.25))
    z = ((torch.rand(2, 5, 5, dtype=torch.float64) - 0.3) * edge).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: log_interaction(x, alpha), z, eps=1e-4, atol=2e-3, rtol=2e-3
    )


def test_interaction_is_the_running_product_of_gates() -> None:
    torch.manual_seed(1)
    z, length = torch.randn(3, 17, 17) * 0.3, 17
    p = alpha_sigmoid(z, 2.5)
    found = log_interaction(z, 2.5).exp()
    for t in range(length):
        for j in range(t + 1):
            expected = p[:, j + 1 : t + 1, j].prod(dim=1)
            assert torch.allclose(found[:, t, j], expected, atol=1e-5)


def test_closed_gates_leave_finite_gradients() -> None:
    z = torch.full((1, 63, 63), -0.14285, requires_grad=True)  # p rounds to 0 inside the band
    log_interaction(z, 8.0).exp().sum().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().max() < 1e3

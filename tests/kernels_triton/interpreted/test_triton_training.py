"""Gated attention of training and its gradients against the plain autograd form in float64."""

import math

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from dcp.errors import DeviceError
from dcp.kernels.gates import Gates
from dcp.kernels.training import reference
from dcp.kernels.training import triton as fused
from dcp.kernels.training.api import Heads, attention, resolve
from dcp.kernels.triton.soft_gate import gate
from dcp.model.weights import load
from dcp.train.objective import SoftGateAttend, language_model_loss


@triton.jit
def gate_kernel(z, log_p, slope, count, a, NEAR_ONE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    found = gate(tl.load(z + i, i < count, 0.0), a, NEAR_ONE)
    tl.store(log_p + i, found[0], i < count)
    tl.store(slope + i, found[1], i < count)


def solved(z: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """σ_α(z) and its slope in float64, by bisection on the log-odds."""
    a, size = alpha - 1, np.abs(z)
    low, high = np.zeros_like(z), np.full_like(z, 700.0)
    for _ in range(200):
        s = (low + high) / 2
        log_p = -np.log1p(np.exp(-s))
        over = np.expm1(a * log_p) - np.expm1(a * (log_p - s)) >= a * size
        low, high = np.where(over, low, s), np.where(over, s, high)
    p = 1 / (1 + np.exp(-s))
    q = np.exp(-s) * p
    with np.errstate(divide="ignore"):
        slope = np.where(a * size < 1, 1 / (p ** (a - 1) + q ** (a - 1)), 0.0)
    p, q = np.where(a * size < 1, p, 1.0), np.where(a * size < 1, q, 0.0)
    return np.where(z < 0, q, p), slope


@pytest.mark.parametrize("alpha", [1 + 1e-6, 1.2, 1.499, 1.5, 2.0, 2.7, 5.0, 8.0, 16.0])
def test_the_gate_is_exact_to_float32(alpha):
    reach = min(1.2 / (alpha - 1), 20.0)
    z = np.concatenate((np.linspace(-reach, reach, 1501), [0.0, 1e-7, -1e-7])).astype(np.float32)
    wanted, wanted_slope = solved(z.astype(np.float64), alpha)
    given = torch.from_numpy(z)
    log_p, slope = torch.full_like(given, torch.nan), torch.full_like(given, torch.nan)
    gate_kernel[(2,)](given, log_p, slope, len(z), alpha - 1, NEAR_ONE=alpha < 1.5, BLOCK=1024)
    p = log_p.double().exp().numpy()
    assert np.abs(p - wanted).max() < 1e-6
    # dp/dz; where p is under the floor the logarithm's slope is the floor's. At the edge of the
    # band the slope jumps to 0, and whether float32 z is inside is a matter of rounding.
    clear = np.abs(np.abs(z) * (alpha - 1) - 1) > 1e-5
    found = slope.double().numpy() * p
    assert np.abs(found - wanted_slope)[clear].max() < 2e-3 * wanted_slope.max() + 1e-6


@pytest.mark.parametrize(
    ("alpha", "length", "loud"),
    [
        (1 + 1e-6, 1, 1),
        (1 + 1e-6, 35, 1),
        (1.3, 35, 1),
        (2.0, 35, 1),
        (8.0, 67, 1),
        # Scores in the hundreds would outbid any finite penalty on a closed gate.
        (8.0, 35, 20),
    ],
)
def test_output_and_gradients_equal_the_plain_form(alpha, length, loud):
    g = torch.Generator().manual_seed(length)
    q, k, v, grad = torch.randn(4, 2, 2, length, 24, generator=g)
    q = q * loud
    q_int, k_int = torch.randn(2, 2, length, 8, generator=g)
    if alpha > 4:
        q_int = q_int * 0.2
    beta = torch.tensor([2.0 if alpha < 1.5 else 0.1 if alpha < 4 else 0.05])
    pairs = torch.ones(2, length, length).tril(-1)
    pairs[1, length // 2 :] = 0
    given = (q, k, v, q_int, k_int, beta)
    wide, plain, ours = (
        run(compute, alpha, dtype, pairs.to(dtype), given, grad)
        for compute, dtype in (
            (reference.soft_attention, torch.float64),
            (reference.soft_attention, torch.float32),
            (fused.soft_attention, torch.float32),
        )
    )
    agrees(ours, plain, wide)


def agrees(ours, plain, wide):
    """No further from float64 than the plain form in float32 is, twice over."""
    for name in wide:
        scale = float(wide[name].abs().max()) + 1
        allowed = 2 * float((plain[name] - wide[name]).abs().max()) + 2e-5 * scale
        found = float((ours[name].double() - wide[name]).abs().max())
        assert found <= allowed, (name, found, allowed)


@pytest.mark.parametrize(
    ("length", "queries", "depth", "loud"),
    [(1, 2, math.inf, 1), (35, 2, math.inf, 1), (67, 6, math.inf, 1), (35, 2, math.inf, 20),
     (150, 2, 1.0, 1)],
)  # fmt: skip
def test_hard_gates_and_their_gradients_equal_the_plain_form(length, queries, depth, loud):
    g = torch.Generator().manual_seed(length)
    q, grad = torch.randn(2, 2, queries, length, 24, generator=g)
    k, v = torch.randn(2, 2, 2, length, 24, generator=g)
    q_int, k_int = torch.randn(2, 2, length, 8, generator=g)
    given = (q * loud, k, v, q_int, k_int, torch.tensor([1.0, 2.5]))
    price = 2 * torch.rand(2, length, generator=g)
    price[1, length // 2 :] = 0
    wide, plain, ours = (
        run(compute, depth, dtype, price, given, grad)
        for compute, dtype in (
            (reference.hard_attention, torch.float64),
            (reference.hard_attention, torch.float32),
            (fused.hard_attention, torch.float32),
        )
    )
    agrees(ours, plain, wide)
    if length > 2:
        assert 0.05 < float(ours["kept"].sum()) / (1.5 * length**2 / 2) < 0.95


def test_triton_is_taken_where_it_has_a_tile_and_says_so_where_it_has_none():
    for width, element, name in ((64, 4, "triton"), (128, 4, "triton"), (256, 2, "triton")):
        assert resolve("soft", "triton", Heads(width, element)) == name
    with pytest.raises(DeviceError, match="no tile for heads of 160 elements of 4 bytes"):
        resolve("soft", "triton", Heads(160, 4))
    with pytest.raises(DeviceError, match="has no causal attention"):
        resolve("causal", "triton", Heads(64))
    assert attention("soft", "triton", Heads(64)).compute is fused.soft_attention
    assert attention("hard", "triton", Heads(64)).compute is fused.hard_attention


def test_on_a_gpu_auto_takes_triton_and_the_equations_for_wider_heads(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    chosen = {
        (way, width): resolve(way, "auto", Heads(width, 4, "cuda"))
        for way in ("soft", "hard", "causal")
        for width in (64, 160)
    }
    assert chosen.pop(("soft", 64)) == chosen.pop(("hard", 64)) == "triton"
    assert set(chosen.values()) == {"reference"}


def test_a_model_trained_through_the_kernels_has_the_oracles_loss_and_gradients(tiny_checkpoint):
    """The whole objective, grouped heads and padding included."""
    model = load(tiny_checkpoint("llama", drop=0.5)).transformer.train().requires_grad_(True)
    ids = torch.randint(0, 256, (2, 19), generator=torch.Generator().manual_seed(0))
    real = torch.ones(2, 19, dtype=torch.bool)
    real[1, 12:] = False
    told = {}
    for name in ("reference", "triton"):
        compute = attention("soft", name, Heads(model.config.head_dim)).compute
        attend = SoftGateAttend(compute, 1.7, real)
        logits = model(ids, torch.arange(19).expand(2, -1), attend)
        loss = language_model_loss(logits, ids.masked_fill(~real, -1))
        (loss + 0.3 * torch.stack(attend.kept).mean()).backward()
        told[name] = [loss.detach(), *(p.grad for p in model.parameters())]
        model.zero_grad(set_to_none=True)
    for exact, found in zip(*told.values(), strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-5)


def run(compute, extent, dtype, counted, given, grad):
    inputs = [x.to(dtype).requires_grad_() for x in given]
    out, kept = compute(*inputs[:3], Gates(*inputs[3:]), counted, extent)
    ((out * grad.to(dtype)).sum() + 0.7 * kept.sum()).backward()
    names = ("dq", "dk", "dv", "dq_int", "dk_int", "dbeta")
    return {"out": out.detach(), "kept": kept.detach()} | {
        name: x.grad for name, x in zip(names, inputs, strict=True)
    }

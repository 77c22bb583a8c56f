"""The kernels on the card: errors at most twice the reference's own, deaths the same."""

import math

import pytest
import torch
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.kernels import api
from tests.kernels.test_kernels import error, rounding, rows

CUDA = "cuda"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does not write stays NaN, or an absurd number."""
    empty = torch.empty

    def poison(*shape, **options) -> Tensor:
        out = empty(*shape, **options)
        return out.fill_(math.nan if out.is_floating_point() else 0x5A5A5A5A)

    monkeypatch.setattr(torch, "empty", poison)


def attention64(q, k, v, q_pos, k_pos, death) -> Tensor:
    """The reference's equation in float64."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1).double(), v.repeat_interleave(group, 1).double()
    visible = (k_pos <= q_pos[:, None]) & (q_pos[:, None] < death)
    scores = torch.einsum("chd,nhd->hcn", q.double(), k) / math.sqrt(q.shape[2])
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    return torch.einsum("hcn,nhd->chd", weights, v)


@pytest.mark.parametrize("beta", [-3.0, 0.0, 2.5, 50.0])
@pytest.mark.parametrize(
    ("queries", "survivors", "r"), [(1, 63, 8), (63, 0, 16), (512, 1000, 64), (300, 41, 40)]
)
def test_deaths_differ_only_inside_the_float_budget(queries, survivors, r, beta):
    q_int, k_int, q_pos, k_pos = rows(queries, survivors, seed=queries, r=r)
    budget = rounding(q_int, k_int, beta)
    z = (q_int.double() @ k_int.double().T) / math.sqrt(r) + beta
    z = z.masked_fill(k_pos >= q_pos[:, None], math.inf)
    death, margin = api.kernels("triton", CUDA).death_times(
        *(x.to(CUDA) for x in (q_int, k_int, q_pos, k_pos)), beta
    )
    death, margin = death.cpu(), margin.cpu()
    drops = z <= 0
    first = torch.where(drops.any(0), q_pos[drops.int().argmax(0)].int(), ALIVE)
    near = (z.abs() <= budget).any(0)
    assert torch.equal(death[~near], first[~near])
    alive = (death == ALIVE) & ~near & (z.amin(0) < math.inf)
    lowest = z.amin(0)[alive].float()
    torch.testing.assert_close(margin[alive], lowest, rtol=0, atol=budget)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"),
    [(16, 16, 64), (32, 8, 64), (6, 2, 80), (5, 1, 128), (8, 1, 256), (3, 3, 32), (4, 2, 200)],
)
def test_attention_errs_at_most_twice_as_much_as_the_reference(heads, kv_heads, d, dtype):
    q_int, k_int, q_pos, k_pos = (x.to(CUDA) for x in rows(255, 700, seed=heads))
    death, _ = api.kernels("triton", CUDA).death_times(q_int, k_int, q_pos, k_pos, 2.5)
    g = torch.Generator(CUDA).manual_seed(d)
    q = torch.randn(255, heads, d, generator=g, device=CUDA)
    k = torch.randn(len(k_pos), kv_heads, d, generator=g, device=CUDA)
    v = torch.randn(len(k_pos), kv_heads, d, generator=g, device=CUDA)
    narrow = tuple(x.to(dtype) for x in (q, k, v))
    reference, triton = api.kernels("reference"), api.kernels("triton", CUDA)
    exact = attention64(q, k, v, q_pos, k_pos, death)
    allowed = 2 * error(reference.extend_attention(*narrow, q_pos, k_pos, death), exact) + 1e-5
    assert error(triton.extend_attention(*narrow, q_pos, k_pos, death), exact) <= allowed
    everything = torch.full_like(death, ALIVE)
    one = attention64(q[:1], k, v, q_pos[-1:], k_pos, everything)[0]
    allowed = 2 * error(reference.decode_attention(narrow[0][0], *narrow[1:]), one) + 1e-5
    assert error(triton.decode_attention(narrow[0][0], *narrow[1:]), one) <= allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alpha", [1 + 1e-6, 1.3, 2.0, 8.0])
@pytest.mark.parametrize("d", [24, 64, 128])
def test_training_gradients_err_at_most_twice_as_much_as_the_plain_form(alpha, d, dtype):
    from dcp.kernels.training import reference, triton

    g = torch.Generator().manual_seed(d)
    q, k, v, grad = torch.randn(4, 2, 3, 333, d, generator=g).to(CUDA)
    q_int, k_int = torch.randn(2, 2, 333, 16, generator=g).to(CUDA) * (0.4 if alpha > 4 else 1)
    beta = torch.tensor([2.0 if alpha < 1.5 else 0.1], device=CUDA)
    pairs = torch.ones(2, 333, 333, device=CUDA).tril(-1)

    def run(attention, kind):
        exact = torch.float64 if kind is torch.float64 else torch.float32
        return trained(
            lambda *args: attention(*args, pairs.to(exact), alpha),
            (q, k, v), (q_int, k_int, beta), grad, kind,
        )  # fmt: skip

    errs_little(run, reference.soft_attention, triton.soft_attention, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("depth", [math.inf, 2.0])
@pytest.mark.parametrize("d", [24, 64, 128])
def test_gradients_of_hard_gates_err_at_most_twice_as_much_as_the_plain_form(depth, d, dtype):
    from dcp.kernels.training import reference, triton

    g = torch.Generator().manual_seed(d)
    q, grad = torch.randn(2, 2, 6, 333, d, generator=g).to(CUDA)
    k, v = torch.randn(2, 2, 3, 333, d, generator=g).to(CUDA)
    q_int, k_int = torch.randn(2, 2, 333, 16, generator=g).to(CUDA)
    beta = torch.tensor([1.0, 3.0], device=CUDA)
    price = 2 * torch.rand(2, 333, device=CUDA)
    price[1, 200:] = 0

    def run(attention, kind):
        return trained(
            lambda *args: attention(*args, price, depth),
            (q, k, v), (q_int, k_int, beta), grad, kind,
        )  # fmt: skip

    errs_little(run, reference.hard_attention, triton.hard_attention, dtype)


def trained(attention, heads, gates, grad, kind):
    """out and all gradients, heads in ``kind``, gates in float32 or wider."""
    from dcp.kernels.gates import Gates

    inputs = [x.to(kind).requires_grad_() for x in heads]
    exact = torch.float64 if kind is torch.float64 else torch.float32
    inputs += [x.to(exact).requires_grad_() for x in gates]
    out, kept = attention(*inputs[:3], Gates(*inputs[3:]))
    ((out * grad.to(kind)).sum().to(exact) + 0.7 * kept.sum()).backward()
    return [out.detach(), *(x.grad for x in inputs)]


def errs_little(run, plain, fused, dtype):
    wide, plain, fused = run(plain, torch.float64), run(plain, dtype), run(fused, dtype)
    for name, exact, one, other in zip(
        ("out", "dq", "dk", "dv", "dq_int", "dk_int", "dbeta"), wide, plain, fused, strict=True
    ):
        scale = float(exact.abs().max()) + 1
        floor = 2e-5 * scale if dtype is torch.float32 else 2e-3 * scale
        assert error(other, exact) <= 2 * error(one, exact) + floor, name

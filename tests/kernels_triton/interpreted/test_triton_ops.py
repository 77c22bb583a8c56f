"""The four operations in triton's interpreter: equal to the reference on small odd shapes.

The interpreter computes bfloat16 wrongly: bfloat16 inputs are rounded to it first and then carried
in float32, so that their values are what is tested.
"""

import math

import pytest
import torch
from torch import Tensor

from dcp.deaths import ALIVE
from dcp.kernels import api
from tests.kernels.test_kernels import by_hand, error, rounding, rows


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does not write stays NaN, or an absurd number."""
    empty = torch.empty

    def poison(*shape, **options) -> Tensor:
        out = empty(*shape, **options)
        return out.fill_(math.nan if out.is_floating_point() else 0x5A5A5A5A)

    monkeypatch.setattr(torch, "empty", poison)


@pytest.mark.parametrize("beta", [-3.0, 1.5, 50.0])
@pytest.mark.parametrize(
    ("queries", "survivors", "r"), [(1, 0, 8), (1, 63, 1), (63, 0, 16), (7, 31, 24), (131, 70, 64)]
)
def test_deaths_and_margins_equal_the_reference(queries, survivors, r, beta):
    q_int, k_int, q_pos, k_pos = rows(queries, survivors, seed=queries + survivors, r=r)
    reference, triton = api.kernels("reference"), api.kernels("triton")
    expected, low = reference.death_times(q_int, k_int, q_pos, k_pos, beta)
    death, margin = triton.death_times(q_int, k_int, q_pos, k_pos, beta)
    assert death.dtype == torch.int32
    assert margin.dtype == torch.float32
    assert torch.equal(death, expected)
    allowed = rounding(q_int, k_int, beta)
    torch.testing.assert_close(margin, low, rtol=0, atol=allowed, equal_nan=True)
    z = triton.gate_scores(q_int, k_int, beta)
    torch.testing.assert_close(z, reference.gate_scores(q_int, k_int, beta), rtol=0, atol=allowed)


def test_a_logit_of_zero_drops():
    q_int, k_int = torch.zeros(2, 4), torch.ones(2, 4)
    position = torch.tensor([0, 1])
    death, margin = api.kernels("triton").death_times(q_int, k_int, position, position, 0.0)
    assert death.tolist() == [1, ALIVE]
    assert margin[0] == 0
    assert math.isnan(margin[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"), [(1, 1, 32), (4, 4, 8), (6, 2, 24), (5, 1, 64), (3, 1, 96)]
)
def test_attention_errs_at_most_twice_as_much_as_the_reference(heads, kv_heads, d, dtype):
    q_int, k_int, q_pos, k_pos = rows(31, 70, seed=heads)
    reference, triton = api.kernels("reference"), api.kernels("triton")
    death, _ = reference.death_times(q_int, k_int, q_pos, k_pos, 2.5)
    g = torch.Generator().manual_seed(d)
    q = torch.randn(31, heads, d, generator=g)
    k = torch.randn(len(k_pos), kv_heads, d, generator=g)
    v = torch.randn(len(k_pos), kv_heads, d, generator=g)
    exact = by_hand(q, k, v, q_pos, k_pos, death)
    narrow = tuple(x.to(dtype) for x in (q, k, v))
    carried = tuple(x.float() for x in narrow) if dtype is torch.bfloat16 else narrow
    allowed = 2 * error(reference.extend_attention(*narrow, q_pos, k_pos, death), exact) + 1e-5
    out = triton.extend_attention(*carried, q_pos, k_pos, death)
    assert error(out.to(dtype), exact) <= allowed
    one = by_hand(q[:1], k, v, q_pos[-1:], k_pos, torch.full_like(death, ALIVE))[0]
    allowed = 2 * error(reference.decode_attention(narrow[0][0], *narrow[1:]), one) + 1e-5
    out = triton.decode_attention(carried[0][0], *carried[1:])
    assert error(out.to(dtype), one) <= allowed


@pytest.mark.parametrize("d", [17, 200, 256])
def test_any_head_width_is_taken(d):
    g = torch.Generator().manual_seed(d)
    q, k = torch.randn(5, 2, d, generator=g), torch.randn(9, 2, d, generator=g)
    v = torch.randn(9, 2, d, generator=g)
    q_pos, k_pos = torch.arange(4, 9), torch.arange(9)
    death = torch.full((9,), ALIVE, dtype=torch.int32)
    exact = by_hand(q, k, v, q_pos, k_pos, death)
    reference, triton = api.kernels("reference"), api.kernels("triton")
    allowed = 2 * error(reference.extend_attention(q, k, v, q_pos, k_pos, death), exact) + 1e-5
    assert error(triton.extend_attention(q, k, v, q_pos, k_pos, death), exact) <= allowed


@pytest.mark.parametrize("kind", ["skipped", "open", "mixed"])
def test_every_class_of_key_block_is_right(kind):
    """Four blocks of 64 keys before a chunk of 5: the first is dead, open or half dead."""
    g = torch.Generator().manual_seed(4)
    n = 4 * 64 + 5
    q, k = torch.randn(5, 2, 16, generator=g), torch.randn(n, 1, 16, generator=g)
    v = torch.randn(n, 1, 16, generator=g)
    q_pos, k_pos = torch.arange(n - 5, n), torch.arange(n)
    death = torch.full((n,), ALIVE, dtype=torch.int32)
    death[: {"skipped": 64, "open": 0, "mixed": 31}[kind]] = n - 5
    death[70] = n - 3
    exact = by_hand(q, k, v, q_pos, k_pos, death)
    out = api.kernels("triton").extend_attention(q, k, v, q_pos, k_pos, death)
    assert error(out, exact) <= 1e-5


def test_row_order_does_not_matter():
    ops = api.kernels("triton")
    q_int, k_int, q_pos, k_pos = rows(17, 29, seed=2)
    g = torch.Generator().manual_seed(0)
    order = torch.randperm(len(k_pos), generator=g)
    q = torch.randn(17, 4, 8, generator=g)
    k, v = torch.randn(2, len(k_pos), 2, 8, generator=g)
    death, margin = ops.death_times(q_int, k_int, q_pos, k_pos, 0.5)
    again = ops.death_times(q_int, k_int[order], q_pos, k_pos[order], 0.5)
    assert torch.equal(again[0], death[order])
    torch.testing.assert_close(again[1], margin[order], equal_nan=True, rtol=0, atol=1e-6)
    out = ops.extend_attention(q, k, v, q_pos, k_pos, death)
    moved = ops.extend_attention(q, k[order], v[order], q_pos, k_pos[order], death[order])
    torch.testing.assert_close(moved, out, rtol=0, atol=1e-5)

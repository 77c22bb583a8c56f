"""Every implementation equals the reference; the reference equals float64 written out by hand."""

import importlib.util
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import dcp
from dcp import trace
from dcp.deaths import ALIVE
from dcp.errors import DeviceError
from dcp.kernels import api

FAST = ["cpu"]


def rows(queries: int, survivors: int, seed: int, r: int = 8) -> tuple[Tensor, ...]:
    """A chunk of queries after ``survivors`` scattered earlier tokens, keys in shuffled order."""
    g = torch.Generator().manual_seed(seed)
    earlier = torch.randperm(3 * survivors + 1, generator=g)[:survivors]
    q_pos = torch.arange(queries) + 3 * survivors + 1
    k_pos = torch.cat((earlier, q_pos))
    k_pos = k_pos[torch.randperm(len(k_pos), generator=g)]
    q_int = torch.randn(queries, r, generator=g)
    k_int = torch.randn(len(k_pos), r, generator=g)
    return q_int, k_int, q_pos, k_pos


def rounding(q_int: Tensor, k_int: Tensor, beta: float) -> float:
    """Twice what float32 loses on these very logits, against float64."""
    wide = q_int.double() @ k_int.double().T / math.sqrt(q_int.shape[1]) + beta
    narrow = q_int @ k_int.T / math.sqrt(q_int.shape[1]) + beta
    return 2 * float((wide - narrow).abs().max()) + 1e-6


@pytest.mark.parametrize("beta", [-3.0, 0.0, 1.5, 6.0, 50.0])
@pytest.mark.parametrize(("queries", "survivors"), [(1, 0), (1, 63), (63, 0), (7, 31), (300, 41)])
@pytest.mark.parametrize("impl", FAST)
def test_deaths_and_margins_equal_the_reference(impl, queries, survivors, beta):
    q_int, k_int, q_pos, k_pos = rows(queries, survivors, seed=queries + survivors)
    expected, low = api.kernels("reference").death_times(q_int, k_int, q_pos, k_pos, beta)
    death, margin = api.kernels(impl).death_times(q_int, k_int, q_pos, k_pos, beta)
    assert death.dtype == torch.int32
    assert margin.dtype == torch.float32
    assert torch.equal(death, expected)
    torch.testing.assert_close(
        margin, low, rtol=0, atol=rounding(q_int, k_int, beta), equal_nan=True
    )


def test_death_is_the_first_query_whose_logit_is_not_positive():
    q_int, k_int, q_pos, k_pos = rows(63, 20, seed=5)
    z = (q_int.double() @ k_int.double().T) / math.sqrt(8) + 1.0
    death, margin = api.kernels("reference").death_times(q_int, k_int, q_pos, k_pos, 1.0)
    for j in range(len(k_pos)):
        later = [t for t in range(len(q_pos)) if q_pos[t] > k_pos[j]]
        drops = [t for t in later if z[t, j] <= 0]
        assert int(death[j]) == (int(q_pos[drops[0]]) if drops else ALIVE)
        asked = later[: later.index(drops[0]) + 1] if drops else later
        assert math.isnan(margin[j]) == (not asked)
        if asked:
            assert float(margin[j]) == pytest.approx(float(z[asked, j].min()), abs=1e-5)


@pytest.mark.parametrize("impl", ["reference", *FAST])
def test_a_logit_of_zero_drops(impl):
    q_int, k_int = torch.zeros(2, 4), torch.ones(2, 4)
    position = torch.tensor([0, 1])
    death, margin = api.kernels(impl).death_times(q_int, k_int, position, position, 0.0)
    assert death.tolist() == [1, ALIVE]
    assert margin[0] == 0
    assert math.isnan(margin[1])


@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"), [(1, 1, 16), (4, 4, 8), (6, 2, 24), (5, 1, 64)]
)
@pytest.mark.parametrize("impl", FAST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_errs_at_most_twice_as_much_as_the_reference(impl, heads, kv_heads, d, dtype):
    q_int, k_int, q_pos, k_pos = rows(63, 37, seed=heads)
    reference, fast = api.kernels("reference"), api.kernels(impl)
    death, _ = reference.death_times(q_int, k_int, q_pos, k_pos, 0.8)
    g = torch.Generator().manual_seed(d)
    q = torch.randn(63, heads, d, generator=g)
    k = torch.randn(len(k_pos), kv_heads, d, generator=g)
    v = torch.randn(len(k_pos), kv_heads, d, generator=g)
    exact = by_hand(q, k, v, q_pos, k_pos, death)
    narrow = (q.to(dtype), k.to(dtype), v.to(dtype))
    allowed = 2 * error(reference.extend_attention(*narrow, q_pos, k_pos, death), exact) + 1e-5
    assert error(fast.extend_attention(*narrow, q_pos, k_pos, death), exact) <= allowed
    one = by_hand(q[:1], k, v, q_pos[-1:], k_pos, torch.full_like(death, ALIVE))[0]
    allowed = 2 * error(reference.decode_attention(narrow[0][0], *narrow[1:]), one) + 1e-5
    assert error(fast.decode_attention(narrow[0][0], *narrow[1:]), one) <= allowed


@pytest.mark.parametrize("impl", ["reference", *FAST])
def test_row_order_does_not_matter(impl):
    ops = api.kernels(impl)
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


def test_dispatch_never_falls_back():
    assert api.resolve("auto") == ("native" if api.native_missing() is None else "cpu")
    assert api.resolve("reference") == "reference"
    for impl, device in (
        ("triton", "cpu"),
        ("cpu", "cuda"),
        ("reference", "cuda"),
        ("native", "cuda"),
        ("fast", "cpu"),
    ):
        with pytest.raises(DeviceError) as refused:
            api.kernels(impl, device)
        assert "\n" not in str(refused.value)


def test_auto_takes_a_gpu_where_there_is_one_and_triton_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for installed, device in ((object(), "cuda"), (None, "cpu")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, spec=installed: spec)
        assert api.device_of("auto") == device
    assert api.device_of("triton") == "cuda"
    assert api.device_of("cpu") == "cpu"
    assert api.resolve("auto", "cuda") == "triton"


def test_alive_is_what_the_files_of_old_traces_hold():
    assert ALIVE == trace.ALIVE == 2147483647 == np.iinfo(np.int32).max
    written = [
        path.name
        for path in Path(dcp.__file__).parent.rglob("*.py")
        if re.search(r"2\s*\*\*\s*31 - 1|2147483647", path.read_text(encoding="utf-8"))
        and "/ui/" not in path.as_posix()
    ]
    assert written == ["deaths.py"]


def by_hand(q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor, death: Tensor) -> Tensor:
    """Attention of each query and head over its own list of visible keys, in float64."""
    group = q.shape[1] // k.shape[1]
    out = torch.empty(q.shape, dtype=torch.float64)
    for t in range(len(q)):
        seen = [j for j in range(len(k)) if k_pos[j] <= q_pos[t] and q_pos[t] < death[j]]
        for h in range(q.shape[1]):
            keys, values = k[seen, h // group].double(), v[seen, h // group].double()
            weights = torch.softmax(keys @ q[t, h].double() / math.sqrt(q.shape[2]), dim=0)
            out[t, h] = weights @ values
    return out


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max())

"""Weights in blocks and their products in C++: exact where they claim to be, bounded elsewhere."""

import ctypes

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcp.errors import DeviceError
from dcp.kernels import api
from dcp.kernels.native import build, decoder, pack, table

SHAPES = [(1, 1), (7, 33), (63, 64), (100, 576)]
needs_native = pytest.mark.skipif(
    api.native_missing() is not None, reason=f"no native step: {api.native_missing()}"
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_of_widened_blocks_are_the_same_blocks(shape, bits):
    """What was dequantised from a GGUF gets its very blocks back."""
    once = pack.quantise(normal(*shape, seed=bits), bits)
    again = pack.quantise(pack.widen(once), bits)
    real = np.arange(again.q.shape[1] * pack.BLOCK).reshape(1, -1, pack.BLOCK) < shape[1]
    assert np.array_equal(np.where(real, again.q, 0), np.where(real, once.q, 0))
    assert np.array_equal(again.d, once.d)
    assert (again.m is None) == (once.m is None)
    assert again.m is None or np.array_equal(again.m, once.m)


@pytest.mark.parametrize(("bits", "kind"), [(8, "Q8_0"), (4, "Q4_1")])
def test_blocks_are_those_of_ggml(bits, kind):
    w = normal(5, 96, seed=3)
    raw = quants.quantize(w.numpy(), GGMLQuantizationType[kind])
    theirs = quants.dequantize(raw, GGMLQuantizationType[kind])
    ours = pack.widen(pack.quantise(w, bits)).numpy()
    # ggml rounds halves of a 4-bit step up, we to even: where they meet, both are as near.
    assert (ours != theirs).mean() < 0.01
    assert np.abs(ours - w.numpy()).max() <= np.abs(theirs - w.numpy()).max() * (1 + 1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_block_errs_by_half_a_step_at_most(bits):
    w = normal(64, 96, seed=1) * torch.logspace(-3, 3, 64)[:, None]
    blocks = pack.quantise(w, bits)
    error = (pack.widen(blocks) - w).abs().reshape(64, 3, 32).amax(2)
    # Half a step, and what a half float loses of the step (times q) and of the smallest weight.
    step = torch.from_numpy(blocks.d.astype(np.float32))
    largest = w.abs().reshape(64, 3, 32).amax(2)
    assert (error <= 0.5 * step + largest * 2**-10).all()


def test_zeros_and_constants_have_blocks_too():
    for value in (0.0, 2.5, -0.125):
        w = torch.full((9, 40), value)
        assert torch.equal(pack.widen(pack.quantise(w, 4)), w)
        assert torch.allclose(pack.widen(pack.quantise(w, 8)), w, rtol=1e-3)


@needs_native
@pytest.mark.parametrize("exact", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("rank", [1, 8, 11])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_beside_a_weight_is_added_to_its_product(shape, rank, exact):
    packed = pack.pack(pack.quantise(normal(*shape, seed=2), 4))
    a, b = normal(rank, shape[1], seed=3), normal(shape[0], rank, seed=4)
    if exact:
        a, b = a.bfloat16().float(), b.bfloat16().float()
    low = pack.pack_low(a, b)
    assert low.a.dtype == low.b.dtype == (torch.bfloat16 if exact else torch.float32)
    for rows in (1, 2, 3, 6):
        x, bias = normal(rows, shape[1], seed=rows), normal(shape[0], seed=9)
        without = decoder.product(x, packed, bias)
        wanted = without.double() + x.double() @ a.double().T @ b.double().T
        found = decoder.product(x, packed, bias, low)
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


@needs_native
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [8, 4])
def test_a_product_loses_what_rounding_inputs_to_16_bits_loses(bits, shape, rows):
    blocks = pack.quantise(normal(*shape, seed=2), bits)
    packed, wide = pack.pack(blocks), pack.widen(blocks).double()
    x, bias = normal(rows, shape[1], seed=rows), normal(shape[0], seed=9)
    y = decoder.product(x, packed, bias)
    exact = x.double() @ wide.T + bias.double()
    spare = -shape[1] % pack.BLOCK
    peaks = torch.nn.functional.pad(x, (0, spare)).reshape(rows, -1, pack.BLOCK).abs().amax(2)
    mass = torch.nn.functional.pad(wide.abs(), (0, spare)).reshape(shape[0], -1, pack.BLOCK).sum(2)
    rounded = peaks.double() @ mass.T / 65534
    # Float sums over blocks, and d q + m taken apart: 32 q d and m total up beyond their sum.
    floats = 2**-22 * (x.double().abs() @ (wide.abs() + wide.abs().amax()).T + 1)
    assert ((y - exact).abs() <= rounded + floats).all()


@needs_native
@settings(max_examples=20, deadline=None, derandomize=True)
@given(rows=st.integers(1, 70), columns=st.integers(1, 100), count=st.integers(1, 9))
def test_a_row_comes_out_the_same_in_every_batch_and_on_every_team(rows, columns, count):
    for bits in (8, 4):
        packed = pack.pack(pack.quantise(normal(rows, columns), bits))
        x = normal(count, columns, seed=1)
        alone = torch.cat([decoder.product(row[None], packed, None) for row in x])
        assert torch.equal(decoder.product(x, packed, None), alone)
        threads = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            assert torch.equal(decoder.product(x, packed, None), alone)
        finally:
            torch.set_num_threads(threads)


def float_product(x: Tensor, weight: Tensor, threads: int = 1) -> Tensor:
    """x [B, K] times a weight [N, K] kept as float32 or bfloat16."""
    kind = table.BF16 if weight.dtype == torch.bfloat16 else table.F32
    held = table.Weight(kind, *weight.shape, 0, weight.data_ptr(), None)
    y = torch.full((len(x), len(weight)), torch.nan)
    failed = table.functions().dcp_product(
        ctypes.byref(held), x.data_ptr(), len(x), y.data_ptr(), threads
    )
    assert not failed
    return y


@needs_native
@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=st.integers(1, 35), columns=st.integers(1, 100), count=st.integers(1, 9))
def test_float_rows_come_out_the_same_in_every_batch_and_in_both_widths(rows, columns, count):
    narrow, x = normal(rows, columns).bfloat16(), normal(count, columns, seed=1)
    wide = narrow.float()
    y = float_product(x, wide)
    mass = x.double().abs() @ wide.double().abs().T
    exact = x.double() @ wide.double().T
    assert ((y - exact).abs() <= columns * 2**-24 * mass).all()
    assert torch.equal(y, torch.cat([float_product(row[None], wide) for row in x]))
    assert torch.equal(y, float_product(x, narrow))
    assert torch.equal(y, float_product(x, wide, threads=3))


@needs_native
def test_the_structures_are_those_of_the_library():
    table.functions()
    assert table.ROWS.itemsize == 64
    assert table.DROP.itemsize == 16


def test_without_a_compiler_auto_is_cpu_and_native_is_refused_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("DCP_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with fresh():
        assert api.resolve("auto") == "cpu"
        with pytest.raises(DeviceError, match="no-such-compiler") as refused:
            api.resolve("native")
        assert "\n" not in str(refused.value)


def test_a_compiler_that_fails_is_named_with_its_own_words(monkeypatch, tmp_path):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'step.cpp:1: error: out of order' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("DCP_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", str(broken))
    with fresh():
        assert "out of order" in str(build.why_not())
        assert not list((tmp_path / "native").iterdir())


@needs_native
def test_without_vector_instructions_products_are_the_same(monkeypatch, tmp_path):
    packed = {bits: pack.pack(pack.quantise(normal(17, 70), bits)) for bits in (8, 4)}
    x = normal(5, 70, seed=1)
    expected = {bits: decoder.product(x, packed[bits], None) for bits in packed}
    monkeypatch.setenv("DCP_CACHE", str(tmp_path))
    plain = tuple(flag for flag in build._FLAGS if flag != "-march=native")
    monkeypatch.setattr(build, "_FLAGS", plain)
    with fresh():
        for bits, y in expected.items():
            found = decoder.product(x, packed[bits], None)
            torch.testing.assert_close(found, y, rtol=0, atol=2e-5)
        assert list((tmp_path / "native").iterdir())


class fresh:
    """What `build` remembers, forgotten before and after."""

    def __enter__(self) -> None:
        self.forget()

    def __exit__(self, *_: object) -> None:
        self.forget()

    def forget(self) -> None:
        for remembered in (build.library, build.why_not, build._compiler, table.functions):
            remembered.cache_clear()

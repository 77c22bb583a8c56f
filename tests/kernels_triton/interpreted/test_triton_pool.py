"""The pool in the interpreter, against a Python list."""

import pytest
import torch
from hypothesis import HealthCheck, settings

from dcp.errors import DeviceError
from dcp.kernels.triton import pool as pools
from dcp.kernels.triton.pool import Pool
from tests.kernels_triton.pool_machine import SHAPE, PoolMachine, ints

CPU = torch.device("cpu")

TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=8,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_scoring_in_kernels_apart_settles_alike(monkeypatch):
    """Sequences too long for one program are scored by many: the same rows die."""
    results = []
    for alone in (4096, 1):
        monkeypatch.setattr(pools, "_ALONE", alone)
        g = torch.Generator().manual_seed(0)
        pool = Pool(SHAPE, torch.float32, CPU)
        for t in range(30):
            x = torch.randn(1, 2, 5, generator=g)
            gates = torch.randn(2, 1, 3, generator=g)
            out = pool.decode(0, ints(1), ints(t), x, x, -x, gates[0], gates[1], 1.0, None)
        counts, _ = pool.state()
        results.append((out, counts, *pool.drained()))
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)
    assert 0 < int(results[0][1][0, 1]) < 30


def test_a_full_pool_is_refused_before_the_step():
    pool = Pool(SHAPE, torch.float32, CPU)
    counts, free = pool.state()
    pool.require(counts, free, torch.tensor([24, 24, 24]))
    with pytest.raises(DeviceError, match="pool for keys and values is full") as refused:
        pool.require(counts, free, torch.tensor([81, 0, 0]))
    assert "\n" not in str(refused.value)

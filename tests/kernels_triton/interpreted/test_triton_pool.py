"""The pool in the interpreter, against a Python list."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, settings

from dcp.errors import DeviceError
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


def test_a_long_sequence_is_scored_by_many_programs_and_settles_like_the_list():
    """More rows than a program scores: the dead, and where the living lie, are still the list's."""
    pool = Pool(replace(SHAPE, most=200, pages=60), torch.float32, CPU)
    g = torch.Generator().manual_seed(0)
    gates = torch.randn(140, 3, generator=g)
    x = torch.arange(140.0)[:, None, None].expand(140, 2, 5).contiguous()
    query, beta = torch.randn(1, 3, generator=g), 9.0
    pool.extend(0, ints(1), 1, 0, torch.arange(140).int(), x, x, -x, gates, gates, beta, None)
    lowest = gates @ gates.T / 3**0.5 + beta
    assert bool((lowest > 0).all())
    pool.decode(0, ints(1), ints(140), x[:1], x[:1], -x[:1], query, query, 0.0, None)
    z = (gates @ query[0]) / 3**0.5
    count = int(pool.counts[0, 1])
    positions, _ = pool.margins_of(0, 1, count)
    assert sorted(positions.tolist()) == [*(z > 0).nonzero()[:, 0].tolist(), 140]
    assert (
        sorted(pool.deaths(int(pool.logged)).position.tolist()) == (z <= 0).nonzero()[:, 0].tolist()
    )


def test_a_full_pool_is_refused_before_the_step():
    pool = Pool(SHAPE, torch.float32, CPU)
    counts, free = pool.state()
    pool.require(counts, free, torch.tensor([24, 24, 24, 0]))
    with pytest.raises(DeviceError, match="pool for keys and values is full") as refused:
        pool.require(counts, free, torch.tensor([81, 0, 0, 0]))
    assert "\n" not in str(refused.value)

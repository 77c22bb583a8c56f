"""The pool on the card against a Python list, programs racing as they do there."""

import pytest
from hypothesis import HealthCheck, settings

pytest.importorskip("triton", reason="triton exists for Linux alone")

from tests.kernels_triton.pool_machine import PoolMachine

TestPoolMachineOnTheCard = PoolMachine.TestCase
TestPoolMachineOnTheCard.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

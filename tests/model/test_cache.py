"""The cache behaves as a list of rows, holds memory in proportion to it, and gives it back."""

import gc

import numpy as np
import psutil
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dcp.model.cache import HeldBytes, Slots, bits

KV_HEADS, D, R, LIMIT = 2, 3, 5, 10_000


def row(position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key, value and gate key that tell which token they belong to."""
    k = np.arange(KV_HEADS * D, dtype=np.float32).reshape(KV_HEADS, D) + 100 * position
    return k, -k, np.full(R, position, dtype=np.float32)


class CacheMachine(RuleBasedStateMachine):
    """Random appends, overwrites and drops against a list of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(KV_HEADS, D, R, torch.float32, LIMIT, HeldBytes())
        self.alive: set[int] = set()
        self.next = 0

    def rows_of(self, positions: set[int]) -> np.ndarray:
        held = self.slots.positions[: self.slots.count]
        return np.flatnonzero(np.isin(held, list(positions)))

    @rule(size=st.integers(1, 90))
    def append(self, size: int) -> None:
        positions = list(range(self.next, self.next + size))
        k, v, k_int = (np.stack(part) for part in zip(*map(row, positions), strict=True))
        self.slots.append(k, v, k_int, self.next)
        self.alive.update(positions)
        self.next += size

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        dead = data.draw(st.sets(st.sampled_from(sorted(self.alive)))) if self.alive else set()
        self.slots.replace(self.rows_of(dead), *row(self.next), self.next)
        self.alive -= dead
        self.alive.add(self.next)
        self.next += 1

    @rule(share=st.floats(0, 1), seed=st.integers(0, 99))
    def drop(self, share: float, seed: int) -> None:
        draws = np.random.default_rng(seed).random(len(self.alive))
        dead = {p for p, u in zip(sorted(self.alive), draws, strict=True) if u < share}
        self.slots.drop(self.rows_of(dead))
        self.alive -= dead

    @rule(share=st.floats(0, 1))
    def mark(self, share: float) -> None:
        n = self.slots.count
        some = np.arange(n)[: int(share * n)]
        self.slots.margins[some] = self.slots.positions[some]

    @rule()
    def clear(self) -> None:
        self.slots.clear()
        self.alive.clear()

    @invariant()
    def holds_exactly_the_living(self) -> None:
        n = self.slots.count
        held = self.slots.positions[:n].tolist()
        assert sorted(held) == sorted(self.alive)
        for i, position in enumerate(held):
            k, v, k_int = row(position)
            np.testing.assert_array_equal(self.slots.k[i], k)
            np.testing.assert_array_equal(self.slots.v[i], v)
            np.testing.assert_array_equal(self.slots.k_int[i], k_int)
            margin = self.slots.margins[i]
            assert np.isnan(margin) or margin == position

    @invariant()
    def holds_little_more_than_it_needs(self) -> None:
        n, per_row = self.slots.count, self.slots.row_bytes
        assert self.slots.count <= self.slots.capacity <= LIMIT
        assert self.slots.held_bytes <= (1.27 * n + 34) * per_row + 4096 + 4 * 64
        assert n or not self.slots.held_bytes
        assert self.slots.live_bytes == n * 2 * KV_HEADS * D * 4


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True
)


def test_capacity_never_passes_the_limit():
    slots = Slots(1, 8, 0, torch.bfloat16, limit=70, meter=HeldBytes())
    k = bits(torch.zeros(63, 1, 8, dtype=torch.bfloat16))
    slots.append(k, k, None, 0)
    assert slots.capacity == 70
    for position in range(63, 70):
        slots.replace(np.array([], dtype=np.int64), k[0], k[0], None, position)
    assert slots.count == slots.capacity == 70


def test_memory_leaves_the_process_when_tokens_die():
    process = psutil.Process()
    k, k_int = bits(torch.randn(64, 8, 64)), bits(torch.randn(64, 64))
    meter = HeldBytes()
    layers = [Slots(8, 64, 64, torch.float32, 4096, meter) for _ in range(12)]
    gc.collect()
    before = process.memory_info().rss
    for slots in layers:
        for start in range(0, 1000, 64):
            slots.append(k, k, k_int, start)
    full = process.memory_info().rss - before
    assert full > 0.9 * sum(slots.count * slots.row_bytes for slots in layers)
    rng = np.random.default_rng(0)
    for slots in layers:
        slots.drop(rng.permutation(slots.count)[: int(0.8 * slots.count)])
    left = process.memory_info().rss - before
    held = sum(slots.held_bytes for slots in layers)
    assert meter.held == held
    assert meter.peak >= full
    assert held < 0.3 * full
    assert left < 1.1 * held + 2_000_000

"""Untrained evictions: their shape, and a budget never short of what pruning held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.policies.windows import (
    POLICIES,
    fitted_windows,
    held_entries,
    local,
    policy_deaths,
    sink,
    strided,
)


def visible(death: np.ndarray) -> np.ndarray:
    steps = np.arange(len(death))
    return (steps[:, None] >= steps) & (steps[:, None] < death)


def test_a_local_window_sees_the_last_w_tokens() -> None:
    assert np.array_equal(
        visible(local(9, 3)), np.tril(np.ones((9, 9)), 0) * ~np.tri(9, k=-3, dtype=bool)
    )


def test_sinks_and_strides_stay_for_good() -> None:
    assert (sink(63, 5)[:4] == ALIVE).all()
    assert (sink(63, 5)[4:58] == np.arange(9, 63)).all()
    kept = np.flatnonzero(strided(63, 8)[:50] == ALIVE)
    assert kept.tolist() == [7, 15, 23, 31, 39, 47]


@given(st.sampled_from(sorted(POLICIES)), st.integers(1, 80), st.floats(0, 1))
def test_a_fitted_policy_holds_at_least_the_budget_and_is_the_leanest(
    name: str, tokens: int, share: float
) -> None:
    entries = tokens + share * (tokens * (tokens + 1) // 2 - tokens)
    windows = fitted_windows(name, tokens, entries)
    held = [held_entries(policy_deaths(name, tokens, w)) for w in windows]
    assert min(held) >= min(entries, tokens * (tokens + 1) // 2)
    leaner = [held_entries(POLICIES[name](tokens, w)) for w in range(1, tokens + 1)]
    assert held[0] == min(h for h in leaner if h >= entries)
    assert all(h <= 1.05 * entries for h in held[1:])


def test_a_stride_spends_the_same_entries_in_two_ways() -> None:
    short, long = sorted(fitted_windows("strided", 256, 0.2 * 256 * 257 / 2))
    assert (short, long) == (6, 23)
    assert len(fitted_windows("local", 512, 0.2 * 512 * 513 / 2)) == 1


@given(st.sampled_from(sorted(POLICIES)), st.integers(1, 60), st.integers(1, 60))
def test_held_entries_count_visible_pairs(name: str, tokens: int, window: int) -> None:
    death = POLICIES[name](tokens, window)
    assert held_entries(death) == visible(death).sum()


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(RequestError, match="unknown policy 'fifo'"):
        fitted_windows("fifo", 8, 8)

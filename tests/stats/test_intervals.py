"""Intervals: what they cover, measured; and that every table has them from the one function."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcp.evaluate.score import Scored, ratio_interval
from dcp.evaluate.windows import Windows
from dcp.stats import drop_table, trigger_table
from dcp.stats.intervals import (
    MIN_CLUSTERS,
    cluster_interval,
    effective,
    few_clusters,
    student_t,
    wilson,
)
from tests.stats.test_stats import random_sample, sample_of

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats, float]]


def skewed(rng: np.random.Generator, texts: int) -> tuple[Floats, Floats, float]:
    """Texts of uneven length, each with a drop rate of its own from a gamma of shape 2."""
    size = np.ceil(rng.lognormal(4, 0.6, texts))
    return rng.poisson(rng.gamma(2, 0.1, texts) * size).astype(float), size, 0.2


def common(rng: np.random.Generator, texts: int) -> tuple[Floats, Floats, float]:
    """Two thirds are dropped, in texts of very uneven length."""
    size = np.ceil(rng.lognormal(4, 0.9, texts))
    return rng.binomial(size.astype(int), rng.beta(4, 2, texts)).astype(float), size, 2 / 3


def losses(rng: np.random.Generator, texts: int) -> tuple[Floats, Floats, float]:
    """Differences in nats, as perplexities are compared."""
    size = np.full(texts, 1023.0)
    return rng.normal(0.1, 0.05, texts) * size, size, 0.1


def covered(draw: Draw, texts: int, trials: int) -> float:
    """How often the 95 % interval of a ratio of sums holds the truth, where there is one."""
    rng = np.random.default_rng(texts)
    held = given = 0
    for _ in range(trials):
        part, size, truth = draw(rng, texts)
        (low,), (high,) = cluster_interval(
            lambda w, p=part, s=size: ((w @ p) / (w @ s))[:, None], size
        )
        given += bool(np.isfinite(low))
        held += low <= truth <= high
    assert given > trials / 2
    return held / given


@pytest.mark.parametrize("draw", [skewed, common, losses], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("texts", [10, 15, 40])
def test_a_95_percent_interval_holds_the_truth_nine_times_in_ten_or_more(
    draw: Draw, texts: int
) -> None:
    assert covered(draw, texts, 600) >= 0.9


def test_plain_percentiles_would_fail_that_test() -> None:
    """What the widening is for: the same resamples without it."""
    rng = np.random.default_rng(10)
    held = 0
    for _ in range(600):
        part, size, truth = skewed(rng, 10)
        weights = rng.multinomial(10, np.full(10, 0.1), size=1000)
        low, high = np.percentile((weights @ part) / (weights @ size), [2.5, 97.5])
        held += low <= truth <= high
    assert held / 600 < 0.9


@pytest.mark.parametrize("texts", [1, 2, 3, 6, MIN_CLUSTERS - 1])
def test_few_clusters_give_no_interval_anywhere(texts: int) -> None:
    size = np.ones(texts)
    low, high = cluster_interval(lambda w: w[:, :1], size)
    assert np.isnan([low, high]).all()
    if texts > 1:
        samples = [random_sample(seed, tokens=200) for seed in range(texts)]
        for table in (drop_table(samples, n_boot=50), trigger_table(samples, n_boot=50)):
            assert table.ci_low.isna().all()
            assert set(table.interval) == {""}
    windows = Windows(np.zeros((texts, 5), int), np.ones((texts, 5), int), np.arange(texts))
    nats = np.random.default_rng(0).normal(size=(2, texts))
    one, two = (Scored(each, np.ones((1, 5))) for each in nats)
    assert all(math.isnan(x) for x in ratio_interval(one, two, windows))


@pytest.mark.parametrize("texts", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("mean", [0.03, 0.3, 0.5, 0.85])
@pytest.mark.parametrize("alike", [0.3, 0.999])
def test_the_interval_of_few_clusters_holds_the_truth_whatever_a_cluster_has_in_common(
    texts: int, mean: float, alike: float
) -> None:
    """Beta-binomial words, ``alike`` their correlation within a text, texts of uneven length."""
    rng = np.random.default_rng(texts)
    spread = 1 / alike - 1
    held = 0
    for _ in range(400):
        size = rng.integers(5, 20, texts)
        cases = rng.binomial(size, rng.beta(mean * spread, (1 - mean) * spread, texts))
        low, high = few_clusters(float(cases.sum() / size.sum()), effective(size))
        held += low <= mean <= high
    assert held / 400 >= 0.9


def test_words_taken_for_independent_would_fail_that_test() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        cases = rng.binomial(12, rng.beta(0.35, 0.35, 6)).sum()
        low, high = wilson(float(cases), 72)
        held += low <= 0.5 <= high
    assert held / 400 < 0.7


@pytest.mark.parametrize(("cases", "n"), [(0, 1), (1, 1), (0, 9), (3, 9), (9, 9)])
def test_whole_cases_have_the_exact_binomial_interval(cases: int, n: int) -> None:
    from scipy.stats import binomtest

    exact = binomtest(cases, n).proportion_ci(0.95, "exact")
    assert few_clusters(cases / n, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_nothing_seen_says_nothing() -> None:
    assert few_clusters(0.0, effective([0, 0])) == (0.0, 1.0)


def test_clusters_that_have_nothing_to_say_do_not_count() -> None:
    size = np.zeros(40)
    size[: MIN_CLUSTERS - 1] = 5
    assert np.isnan(cluster_interval(lambda w: w[:, :1], size)).all()
    size[MIN_CLUSTERS - 1] = 5
    assert np.isfinite(cluster_interval(lambda w: w[:, :1], size)).all()


def test_one_cluster_that_outweighs_all_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=20)
    even, heavy = np.ones(20), np.ones(20)
    heavy[0] = 9

    def width(size: Floats) -> float:
        # The same resamples of the same values; only what is said of the sizes differs.
        (low,), (high,) = cluster_interval(lambda w: (w @ values)[:, None], size)
        return float(high - low)

    # 20 texts against 28² / (81 + 19) = 7.8: t goes from 2.09 to 2.37.
    assert width(heavy) > 1.1 * width(even)
    heavy[0] = 60
    assert np.isnan(width(heavy))


def test_resamples_that_are_all_alike_say_nothing() -> None:
    size = np.ones(30)
    assert np.isnan(cluster_interval(lambda w: ((w @ size) / (w @ size))[:, None], size)).all()
    none_dropped = [sample_of(np.full((1, 60), -1)) for _ in range(12)]
    table = drop_table(none_dropped, horizon=8)
    assert table.drop_rate.tolist() == [0]
    assert table.ci_low.isna().all()


def test_what_half_of_the_resamples_do_not_know_has_no_interval() -> None:
    def rarely(weights: Floats) -> Floats:
        return np.where(weights[:, :1] >= 2, weights[:, :1], np.nan)

    assert np.isnan(cluster_interval(rarely, np.ones(20))).all()


@pytest.mark.parametrize(
    ("freedom", "error"), [(3, 4e-3), (4, 9e-4), (5, 3e-4), (9, 2e-5), (30, 1e-7), (69, 1e-9)]
)
def test_student_s_t_is_as_near_as_its_terms_allow_and_never_above(
    freedom: float, error: float
) -> None:
    from scipy.stats import t

    assert 0 <= t.ppf(0.975, freedom) - student_t(freedom) < error
    assert math.isclose(student_t(1e12), 1.959964, abs_tol=1e-5)


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_intervals_hold_the_share_and_stay_within_bounds(right: int, n: int) -> None:
    right = min(right, n)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n + 1e-12
    assert right / n - 1e-12 <= high <= 1
    assert high - low < 1.97 / math.sqrt(n)


def test_a_wilson_interval_as_published() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 1) == pytest.approx((0.0, 0.7935), abs=5e-5)


@pytest.mark.parametrize(("heaviest", "told"), [(6.9, True), (9.0, False)])
def test_effectively_four_clusters_are_the_least(heaviest: float, told: bool) -> None:
    """Ten clusters, nine of size 1: (9 + h)² / (9 + h²) is 4.5 at 6.9, 3.6 at 9."""
    size = np.ones(10)
    size[0] = heaviest
    assert (effective(size) > 4) == told
    values = np.random.default_rng(0).normal(size=10)
    (low,), (high,) = cluster_interval(lambda w: (w @ values)[:, None], size)
    assert np.isfinite([low, high]).all() == told

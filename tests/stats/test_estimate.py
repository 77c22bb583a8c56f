"""Kaplan-Meier on lives, against the definition counted life by life."""

from __future__ import annotations

import numpy as np
import pytest

from dcp.stats.estimate import (
    BLOCK,
    MIN_AT_RISK,
    by_cluster,
    cluster_kind,
    intervals,
    median_life,
    survival,
)
from dcp.stats.intervals import MIN_CLUSTERS
from dcp.stats.lives import Lives


def drawn(seed: int, n: int = 200, texts: int = 3, groups: int = 2) -> Lives:
    """Random lives, some of them observed from later than their birth."""
    rng = np.random.default_rng(seed)
    entry = np.where(rng.random(n) < 0.5, -1, rng.integers(0, 6, n))
    duration = np.maximum(entry, 0) + rng.integers(1, 9, n)
    zeros = np.zeros(n, np.int64)
    return Lives(
        sample=zeros, stretch=rng.integers(0, 2, n), text=rng.integers(0, texts, n),
        word=np.arange(n),
        layer=zeros, group=rng.integers(0, groups, n), born=rng.integers(0, 300, n), entry=entry,
        duration=duration, event=rng.random(n) < 0.6, tokens=zeros + 1,
        names=tuple(range(groups)), texts=texts,
    )  # fmt: skip


def kept(lives: Lives, mine: np.ndarray, ages: int) -> tuple[list[float], list[int]]:
    """S and the number at risk at each age, life by life."""
    curve, at_risk, alive = [], [], 1.0
    for age in range(ages + 1):
        risk = [i for i in np.flatnonzero(mine) if lives.entry[i] < age <= lives.duration[i]]
        drops = sum(bool(lives.event[i]) and lives.duration[i] == age for i in risk)
        alive *= 1 - drops / len(risk) if risk else 1
        curve.append(alive)
        at_risk.append(len(risk))
    return curve, at_risk


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("texts", [1, 3])
def test_counts_and_curve_are_those_of_the_definition(seed: int, texts: int) -> None:
    lives = drawn(seed, texts=texts)
    drops, risks = by_cluster(lives, 12)
    curves = survival(drops.sum(0), risks.sum(0))
    for group in range(2):
        curve, at_risk = kept(lives, lives.group == group, 12)
        assert curves[group] == pytest.approx(curve)
        assert risks[:, group].sum(0).tolist() == at_risk
    if texts > 1:
        for text in range(texts):
            for group in range(2):
                mine = (lives.text == text) & (lives.group == group)
                assert risks[text, group].tolist() == kept(lives, mine, 12)[1]


def test_blocks_are_as_many_as_the_steps_need_and_each_holds_what_happened_in_it() -> None:
    lives = drawn(0, texts=1)
    drops, risks = by_cluster(lives, 12)
    last = int((lives.born + lives.duration).max())
    blocks = last // BLOCK + 1
    assert len(drops) == len(risks) == 2 * blocks
    for stretch in range(2):
        for block in range(blocks):
            mine = (lives.stretch == stretch) & lives.event & (lives.duration > lives.entry)
            died = lives.born + lives.duration
            here = mine & (died >= BLOCK * block) & (died < BLOCK * (block + 1))
            assert drops[stretch * blocks + block].sum() == here.sum()


@pytest.mark.parametrize("seed", range(6))
def test_a_median_is_the_first_age_at_which_half_are_gone(seed: int) -> None:
    lives = drawn(seed, n=120, groups=1)
    mine = lives.group == 0
    curve, at_risk = kept(lives, mine, int(lives.duration.max()))
    age = next((a for a, s in enumerate(curve) if s <= 0.5 + 1e-9), None)
    told = age is not None and at_risk[age] >= MIN_AT_RISK
    assert median_life(lives, mine) == pytest.approx(age if told else np.nan, nan_ok=True)


def test_some_of_those_medians_exist_and_some_lives_come_late() -> None:
    found = [median_life(drawn(seed, n=120, groups=1), np.ones(120, bool)) for seed in range(6)]
    assert np.isfinite(found).any()
    assert (drawn(0).entry >= 0).any()


def test_a_resample_without_anything_at_risk_says_nothing_from_there_on() -> None:
    """Only the first of twelve texts is watched to age 2, and all of it goes then. A resample
    without it knows nothing of that age: taken as "all kept" it would stretch the interval to 0."""
    drops, risks = np.zeros((12, 1, 3)), np.zeros((12, 1, 3))
    risks[:, 0, 1] = 10
    drops[1:7, 0, 1] = 2
    risks[0, 0, 2] = drops[0, 0, 2] = 10
    low, high = intervals(drops, risks, 0, 500)
    assert 0 < low[0, 1] < 1 / 10 < high[0, 1] < 0.5
    assert np.isnan(low[0, 2])
    assert np.isnan(high[0, 2])


def test_what_is_all_gone_stays_gone_where_nothing_is_left_to_watch() -> None:
    """Half of the texts lose all at age 1, the others nothing, and all of those at age 2."""
    drops, risks = np.zeros((12, 1, 3)), np.zeros((12, 1, 3))
    risks[:, 0, 1] = 1
    drops[:11, 0, 1] = 1
    risks[11, 0, 2] = 1
    low, high = intervals(drops, risks, 0, 500)
    # Without the twelfth text 1 - S is 1, at age 1 and for good; with it, it is below.
    assert high[0, 1] == high[0, 2] == 1
    assert low[0, 2] < 1


@pytest.mark.parametrize("texts", [1, 2])
def test_what_is_resampled_has_a_name_from_ten_on(texts: int) -> None:
    lives = drawn(0, texts=texts)
    assert cluster_kind(lives, MIN_CLUSTERS - 1) == ""
    assert cluster_kind(lives, MIN_CLUSTERS) == ("texts" if texts > 1 else "within this text")


def test_only_the_ages_asked_for_are_told() -> None:
    rng = np.random.default_rng(0)
    risks = np.full((20, 2, 5), 50.0)
    drops = rng.binomial(50, 0.2, (20, 2, 5)).astype(float)
    every, some = intervals(drops, risks, 0, 200), intervals(drops, risks, 0, 200, [3, 1, 3])
    for all_ages, asked in zip(every, some, strict=True):
        assert np.isfinite(all_ages).all()
        assert np.isnan(asked[:, [0, 2, 4]]).all()
        np.testing.assert_array_equal(asked[:, [1, 3]], all_ages[:, [1, 3]])

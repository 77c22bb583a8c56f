"""Person-periods counted without being made, and hazards against statsmodels' own on real rows."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.speech.tagger import UPOS
from dcp.speech.words import words_of
from dcp.stats import Sample, hazard_table
from dcp.stats.estimate import BLOCK
from dcp.stats.frequency import BANDS, HALF_DECADES, band_of, half_decade_of, per_million
from dcp.stats.hazard import hazard_of
from dcp.stats.intervals import MIN_CLUSTERS
from dcp.stats.person_period import AGES, STEPS, count
from tests.helpers.traces import make_trace, with_meta
from tests.stats.test_stats import Cycle, random_sample, sample_of


def rows_of(samples: list[Sample], source: str = "both") -> pd.DataFrame:
    """The person-period table itself, made the slow way: a row for each token, layer and step."""
    rows = []
    for text, (trace, words) in enumerate(samples):
        for word in words:
            # These words have one token each.
            if not word.complete or source not in ("both", word.source):
                continue
            for layer in range(trace.layers):
                death = int(trace.death[layer, word.last])
                end = min(death, trace.n_queries - 1)
                for step in range(word.last + 1, end + 1):
                    rows.append((text, layer, word.pos, step - word.last, step, step == death))
    return pd.DataFrame(rows, columns=["text", "layer", "pos", "age", "step", "drop"])


def counts_of(samples: list[Sample], **options: Any) -> pd.DataFrame:
    """The cells of `count` as a table, with the columns of `rows_of`."""
    cells = count(samples, **options)
    levels = cells.levels[cells.cell]
    return pd.DataFrame(
        {
            "cluster": cells.cluster,
            "layer": levels[:, 0],
            "pos": np.array(UPOS)[levels[:, 1]],
            "age": levels[:, 4],
            "step": levels[:, 5],
            "at_risk": cells.at_risk,
            "drops": cells.drops,
        }
    )


# ---- counts


def test_counts_of_two_layers_and_four_tokens_by_hand() -> None:
    """Layer 0 drops token 0 at step 2 and token 1 at 3; layer 1 drops token 0 at step 1.

    At risk: layer 0: token 0 at steps 1, 2; token 1 at 2, 3; token 2 at 3. Layer 1: token 0 at 1;
    token 1 at 2, 3; token 2 at 3. Token 3 has no later query.
    """
    found = counts_of([sample_of(np.array([[2, 3, -1, -1], [1, -1, -1, -1]]))])
    by_layer = found.groupby("layer")[["at_risk", "drops"]].sum()
    assert by_layer.at_risk.tolist() == [5, 4]
    assert by_layer.drops.tolist() == [2, 1]
    by_age = found.groupby("age")[["at_risk", "drops"]].sum()
    assert by_age.at_risk.tolist() == [6, 3]
    assert by_age.drops.tolist() == [1, 2]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999),
    tokens=st.sampled_from([2, 63, 140]),
    texts=st.integers(1, 3),
    source=st.sampled_from(["prompt", "generated", "both"]),
)
def test_counts_are_those_of_the_rows_nobody_made(
    seed: int, tokens: int, texts: int, source: Any
) -> None:
    samples = [
        random_sample(seed + i, layers=2, tokens=tokens, prompt=tokens // 2 + 1)
        for i in range(texts)
    ]
    slow = rows_of(samples, source)
    slow["age"] = np.searchsorted(AGES, slow.age, side="right") - 1
    slow["cluster"] = slow.text if texts > 1 else slow.step // BLOCK
    slow["step"] = np.searchsorted(STEPS, slow.step, side="right") - 1
    keys = ["cluster", "layer", "pos", "age", "step"]
    # The samples' own words have different frequencies, which rows_of does not tell apart.
    ours = counts_of(samples, source=source).groupby(keys)[["at_risk", "drops"]].sum()
    theirs = slow.groupby(keys)["drop"].agg(at_risk="size", drops="sum")
    assert len(ours) == len(theirs)
    assert (ours.at_risk == theirs.at_risk).all()
    assert (ours.drops == theirs.drops).all()


def test_a_token_of_a_long_word_knows_its_place() -> None:
    trace = make_trace(["x ", "ab", "cd", "ef ", "y "], np.full((1, 5), -1))
    cells = count([(trace, words_of(trace, Cycle("NOUN")))])
    places = np.bincount(cells.levels[cells.cell, 2], cells.at_risk)
    # x: 4 steps; ab: 3; cd: 2; ef: 1; y is the last and has no later query.
    assert places.tolist() == [4, 3, 2, 1]


# ---- the model


def test_raw_rates_are_drops_over_steps_at_risk() -> None:
    samples = [random_sample(seed, tokens=120) for seed in range(3)]
    table = hazard_table(samples).set_index("group")
    rows = rows_of(samples).groupby("pos")["drop"].agg(["size", "sum"])
    for tag in ("NOUN", "VERB", "DET"):
        assert table.at_risk[tag] == rows["size"][tag]
        assert table.raw[tag] == pytest.approx(rows["sum"][tag] / rows["size"][tag])
    assert table.base_rate.iloc[0] == pytest.approx(rows["sum"].sum() / rows["size"].sum())


def clustered_samples() -> list[Sample]:
    rng = np.random.default_rng(4)
    samples = []
    for _ in range(14):
        tags = ("NOUN", "DET")
        rate = np.where(np.arange(64) % 2, 0.06, 0.03) * rng.uniform(0.4, 1.6)
        death = np.arange(64) + rng.geometric(rate, (1, 64))
        samples.append(sample_of(np.where(death > 63, -1, death), tags=tags))
    return samples


def test_the_model_is_statsmodels_logit_on_rows_with_clustered_errors() -> None:
    """On one layer: standardised hazards and intervals from a Logit on the rows themselves."""
    from scipy.special import expit, logit
    from scipy.stats import t
    from statsmodels.discrete.discrete_model import Logit

    samples = clustered_samples()
    table = hazard_table(samples, layer=0).set_index("group")
    rows = rows_of(samples)
    age = np.searchsorted(AGES, rows.age, side="right")
    step = np.searchsorted(STEPS, rows.step, side="right")
    design = np.column_stack(
        [
            rows.pos == "NOUN",
            rows.pos == "DET",
            *(age == level for level in np.unique(age)[1:]),
            *(step == level for level in np.unique(step)[1:]),
        ]
    ).astype(float)
    # Enough of each class that none was joined with its neighbour.
    for classes in (age, step):
        assert (rows["drop"].groupby(classes).sum() >= 5).all()
    fit = Logit(rows["drop"].to_numpy(float), design).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": rows.text, "use_correction": False}
    )
    correction = 14 / 13
    # Student's t of as many texts of one length as say as much.
    sizes = rows.text.value_counts().to_numpy(float)
    texts = sizes.sum() ** 2 / (sizes**2).sum()
    for g, tag in enumerate(("NOUN", "DET")):
        other = design.copy()
        other[:, :2] = np.eye(2)[g]
        there = expit(other @ fit.params)
        slope = ((there * (1 - there))[:, None] * other).mean(0)
        error = np.sqrt(slope @ (fit.cov_params() * correction) @ slope)
        mean = there.mean()
        reach = t.ppf(0.975, texts - 1) * error / (mean * (1 - mean))
        assert table.adjusted[tag] == pytest.approx(mean, rel=1e-5)
        assert table.adjusted_low[tag] == pytest.approx(expit(logit(mean) - reach), rel=1e-4)
        assert table.adjusted_high[tag] == pytest.approx(expit(logit(mean) + reach), rel=1e-4)
    assert set(table.interval) == {"texts"}


def test_adjusting_takes_away_what_is_only_age() -> None:
    """Two tags with one hazard by age; the one is only ever seen young, so its raw rate is high."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(40):
        tokens = 100
        # Half of all go within four steps, few later: young words look doomed.
        young = rng.random(tokens) < 0.5
        death = np.arange(tokens) + np.where(
            young, rng.integers(1, 5, tokens), rng.geometric(0.01, tokens)
        )
        sample = sample_of(np.where(death > tokens - 1, -1, death)[None], tags=("NOUN",))
        words = [
            word if word.first < 90 else type(word)(**{**vars(word), "pos": "VERB"})
            for word in sample[1]
        ]
        samples.append((sample[0], words))
    table = hazard_table(samples, layer=0).set_index("group")
    assert table.raw["VERB"] > 2 * table.raw["NOUN"]
    assert table.adjusted["VERB"] == pytest.approx(table.adjusted["NOUN"], rel=0.25)


def test_few_clusters_and_blank_groups_have_no_interval_and_no_estimate() -> None:
    few = hazard_table([random_sample(seed) for seed in range(MIN_CLUSTERS - 1)])
    assert few.raw.notna().all()
    assert few.adjusted_low.isna().all()
    assert set(few.interval) == {""}
    rng = np.random.default_rng(0)
    death = np.arange(700) + rng.geometric(0.03, (1, 700))
    one = sample_of(np.where(death > 699, -1, death), tags=("NOUN",) * 49 + ("INTJ",))
    table = hazard_table([one]).set_index("group")
    assert table.loc["INTJ", ["raw", "adjusted"]].isna().all()
    assert table.interval["NOUN"] == "within this text"
    assert table.raw_low["NOUN"] < table.raw["NOUN"] < table.raw_high["NOUN"]


def test_one_text_that_outweighs_all_leaves_no_interval() -> None:
    texts = [random_sample(seed, tokens=40) for seed in range(MIN_CLUSTERS)]
    assert hazard_table(texts).adjusted_low.notna().any()
    heavy = hazard_table([*texts[1:], random_sample(99, tokens=900)])
    assert heavy.adjusted.notna().any()
    assert heavy.adjusted_low.isna().all()
    assert heavy.raw_low.isna().all()


def test_nothing_dropped_and_everything_dropped_at_once_leave_blanks() -> None:
    none = hazard_table([sample_of(np.full((2, 70), ALIVE))])
    assert none.raw.isna().all()
    all_at_once = np.minimum(np.arange(70) + 1, 69)[None].repeat(2, 0)
    all_at_once[:, 69] = -1
    assert hazard_table([sample_of(all_at_once)]).raw.isna().all()
    assert hazard_table([sample_of(np.full((1, 1), -1))]).empty


def test_every_option_changes_the_table() -> None:
    sample = random_sample(7, tokens=200, prompt=100)
    base = hazard_table([sample])
    assert not base.equals(hazard_table([sample], source="generated"))
    assert not base.equals(hazard_table([sample], layer=1))
    assert hazard_table([sample], "class").group.tolist() == ["content", "function"]
    for bad in ({"by": "layer"}, {"source": "sky"}, {"layer": 3}):
        with pytest.raises(RequestError):
            hazard_table([sample], **bad)  # type: ignore[arg-type]
    with pytest.raises(RequestError):
        hazard_table([])


def test_a_hundred_windows_are_fast() -> None:
    samples = [random_sample(seed, layers=4, tokens=256) for seed in range(100)]
    start = time.process_time()
    hazard_table(samples)
    assert time.process_time() - start < 10


# ---- what frequency explains


LOWER, UPPER = ("people", "time"), ("this", "which")


def words_by_frequency(rng: np.random.Generator, tokens: int) -> Sample:
    """Nouns and determiners whose hazard is that of their frequency alone. All lie in one decade,
    four in five nouns in its lower half, four in five determiners in its upper."""
    noun = rng.random(tokens) < 0.5
    lower = rng.random(tokens) < np.where(noun, 0.8, 0.2)
    pieces = [f"{rng.choice(LOWER if low else UPPER)} " for low in lower]
    death = np.arange(tokens) + rng.geometric(np.where(lower, 0.02, 0.08))
    trace = make_trace(pieces, np.where(death > tokens - 1, -1, death)[None])
    words = [
        replace(word, pos="NOUN" if noun[word.first] else "DET")
        for word in words_of(trace, Cycle("NOUN"))
    ]
    return with_meta(trace, document=str(rng.integers(10**9))), words


def test_frequency_is_evened_out_within_a_decade() -> None:
    """A linear term, or classes of a whole decade, would leave this to the part of speech."""
    for word in (*LOWER, *UPPER):
        assert half_decade_of(word) == 1 + int(2 * np.log10(per_million(word)))
    assert {band_of(word) for word in (*LOWER, *UPPER)} == {BANDS.index("1000+")}
    assert {half_decade_of(word) for word in LOWER} != {half_decade_of(word) for word in UPPER}
    assert half_decade_of("the") == HALF_DECADES - 1
    assert half_decade_of("xylographer") == 0
    assert half_decade_of("42") == -1
    rng = np.random.default_rng(1)
    table = hazard_table([words_by_frequency(rng, 150) for _ in range(40)], layer=0)
    table = table.set_index("group")
    assert table.raw["DET"] > 1.5 * table.raw["NOUN"]
    assert table.adjusted["DET"] == pytest.approx(table.adjusted["NOUN"], rel=0.1)
    assert table.adjusted_low["NOUN"] < table.adjusted["DET"] < table.adjusted_high["NOUN"]


def test_what_has_no_letter_has_no_frequency_and_stays_out_of_the_adjusted_model() -> None:
    rng = np.random.default_rng(2)
    samples = []
    for n in range(12):
        pieces = [f"text{n} ", *(["cat ", "the ", ", "] * 33)]
        death = np.arange(100) + rng.geometric(np.where(np.arange(100) % 3 == 0, 0.2, 0.05))
        trace = make_trace(pieces, np.where(death > 99, -1, death)[None])
        samples.append((trace, words_of(trace, Cycle("PUNCT", "NOUN", "DET"))))
    table = hazard_table(samples).set_index("group")
    assert np.isfinite(table.raw["PUNCT"])
    assert np.isfinite(table.raw_low["PUNCT"])
    assert table.loc["PUNCT", ["adjusted", "adjusted_low"]].isna().all()
    assert table.adjusted[["NOUN", "DET"]].notna().all()
    # The others' figures are those of a model that has never heard of punctuation.
    without = hazard_table(
        [(trace, [w for w in words if w.pos != "PUNCT"]) for trace, words in samples]
    ).set_index("group")
    assert table.adjusted["NOUN"] == pytest.approx(without.adjusted["NOUN"])


def test_tens_of_millions_of_steps_leave_nothing_blank() -> None:
    """A deviance so large is not exact to a fixed number of places: a fit must not wait for it."""
    cells = count(clustered_samples(), source="prompt", layer=None)
    few = hazard_of(cells, "pos", source="prompt").set_index("group")
    for times in (10**4, 10**6, 10**7):
        many = replace(cells, at_risk=cells.at_risk * times, drops=cells.drops * times)
        table = hazard_of(many, "pos", source="prompt").set_index("group")
        for column in ("raw", "adjusted"):
            assert table[column].tolist() == pytest.approx(few[column].tolist(), rel=1e-6)

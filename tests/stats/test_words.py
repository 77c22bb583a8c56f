"""Label noise and word lists: by hand, and against what errors of a tagger must do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import dcp.stats.noise
from dcp.errors import RequestError
from dcp.speech.tagger import CLASSES, GROUPS, UPOS
from dcp.speech.words import words_of
from dcp.stats import Sample, drop_table, noise_table, trigger_table, word_table
from dcp.stats.noise import tagger_accuracy, tagger_errors
from tests.helpers.traces import make_trace
from tests.stats.test_stats import Cycle, random_sample, row, sample_of

ALONE = np.eye(len(UPOS))


def split_sample() -> Sample:
    """200 words: each noun is dropped after two steps, no verb ever."""
    death = np.where(np.arange(200) % 2, -1, np.arange(200) + 2)
    death[198:] = -1
    return sample_of(death[None], tags=("NOUN", "VERB"))


# ---- label noise


def test_a_tagger_without_errors_moves_nothing() -> None:
    samples = [random_sample(seed, prompt=90) for seed in range(2)]
    table = noise_table(samples, errors=ALONE, horizon=9, source="both", draws=7)
    expected = drop_table(samples, horizon=9, source="both")
    assert table.group.tolist() == expected.group.tolist()
    for column in ("drop_rate", "corrected", "low", "high"):
        assert table[column].to_numpy() == pytest.approx(expected.drop_rate.to_numpy())
    assert (table.redrawn == 0).all()


def mixed(odds: np.ndarray, rates: dict[str, float], words: int, seed: int = 0) -> Sample:
    """One-token words called by each tag of ``rates``, whose true tag is drawn by ``odds`` and
    which are dropped after two steps at the rate of that."""
    rng = np.random.default_rng(seed)
    called = np.array(list(rates))[np.arange(words) % len(rates)]
    true = [rng.choice(len(UPOS), p=odds[UPOS.index(tag)]) for tag in called]
    gone = rng.random(words) < [rates[UPOS[t]] for t in true]
    death = np.where(gone, np.arange(words) + 2, -1)
    death[-2:] = -1
    return sample_of(death[None], tags=tuple(rates))


def errors_of(wrong: float) -> np.ndarray:
    """NOUN and VERB mistaken for one another in so many of ten; no other errors."""
    odds = ALONE.copy()
    noun, verb = UPOS.index("NOUN"), UPOS.index("VERB")
    odds[[noun, noun, verb, verb], [noun, verb, noun, verb]] = 1 - wrong, wrong, wrong, 1 - wrong
    return odds


def test_what_the_tagger_mixes_is_told_apart_again() -> None:
    """Known truth: verbs at 0.2, nouns at 0.8, a fifth of each called the other."""
    truth, odds = {"NOUN": 0.8, "VERB": 0.2}, errors_of(0.2)
    table = noise_table([mixed(odds, truth, 6000)], errors=odds, horizon=5).set_index("group")
    # As tagged 0.8 * 0.8 + 0.2 * 0.2; 3,000 words each, so a standard error of 0.01.
    assert table.drop_rate["NOUN"] == pytest.approx(0.68, abs=0.03)
    assert table.drop_rate["VERB"] == pytest.approx(0.32, abs=0.03)
    for tag, rate in truth.items():
        assert table.corrected[tag] == pytest.approx(rate, abs=0.05)
        assert table.redrawn[tag] == pytest.approx(0.2)


def test_the_corrected_rate_lies_within_its_own_band_and_the_band_is_the_tagger_s_alone() -> None:
    samples = [random_sample(seed, tokens=400) for seed in range(3)]
    table = noise_table(samples)
    told = table[table.corrected.notna()]
    assert len(told) == 3
    assert (told.low <= told.corrected + 1e-3).all()
    assert (told.corrected <= told.high + 1e-3).all()
    assert (told.high > told.low).all()
    # Errors that are known for certain leave no band.
    known = noise_table(samples, errors=tagger_errors())
    assert (known.low == known.high).all()
    assert known.corrected.to_numpy() == pytest.approx(table.corrected.to_numpy())


def test_a_tagger_that_guesses_tells_nothing_apart() -> None:
    table = noise_table([split_sample()], errors=errors_of(0.5), horizon=5)
    assert table.drop_rate.tolist() == pytest.approx([1, 0])
    assert table.corrected.tolist() == pytest.approx([0.5, 0.5])
    assert table.redrawn.tolist() == pytest.approx([0.5, 0.5])


def test_noise_is_seeded_and_every_option_changes_it() -> None:
    sample = random_sample(5, tokens=260, prompt=130)
    base = noise_table([sample], draws=30)
    assert base.equals(noise_table([sample], draws=30))
    for change in (
        {"seed": 1},
        {"draws": 60},
        {"layer": 1},
        {"source": "both"},
        {"horizon": 8},
        {"by": "class"},
    ):
        assert not base.equals(noise_table([sample], **{"draws": 30, **change})), change
    for bad in ({"by": "layer"}, {"draws": 0}, {"horizon": 0}):
        with pytest.raises(RequestError):
            noise_table([sample], **bad)


def test_the_tagger_s_errors_are_odds_of_the_true_tag() -> None:
    odds = tagger_errors()
    assert odds.sum(axis=1) == pytest.approx(1)
    assert 0.9 < tagger_accuracy() < 1
    said = UPOS.index("PROPN")
    # The best known confusion of English taggers: names with nouns.
    assert odds[said].argsort()[-2] == UPOS.index("NOUN")


def test_the_error_table_says_what_is_true_given_what_was_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thirty of a hundred true nouns were called verbs; no verb was called a noun."""
    counts = 100 * np.eye(len(UPOS), dtype=np.int64)
    noun, verb = UPOS.index("NOUN"), UPOS.index("VERB")
    # A row of the file is the true tag, a column what the tagger called it.
    counts[noun, [noun, verb]] = 70, 30
    monkeypatch.setattr(dcp.stats.noise, "_counts", lambda: counts)
    odds = tagger_errors()
    assert odds[verb, noun] == pytest.approx(30 / 131)
    assert odds[noun, verb] == 0
    assert odds[noun, noun] == 1


def test_the_file_of_errors_has_the_truth_in_its_rows() -> None:
    """The held-out text has as many words of each true tag as its rows say: UD English EWT's
    development set has 3,000 verbs and 4,000 nouns, and interjections that the tagger misses."""
    from dcp.resources import asset
    from dcp.stats.noise import _counts

    head = asset("pos/confusion.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert head.split("\t")[0] == "true"
    true = _counts().sum(axis=1)
    assert 4000 < true[UPOS.index("NOUN")] < 4400
    assert 2600 < true[UPOS.index("VERB")] < 3000


# ---- groupings of tags


def test_groups_and_classes_share_out_all_tags() -> None:
    for parts in (GROUPS, CLASSES):
        assert sorted(tag for tags in parts.values() for tag in tags) == sorted(UPOS)


def test_a_group_of_tags_is_its_tags_together() -> None:
    sample = random_sample(9, tokens=300)
    words = drop_table([sample], "pos").set_index("group").words
    groups = drop_table([sample], "group").set_index("group").words
    assert groups["naming"] == words["NOUN"]
    classes = drop_table([sample], "class").set_index("group").words
    assert classes["content"] == words["NOUN"] + words["VERB"]
    pieces = drop_table([sample], "pieces")
    assert pieces.group.tolist() == ["single"]


def test_triggers_have_a_base_rate_and_groups() -> None:
    sample = random_sample(3, tokens=300)
    table = trigger_table([sample], "group")
    assert table.group.tolist() == ["naming", "verbal", "function"]
    assert table.base_rate.nunique() == 1
    mean = (table.drops_per_query * table.queries).sum() / table.queries.sum()
    assert table.base_rate[0] == pytest.approx(mean)
    assert (table.drops_per_query / table.base_rate).to_numpy() == pytest.approx(
        table.ratio.to_numpy()
    )


# ---- the words behind


def lists(policy: str | None = None, **options: Any) -> Any:
    """ "the cat the dog . the" in two layers; by hand below. A policy is one that leaves no gate
    logits."""
    pieces = ["the ", "cat ", "the ", "dog ", ". ", "the "]
    death = np.array([[2, 4, 4, -1, -1, -1], [4, -1, 4, 5, -1, -1]])
    trace = make_trace(pieces, death, policy=policy)
    if policy:
        trace = replace(trace, margin=np.full_like(trace.margin, np.nan))
    words = words_of(trace, Cycle("DET", "NOUN", "DET", "NOUN", "PUNCT", "DET"))
    return word_table([(trace, words)], **options)


def test_words_are_listed_with_their_drops_by_hand() -> None:
    table = lists(horizon=2)
    assert table.word.tolist() == ["the", ".", "cat", "dog"]
    the = table.iloc[0]
    # The last "the" had no later query: two words in two layers.
    assert (the.group, the.times, the.texts, the.watched) == ("DET", 2, 1, 4)
    # Ages 2 and 4 of the first, 2 and 2 of the second.
    assert (the.dropped, the.dropped_later, the.median_age) == (3, 1, 2)
    assert the.dropped_when == "“.” 3×, “the” 1×"
    # A rule lets them go one token earlier, when that one has been read: the last a layer apart.
    assert lists(policy="h2o", horizon=2).iloc[0].dropped_when == "“dog” 3×, “cat” 1×"
    cat = row(table.rename(columns={"group": "tag", "word": "group"}), "cat")
    assert (cat.watched, cat.dropped, cat.dropped_later) == (2, 0, 1)


def test_a_list_can_be_of_one_group_and_layer() -> None:
    nouns = lists(group="NOUN")
    assert nouns.word.tolist() == ["cat", "dog"]
    assert lists(layer=0).watched.sum() == 5
    assert lists(group="INTJ").empty
    assert lists(by="class").group.tolist() == ["function", "neither", "content", "content"]


def test_the_list_counts_the_words_of_the_table() -> None:
    samples = [random_sample(seed, prompt=80) for seed in range(3)]
    for source in ("prompt", "generated", "both"):
        words = word_table(samples, source=source)
        table = drop_table(samples, source=source, horizon=7)
        assert words.times.sum() == table.words.sum()
        assert word_table(samples, source=source, horizon=7).dropped.sum() == table.events.sum()

"""The same text read twice is one text, and its words are the same words, in every table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dcp.speech.words import words_of
from dcp.stats import Sample, drop_table, hazard_table, noise_table, observe, trigger_table
from dcp.stats.repeats import document_key, repeats_said, texts_of
from tests.helpers.traces import make_trace, random_deaths, with_meta
from tests.stats.test_stats import Cycle, random_sample

TABLES = [drop_table, trigger_table, hazard_table]


def written(prompt: str, seed: int, *, words: int = 400) -> Sample:
    """A prompt of ``words`` words, dropped as its text has it, and a continuation as seeded."""
    own = np.random.default_rng(int.from_bytes(prompt.encode(), "little") % 2**32)
    rng = np.random.default_rng(seed)
    pieces = [f"{prompt}{i} " for i in range(words)] + [f"{n} " for n in rng.integers(0, 9, 60)]
    total = len(pieces)
    death = random_deaths(own, 2, total - 1, total)
    death[:, words:] = random_deaths(rng, 2, total - 1, total)[:, words:]
    trace = make_trace(pieces, death, prompt_tokens=words)
    ids = np.array([sum(piece.encode()) for piece in pieces], np.int32)
    trace = replace(trace, token_ids=ids)
    return trace, words_of(trace, Cycle("NOUN", "VERB", "DET"))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_text_given_thrice_says_no_more_than_once(table) -> None:
    samples = [random_sample(seed, tokens=120) for seed in range(11)]
    once, thrice = table(samples), table(samples * 3)
    same = [c for c in once.columns if c not in ("at_risk", "events", "queries")]
    numbers = [c for c in same if c.startswith("null")]
    pd.testing.assert_frame_equal(
        once[same].drop(columns=numbers), thrice[same].drop(columns=numbers), rtol=5e-3
    )
    assert (thrice.texts <= 11).all()


def test_seeds_of_one_prompt_are_one_text_and_resample_its_blocks_once() -> None:
    one = written("river", 0)
    seeds = [written("river", seed) for seed in range(5)]
    assert texts_of(seeds).tolist() == [0] * 5
    for table in TABLES:
        alone, together = table([one]), table(seeds)
        # Seven blocks are too few, and five times the same seven are no more.
        for found in (alone, together):
            assert set(found.interval) == {""}
    assert (drop_table(seeds).words == drop_table([one]).words).all()
    # What each seed wrote is its own.
    generated = [len(np.unique(observe(s, source="generated").word)) for s in ([one], seeds)]
    assert generated[1] > 3 * generated[0]


def test_twenty_words_are_twenty_words_and_not_one_word_twenty_times() -> None:
    short = written("owl", 0, words=15)
    assert drop_table([short] * 4).drop_rate.isna().all()
    assert noise_table([short] * 4, draws=3).drop_rate.isna().all()
    others = [written(name, 0, words=15) for name in ("owl", "elk", "cat", "dog", "fox")]
    assert drop_table(others).drop_rate.notna().all()


def test_a_text_is_known_by_its_document_or_by_its_prompt() -> None:
    one, two = written("a", 0), written("b", 0)
    windows = [(with_meta(trace, document="d"), words) for trace, words in (one, two)]
    assert texts_of([one, two, one]).tolist() == [0, 1, 0]
    assert texts_of([*windows, one]).tolist() == [0, 0, 1]
    # A window named by its document's text is the trace of the whole document.
    trace, words = random_sample(3)
    named = with_meta(trace, document=document_key(trace.text))
    assert texts_of([(named, words), (trace, words)]).tolist() == [0, 0]


def test_repeats_are_said() -> None:
    one, two = written("a", 0), written("b", 0)
    assert repeats_said([one, two]) == ""
    said = repeats_said([one, two, one])
    assert said.startswith("3 traces of 2 distinct texts")

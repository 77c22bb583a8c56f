"""What is read when others are dropped: every query has a kind, and the mean is over all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.speech.tagger import UPOS
from dcp.speech.words import words_of
from dcp.stats import BY, Sample, trigger_table
from dcp.stats.groups import SPACES, TAGGED, trigger_groups, trigger_names
from dcp.stats.queries import KINDS, kinds_of
from dcp.stats.triggers import trigger_tokens
from tests.helpers.traces import make_trace
from tests.stats.test_stats import Cycle, random_sample, row

LINE = ["the ", "cat ", ", ", "sat ", ". ", "\n", "  "]
TAGS = ("DET", "NOUN", "PUNCT", "VERB", "PUNCT")


def lines(times: int = 60) -> Sample:
    """Seven tokens a line. A line break drops the three words and the comma of its line, "." the
    line break before; white space is read and drops nothing."""
    tokens = 7 * times
    death = np.full((1, tokens), ALIVE)
    for line in range(times):
        at = 7 * line
        death[0, [at, at + 1, at + 2, at + 3]] = at + 5
        if line:
            death[0, at - 2] = at + 4
    trace = make_trace(LINE * times, death)
    return trace, words_of(trace, Cycle(*TAGS))


def test_line_breaks_and_white_space_are_groups_and_the_mean_is_over_all_queries() -> None:
    sample = lines()
    table = trigger_table([sample])
    assert table.group.tolist() == ["NOUN", "VERB", "DET", "PUNCT", "newline", "space"] or set(
        table.group
    ) == {"NOUN", "VERB", "DET", "PUNCT", "newline", "space"}
    queries, drops = 7 * 60 - 1, 4 * 60 + 59
    assert table.queries.sum() == queries
    assert table.base_rate.unique() == pytest.approx([drops / queries])
    assert row(table, "newline").drops_per_query == 4
    assert row(table, "newline").ratio == pytest.approx(4 / (drops / queries))
    assert row(table, "newline").share == pytest.approx(240 / drops)
    assert row(table, "space").ratio == 0
    assert table.share.sum() == pytest.approx(1)


def test_what_a_rule_drops_counts_for_the_query_that_it_looked_at() -> None:
    trace, words = lines()
    meta = replace(trace.meta, policy="h2o")
    ruled = replace(trace, meta=meta, margin=np.full_like(trace.margin, np.nan))
    table = trigger_table([(ruled, words)])
    # What is gone from the line break on was let go after ".", the line break itself after "sat".
    assert row(table, "newline").ratio == 0
    assert row(table, "VERB").drops_per_query == pytest.approx(59 / 60)


@pytest.mark.parametrize("by", TAGGED)
def test_every_query_is_in_one_row(by) -> None:
    sample = random_sample(2, tokens=300, prompt=200)
    for source in ("prompt", "generated", "both"):
        table = trigger_table([sample], by, source=source, n_boot=20)
        first, last = {"prompt": (1, 200), "generated": (200, 299), "both": (1, 299)}[source]
        assert table.queries.sum() == last - first
        mean = (table.drops_per_query * table.queries).sum() / table.queries.sum()
        drops = np.bincount(sample[0].death[sample[0].death != ALIVE], minlength=300)
        assert table.base_rate[0] == pytest.approx(drops[first:last].mean() / sample[0].layers)
        if table.drops_per_query.notna().all():
            assert mean == pytest.approx(table.base_rate[0])


def test_a_word_cut_off_is_a_query_without_a_tag() -> None:
    trace = make_trace(["a ", "b ", "c ", "d"], np.full((1, 4), -1), prompt_tokens=1, n_queries=4)
    kinds = kinds_of(trace, words_of(trace, Cycle("NOUN")))
    assert [KINDS[kind] for kind in kinds] == ["NOUN", "NOUN", "NOUN", "untagged"]


def test_the_end_of_a_text_has_a_kind_of_its_own() -> None:
    trace = make_trace(["a ", "<|endoftext|>", "b ", ""], np.full((1, 4), -1))
    assert [KINDS[kind] for kind in kinds_of(trace, [])] == ["untagged", "end", "untagged", "end"]


def test_tokens_one_by_one_tell_a_full_stop_from_a_comma() -> None:
    table = trigger_tokens([lines()])
    assert table.group.tolist() == ["⏎", "."]
    assert row(table, "⏎").drops_per_query == 4
    assert row(table, ".").drops_per_query == pytest.approx(59 / 60)
    assert table.base_rate.equals(trigger_table([lines()]).base_rate[: len(table)])
    assert len(trigger_tokens([lines()], most=1)) == 1
    assert row(table, "⏎").null_high < row(table, "⏎").ratio


def test_one_resample_is_the_least() -> None:
    for table in (trigger_table, trigger_tokens):
        assert len(table([lines()], n_boot=1)) > 1
        with pytest.raises(RequestError, match="one resample"):
            table([lines()], n_boot=0)
        with pytest.raises(RequestError, match="one trace"):
            table([])


def test_kinds_have_names_in_every_grouping() -> None:
    for by in TAGGED:
        names = trigger_names(by)
        assert len(trigger_groups(by)) == len(UPOS) + len(SPACES)
        assert names[-len(SPACES) :] == SPACES
        assert set(trigger_groups(by)) == set(range(len(names)))
    assert set(TAGGED) < set(BY)

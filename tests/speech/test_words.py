"""Words and their tokens: alignment by character offset, on every awkward text we know."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcp.speech.words import Word, words_of
from dcp.trace import Meta, Trace
from tests.helpers.traces import make_trace, meta_of, random_trace


class Splitter:
    """A tagger without a model: runs of letters or single other marks, all of them nouns."""

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        return [(m.start(), m.end(), "NOUN") for m in re.finditer(r"\w+|[^\w\s]", text)]


def spanned(
    text: str, offsets: list[tuple[int, int]], prompt: int | None = None, **more: object
) -> Trace:
    """A trace with the given spans, nothing dropped."""
    tokens = len(offsets)
    base = make_trace(["x"] * tokens, np.full((1, tokens), -1), prompt_tokens=prompt)
    return Trace(
        token_ids=base.token_ids,
        offsets=np.array(offsets, np.int32),
        death=base.death,
        margin=base.margin,
        logprob=base.logprob,
        step_seconds=base.step_seconds,
        meta=Meta.from_json(meta_of(text, base.prompt_tokens, base.n_queries, **more)),
    )


def byte_tokens(text: str, sizes: list[int]) -> Trace:
    """A trace that cuts the UTF-8 bytes of ``text`` into tokens of ``sizes`` bytes, in turn."""
    owner = [i for i, char in enumerate(text) for _ in char.encode()]
    offsets, at, k = [], 0, 0
    while at < len(owner):
        end = min(at + sizes[k % len(sizes)], len(owner))
        offsets.append((owner[at], owner[end - 1] + 1))
        at, k = end, k + 1
    return spanned(text, offsets)


def cover(words: list[Word]) -> list[tuple[str, int, int]]:
    return [(word.text, word.first, word.last) for word in words]


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(alphabet=" \nab.é🙂\u200d👩中\u0301'", min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
)
def test_a_word_owns_exactly_the_tokens_it_shares_a_character_with(
    text: str, sizes: list[int]
) -> None:
    trace = byte_tokens(text, sizes)
    words = words_of(trace, Splitter())
    assert [(w.start, w.end) for w in words] == [(a, b) for a, b, _ in Splitter().tag(text)]
    for word in words:
        owned = [
            j for j, (a, b) in enumerate(trace.offsets.tolist()) if a < word.end and b > word.start
        ]
        assert list(range(word.first, word.last + 1)) == owned
        assert text[word.start : word.end] == word.text
        assert word.tokens == len(owned)


def test_leading_spaces_newlines_and_accents() -> None:
    trace = make_trace(["The", " na", "ï", "ve", "\n\n", " fox", "."], np.full((1, 7), -1))
    assert cover(words_of(trace, Splitter())) == [
        *(("The", 0, 0), ("naïve", 1, 3)),
        *(("fox", 5, 5), (".", 6, 6)),
    ]


def test_the_tokens_of_one_emoji_all_belong_to_it() -> None:
    trace = spanned("hi 🙂!", [(0, 2), (2, 4), (3, 4), (3, 4), (3, 5)])
    assert cover(words_of(trace, Splitter())) == [("hi", 0, 0), ("🙂", 1, 4), ("!", 4, 4)]


def test_a_token_of_two_words_belongs_to_both() -> None:
    trace = spanned("don't", [(0, 3), (3, 5)])

    class Contraction:
        def tag(self, text: str) -> list[tuple[int, int, str]]:
            return [(0, 2, "AUX"), (2, 5, "PART")]

    assert cover(words_of(trace, Contraction())) == [("do", 0, 0), ("n't", 0, 1)]


def test_special_tokens_and_uncovered_text_belong_to_no_word() -> None:
    trace = spanned("ab cd ef", [(0, 0), (0, 2), (2, 2), (2, 5)])
    assert cover(words_of(trace, Splitter())) == [("ab", 1, 1), ("cd", 3, 3)]


def test_a_text_of_spaces_has_no_words() -> None:
    assert words_of(make_trace([" ", "\n"], np.full((2, 2), -1)), Splitter()) == []


def test_source_is_where_the_last_token_was_born() -> None:
    trace = make_trace(["It", " was", " rain", "ing", "."], np.full((1, 5), -1), prompt_tokens=3)
    sources = {word.text: word.source for word in words_of(trace, Splitter())}
    assert sources == {"It": "prompt", "was": "prompt", "raining": "generated", ".": "generated"}


@pytest.mark.parametrize(
    ("last", "complete"),
    [
        *(("do", False), ("7", False), ("\ufffd", False), ("don'", False), ("é", False)),
        *(("do ", True), ("do\n", True), (".", True), ("do?", True)),
    ],
)
def test_a_generated_word_is_complete_only_when_no_token_could_continue_it(
    last: str, complete: bool
) -> None:
    trace = make_trace(["I", " " + last], np.full((1, 2), -1), prompt_tokens=1)
    word = words_of(trace, Splitter())[-1]
    assert word.complete == complete
    assert word.pos == ("NOUN" if complete else "")


def test_a_word_that_the_user_wrote_is_complete() -> None:
    trace = make_trace(["I", " do"], np.full((1, 2), -1))
    assert all(word.complete for word in words_of(trace, Splitter()))


def test_an_end_of_text_token_completes_the_last_word() -> None:
    assert words_of(spanned("I do", [(0, 1), (1, 4), (4, 4)], prompt=1), Splitter())[-1].complete


@pytest.mark.parametrize(("side", "cut"), [("left", [True, False]), ("right", [False, True])])
def test_a_truncated_text_has_no_complete_word_at_the_cut(side: str, cut: list[bool]) -> None:
    trace = spanned("ing do", [(0, 3), (3, 6)], truncated=side)
    assert [not word.complete for word in words_of(trace, Splitter())] == cut


def test_words_are_frozen_and_ordered() -> None:
    words = words_of(random_trace(4, tokens=130), Splitter())
    assert [w.start for w in words] == sorted(w.start for w in words)
    with pytest.raises(AttributeError):
        words[0].pos = "VERB"  # type: ignore[misc]

"""A question under a text: the published rounds, as many entries as the run, its own attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcp.errors import RequestError
from dcp.model.registry import OpenModel, open_model
from dcp.policies.citrus import budget_keeping, chunk_of
from dcp.runs.policies import Asked
from dcp.runs.questions import FORMS, read_for
from dcp.runs.recorder import record
from dcp.stats.questions import asked_words, leaning, question_table
from dcp.trace import Trace
from tests.app.conftest import plain_words
from tests.helpers.policy_oracle import Eager, instructed

TEXT = "The museum opened in 1901. It closed for a year, and then it opened again."
QUESTION = "When did it open?"


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("llama", drop=0.3)


@pytest.fixture(scope="module")
def model(folder: Path) -> OpenModel:
    return open_model(folder)


@pytest.fixture(scope="module", params=[0, 9], ids=["read", "written"])
def run(model: OpenModel, request: pytest.FixtureRequest) -> Trace:
    return record(TEXT, model=model, new_tokens=request.param, temperature=0)


@pytest.fixture(scope="module")
def asked(model: OpenModel, run: Trace) -> Asked:
    return read_for(model, run, QUESTION)


def test_all_hold_as_many_when_the_question_has_been_read(run: Trace, asked: Asked) -> None:
    runs = asked.beside.runs
    assert list(runs) == ["gates", *FORMS]
    assert asked.step == run.n_queries - 1
    mine = run.held()[:, asked.step].mean()
    for name in FORMS:
        held = runs[name].held()[:, asked.step]
        assert len(set(held.tolist())) == 1
        assert abs(held[0] - mine) <= 0.5
        assert runs[name].meta.policy_settings["instruction"] == QUESTION
        assert runs[name].token_ids.tolist() == run.token_ids.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_deaths_are_those_of_the_published_rounds(
    folder: Path, model: OpenModel, run: Trace, asked: Asked, form: str
) -> None:
    found = asked.beside.runs[form]
    heard = model.tokenizer.encode(QUESTION).ids.tolist()
    ids = run.token_ids[: run.n_queries].tolist()
    # The oracle's chunk is a quarter of a budget that it divides: only there are both the same.
    budget = found.meta.budget
    assert budget is not None
    expected = instructed(Eager(folder), ids, asked.step, heard, form, budget)
    assert np.array_equal(expected, found.death[:, : run.n_queries])


def test_the_questions_attention_is_that_of_an_eager_forward(
    folder: Path, model: OpenModel, run: Trace, asked: Asked
) -> None:
    heard = model.tokenizer.encode(QUESTION).ids.tolist()
    ids = [*run.token_ids[: run.n_queries].tolist(), *heard]
    every = np.repeat(np.tri(len(ids), dtype=bool)[None], run.layers, axis=0)
    weights = Eager(folder).attention(ids, every)
    expected = weights[:, run.n_queries :, : run.n_queries].mean(axis=1)
    # Differences of sums over all queries, in float32.
    np.testing.assert_allclose(asked.attention[:, : run.n_queries], expected, atol=2e-5)
    assert not asked.attention[:, run.n_queries :].any()


def test_tables_say_what_is_held(run: Trace, asked: Asked) -> None:
    table = question_table(asked).set_index("policy")
    assert table.loc["gates", "overlap"] == 1
    assert ((table["covered"] > 0) & (table["covered"] <= 1)).all()
    for form in FORMS:
        lean = leaning(asked, form)
        theirs = asked.beside.runs[form]
        for token in (0, 7, asked.step):
            difference = (
                theirs.visible(asked.step)[:, token].sum() - run.visible(asked.step)[:, token].sum()
            )
            assert lean[token] * run.layers == pytest.approx(difference)
        assert np.isnan(lean[asked.step + 1 :]).all()
    words = asked_words(asked, plain_words(run), most=3)
    assert len(words) == 3 * (1 + len(FORMS))
    assert words["first"].min() > 0


def test_another_question_keeps_other_entries(model: OpenModel, run: Trace, asked: Asked) -> None:
    other = read_for(model, run, "Is there a river?")
    assert any(
        not np.array_equal(other.beside.runs[f].death, asked.beside.runs[f].death) for f in FORMS
    )


@pytest.mark.parametrize(
    ("question", "message"),
    [("", "no question"), (" \n", "no question"), ("Who? " * 80, "more than the context of 256")],
)
def test_what_cannot_be_asked_is_one_line(
    model: OpenModel, run: Trace, question: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        read_for(model, run, question)
    assert "\n" not in str(refused.value)


def test_a_text_too_short_to_ask_about_is_refused(model: OpenModel) -> None:
    with pytest.raises(RequestError, match="8 tokens or more"):
        read_for(model, record("It.", model=model, new_tokens=2), QUESTION)


@pytest.mark.parametrize("entries", [1, 2, 3, 34, 127, 600, 1500])
def test_the_smallest_budget_that_keeps_so_many(entries: int) -> None:
    budget = budget_keeping(entries)
    assert budget - 2 * chunk_of(budget, 256) >= entries
    if budget > 4:
        assert budget - 1 - 2 * chunk_of(budget - 1, 256) < entries

"""Two traces side by side: the map, the numbers and the tables, against the traces themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dcp.errors import RequestError
from dcp.stats.compare import Number, Pair
from dcp.trace import ALIVE, Trace
from dcp.trace.meta import Replayed
from tests.helpers.traces import make_trace, random_trace, with_meta


def two(seed: int = 0) -> Pair:
    a = random_trace(seed)
    death = a.death.copy()
    death[1, 5] = ALIVE if death[1, 5] != ALIVE else 9
    return Pair(a, replace(a, death=death, margin=np.full_like(a.margin, np.nan)))


def scored(trace: Trace, seed: int) -> Trace:
    """The trace with what a gates-off run adds."""
    rng = np.random.default_rng(seed)
    kl = rng.gamma(1, 0.1, trace.tokens).astype(np.float32)
    kl[0] = np.nan
    lost = rng.uniform(0, 0.5, trace.death.shape).astype(np.float32)
    return replace(trace, kl=kl, lost_attention=lost, gates_off_logprob=trace.logprob - 0.1)


def taller(trace: Trace) -> Trace:
    """The same text with one layer more."""
    return replace(
        trace,
        death=np.concatenate([trace.death, trace.death[:1]]),
        margin=np.concatenate([trace.margin, trace.margin[:1]]),
    )


def test_the_difference_is_where_one_alone_holds_a_token() -> None:
    found = two()
    for step in (0, 8, 62):
        held_a, held_b = found.a.visible(step), found.b.visible(step)
        where = found.difference(step)
        assert where.dtype == np.int8
        assert np.array_equal(where > 0, held_a & ~held_b)
        assert np.array_equal(where < 0, held_b & ~held_a)
    assert set(zip(*np.nonzero(found.difference(62)), strict=True)) <= {(1, 5)}
    for step in (63, 64, -1):
        with pytest.raises(RequestError, match="both have steps 0 to 62"):
            found.difference(step)
    even = random_trace(0, tokens=62)
    with pytest.raises(RequestError, match="both have steps 0 to 61"):
        Pair(even, even).difference(62)


def test_what_does_not_match_has_no_map() -> None:
    a, deep = random_trace(0), random_trace(0, layers=4)
    for found in (
        *(Pair(a, random_trace(1)), Pair(a, deep), Pair(deep, a)),
        *(Pair(a, taller(a)), Pair(taller(a), a)),
    ):
        assert not found.cell_by_cell
        with pytest.raises(RequestError, match="no difference map"):
            found.difference(3)
        with pytest.raises(RequestError, match="no table of cells"):
            found.per_cell()
    with pytest.raises(RequestError, match="different tokens"):
        Pair(a, random_trace(1)).per_token()


def test_the_same_ids_of_another_text_and_the_same_text_in_other_ids_are_not_the_same() -> None:
    a = make_trace(["ab", "c"], np.full((1, 2), -1))
    ids = make_trace(["ab", "d"], np.full((1, 2), -1))
    assert Pair(a, a).same_tokens
    assert not Pair(a, replace(ids, token_ids=a.token_ids)).same_tokens
    assert not Pair(a, replace(a, token_ids=a.token_ids + 1)).same_tokens


def test_numbers_are_those_of_the_traces_in_their_order() -> None:
    a = with_meta(scored(random_trace(0), 1), gate_shift=-1.5)
    b = with_meta(replace(scored(a, 2), logprob=a.logprob * 2), gate_shift=0.5)
    kl = np.linspace(0, 1, a.tokens, dtype=np.float32)
    bits = [-np.nansum(t.logprob) / np.log(2) for t in (a, b)]
    size = len(a.text[a.offsets[1, 0] :].encode())
    wanted = [
        Number("tokens", 63, 63, "count"),
        Number("layers", 3, 3, "count"),
        Number("gate shift δ", -1.5, 0.5, "number"),
        Number("bytes of an entry", *(t.meta.memory.entry for t in (a, b)), "count"),
        Number("dropped at step 62", a.sparsity_at(62), b.sparsity_at(62), "share"),
        Number(
            "entries held at step 62, mean of layers",
            *(float(np.mean([t.visible(62)[n].sum() for n in range(3)])) for t in (a, b)),
        ),
        Number(
            "dropped, mean over each one's steps",
            *(float(np.mean([t.sparsity_at(s) for s in range(1, 63)])) for t in (a, b)),
            "share",
        ),
        Number("bits per byte of text", *(n / size for n in bits)),
        Number("log-prob per token (nats)", *(float(np.nanmean(t.logprob)) for t in (a, b))),
        Number("KL(gates off ‖ run) per token (nats)", *(float(np.nanmean(t.kl)) for t in (a, b))),
        Number(
            "attention lost, mean of layers",
            *(float(np.nanmean(t.lost_attention)) for t in (a, b)),
            "share",
        ),
        Number("KL(A ‖ B) per token (nats)", 0.5, None),
    ]
    found = Pair(a, b, kl).numbers()
    assert [(n.name, n.kind) for n in found] == [(n.name, n.kind) for n in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.a == pytest.approx(theirs.a, rel=1e-5), mine.name
        assert (mine.b is None) == (theirs.b is None)
        assert mine.b is None or mine.b == pytest.approx(theirs.b, rel=1e-5), mine.name
    assert found[2].difference == 2.0
    assert found[-1].difference is None


def test_runs_of_other_lengths_are_compared_at_the_last_step_that_both_have() -> None:
    found = Pair(random_trace(0, tokens=63), random_trace(1, tokens=40, prompt_tokens=30))
    rows = {number.name: number for number in found.numbers()}
    assert found.steps == 39
    assert (rows["tokens"].a, rows["tokens"].b, rows["tokens"].difference) == (63, 40, -23)
    assert rows["dropped at step 38"].a == found.a.sparsity_at(38)
    assert rows["dropped at step 38"].b == found.b.sparsity_at(38)
    assert rows["entries held at step 38, mean of layers"].b == found.b.held()[:, 38].mean()
    assert "log-prob per token (nats)" not in rows
    assert rows["KL(gates off ‖ run) per token (nats)"] == Number(
        "KL(gates off ‖ run) per token (nats)", None, None
    )
    assert "KL(A ‖ B) per token (nats)" not in rows


@pytest.mark.parametrize(("tokens", "rows"), [(1, 7), (2, 10)])
def test_a_text_without_steps_behind_it_has_no_share(tokens: int, rows: int) -> None:
    one = random_trace(0, tokens=tokens)
    found = Pair(one, one).numbers()
    named = {number.name: number for number in found}
    assert len([n for n in found if n.name != "log-prob per token (nats)"]) == rows
    assert any(name.startswith("dropped") for name in named) == (tokens > 1)
    assert (named["bits per byte of text"].a is None) == (tokens == 1)


def test_gates_that_were_off_have_no_shift() -> None:
    one = random_trace(0)
    off = with_meta(one, replayed=Replayed("tiny", "0" * 64, 0.0, "off"))
    (shift,) = (n for n in Pair(one, off).numbers() if n.name == "gate shift δ")
    assert (shift.a, shift.b) == (0.0, None)


def test_the_table_of_tokens_is_the_traces() -> None:
    a = scored(random_trace(0, prompt_tokens=40), 1)
    b = replace(scored(a, 2), logprob=a.logprob * 2, death=np.full_like(a.death, ALIVE))
    kl = np.linspace(0, 1, a.tokens, dtype=np.float32)
    table = Pair(a, b, kl).per_token()
    assert list(table.columns) == [
        *("token", "text", "logprob_a", "logprob_b", "logprob_difference", "held_a", "held_b"),
        *("kl_a_b", "kl_off_a", "kl_off_b", "gates_off_logprob_a", "gates_off_logprob_b"),
    ]
    assert table["token"].tolist() == list(range(63))
    assert table["text"].tolist() == a.pieces()
    for column, wanted in {
        "logprob_a": a.logprob, "logprob_b": b.logprob, "logprob_difference": b.logprob - a.logprob,
        "kl_a_b": kl, "kl_off_a": a.kl, "kl_off_b": b.kl,
        "gates_off_logprob_a": a.gates_off_logprob, "gates_off_logprob_b": b.gates_off_logprob,
    }.items():  # fmt: skip
        np.testing.assert_array_equal(table[column], wanted)
    for t in range(a.n_queries):
        assert table["held_a"][t] == pytest.approx(a.visible(t).sum(axis=1).mean())
        assert table["held_b"][t] == t + 1
    # The last token was never a query.
    assert table["held_a"][a.n_queries :].isna().all()
    assert len(table["held_a"][a.n_queries :]) == 1
    plain = Pair(random_trace(0), random_trace(0)).per_token()
    assert list(plain.columns) == list(table.columns[:7])


def test_the_table_of_cells_is_the_traces() -> None:
    pair = two()
    a, b = scored(pair.a, 1), pair.b
    table = Pair(a, b).per_cell()
    assert list(table.columns) == [
        *("layer", "token", "text", "death_a", "lost_attention_a", "death_b"),
    ]
    assert len(table) == a.death.size
    pieces = a.pieces()
    for row in table.itertuples():
        assert row.text == pieces[row.token]
        for found, trace in ((row.death_a, a), (row.death_b, b)):
            death = trace.death[row.layer, row.token]
            assert found is pd.NA if death == ALIVE else found == death
        assert row.lost_attention_a == a.lost_attention[row.layer, row.token]

"""Computed cost equals counting by hand; what is measured is of the same tokens."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from dcp.errors import RequestError
from dcp.model.registry import OpenModel
from dcp.stats.cost import (
    ARMS,
    Measured,
    batch_within,
    computed,
    cost_csv,
    running_median,
)
from dcp.trace import ALIVE, Trace
from tests.helpers.traces import make_trace, random_trace, with_meta


def measured(
    pruned: np.ndarray, dense: np.ndarray, kept: np.ndarray | None = None, first: int = 2
) -> Measured:
    """A measurement with these times [R, S]."""
    steps = pruned.shape[1]
    seconds = {"pruned": pruned, "kept": dense if kept is None else kept, "dense": dense}
    sizes = {arm: np.arange(first, first + steps) * 64 for arm in ARMS}
    return Measured(
        context=np.arange(first, first + steps),
        seconds=seconds,
        held={arm: sizes[arm] + 100 for arm in ARMS},
        live=sizes | {"pruned": sizes["pruned"] // 2},
        peak={arm: int(sizes[arm].max()) + 100 for arm in ARMS},
        weights=1000,
        gate_share=0.25,
        differs=0,
        about={},
    )


def test_computed_bytes_equal_counting_by_hand() -> None:
    death = [[2, ALIVE, ALIVE, ALIVE], [1, 3, 3, ALIVE]]
    trace = make_trace(["a", "b", "c", "d"], np.array(death))
    found = computed(trace)
    assert found.entries.tolist() == [[1, 2, 2, 3], [1, 1, 2, 1]]
    assert found.live().tolist() == [[32, 64, 64, 96], [32, 32, 64, 32]]
    assert found.dense().tolist() == [64, 128, 192, 256]


@pytest.mark.parametrize("tokens", [1, 63, 1000])
def test_live_never_exceeds_dense_and_equals_what_is_visible(tokens: int) -> None:
    trace = random_trace(tokens, tokens=tokens)
    found = computed(trace)
    assert (found.live().sum(axis=0) <= found.dense()).all()
    for t in {0, tokens // 2, tokens - 1}:
        assert found.entries[:, t].tolist() == trace.visible(t).sum(axis=1).tolist()


@pytest.mark.parametrize("entry", [None, 2**60])
def test_an_entry_size_that_cannot_be_is_not_believed(entry: int | None) -> None:
    trace = random_trace(3)
    memory = replace(trace.meta.memory, entry=entry, dense=3 * 63 * 48)
    assert computed(with_meta(trace, memory=memory)).entry_bytes == 48
    odd = replace(memory, dense=3 * 63 * 48 + 1)
    without = computed(with_meta(trace, memory=odd))
    assert without.entry_bytes is None
    assert (without.live() == without.entries).all()


def test_crossover_is_the_first_context_from_which_on_a_step_is_faster() -> None:
    steps = 400
    dense = np.linspace(1, 2, steps)[None].repeat(3, axis=0)
    pruned = np.full((3, steps), 1.5)
    found = measured(pruned, dense)
    crossing = int(found.context[np.flatnonzero(dense[0] > 1.5)[0]])
    assert found.crossover() == crossing
    assert measured(dense, pruned).crossover() is None
    assert measured(dense, dense).crossover() is None
    assert measured(dense / 2, dense).crossover() == 2


def test_one_slow_step_or_round_moves_neither_crossover_nor_speed() -> None:
    dense = np.linspace(1, 2, 400)[None].repeat(5, axis=0)
    pruned = np.full((5, 400), 1.5)
    before = measured(pruned, dense)
    noisy = pruned.copy()
    noisy[0] *= 9
    noisy[:, 350] *= 9
    after = measured(noisy, dense)
    assert after.crossover() == before.crossover()
    assert after.percentiles("pruned")[1].tolist() == before.percentiles("pruned")[1].tolist()


def test_percentiles_are_the_twentieth_the_fiftieth_and_the_eightieth() -> None:
    rng = np.random.default_rng(0)
    times = rng.gamma(2.0, 1.0, (11, 1)) * np.ones((11, 40))
    found = measured(times, 2 * times)
    # Eleven rounds: the 20th percentile is the third of them, no mean of two.
    third, sixth, ninth = np.sort(times[:, 0])[[2, 5, 8]]
    for got, wanted in zip(found.percentiles("pruned"), (third, sixth, ninth), strict=True):
        assert got == pytest.approx(np.full(40, wanted))
    assert found.tokens_per_second("pruned") == pytest.approx((1 / ninth, 1 / sixth, 1 / third))
    uneven = measured(times, times * np.sort(rng.uniform(1, 3, (11, 1)), axis=0)[::-1])
    ratios = np.sort(uneven.seconds["dense"][:, 0] / times[:, 0])[[2, 5, 8]]
    assert uneven.speed_up() == pytest.approx(tuple(ratios))
    assert found.speed_up(last=7) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize(("entry", "believed"), [(2**40, True), (2**40 + 1, False), (1, True)])
def test_an_entry_is_believed_up_to_a_terabyte(entry: int, believed: bool) -> None:
    trace = random_trace(3)
    size = trace.layers * trace.tokens
    told = replace(trace.meta.memory, entry=entry)
    assert computed(with_meta(trace, memory=told)).entry_bytes == (entry if believed else None)
    # Told only by what a dense cache of the whole text would hold.
    dense = replace(trace.meta.memory, entry=None, dense=size * 2**30)
    assert computed(with_meta(trace, memory=dense)).entry_bytes == 2**30


def test_speed_ups_are_paired_by_round() -> None:
    machine = np.array([1.0, 4.0, 2.0])[:, None]
    dense, pruned = machine * np.full((3, 9), 3.0), machine * np.full((3, 9), 2.0)
    found = measured(pruned, dense)
    assert found.speed_up() == pytest.approx((1.5, 1.5, 1.5))
    assert found.tokens_per_second("dense")[1] == pytest.approx(1 / 6)
    dense[:, -2:] *= 2
    assert measured(pruned, dense).speed_up(last=2) == pytest.approx((3, 3, 3))


def test_the_ceiling_counts_weights_and_gate_keys() -> None:
    found = measured(np.ones((1, 5)), np.ones((1, 5)))
    live = int(found.live["dense"][-1])
    assert found.ceiling() == pytest.approx((1000 + live) / (1000 + live // 2 * 1.25))
    assert found.ceiling("dense") == 1


def test_the_csv_leaves_blank_what_was_not_measured_before_and_after() -> None:
    """A measurement of steps 4 to 8 of a text of 13: what the arms did stands in those rows."""
    trace = random_trace(5, tokens=13, prompt_tokens=7)
    times = np.arange(1, 6) / 8 * np.ones((3, 1))
    found = measured(times, 2 * times, 3 * times, first=5)
    table = pd.read_csv(StringIO(cost_csv(trace, found)))
    assert table.step.tolist() == list(range(12))
    assert table.context.tolist() == list(range(1, 13))
    assert table.source.tolist() == ["prompt"] * 7 + ["generated"] * 5
    seconds = table.seconds_of_the_run_measured
    assert seconds.to_numpy() == pytest.approx(trace.step_seconds[:12], rel=1e-5, nan_ok=True)
    for arm, factor in (("pruned", 1), ("dense", 2), ("kept", 3)):
        for share in (20, 50, 80):
            column = table[f"seconds_{arm}_p{share}_measured"]
            assert column[4:9].to_numpy() == pytest.approx(factor * times[0])
            assert column.notna().sum() == 5
        assert table[f"allocated_bytes_{arm}_measured"][4:9].tolist() == found.held[arm].tolist()
        assert table[f"live_bytes_{arm}_measured"].notna().sum() == 5
    live = table[[name for name in table if name.startswith("live_bytes_layer_")]].sum(axis=1)
    assert live.tolist() == table.live_bytes_computed.tolist()
    assert (table.dense_bytes_computed == computed(trace).dense()).all()
    assert len(pd.read_csv(StringIO(cost_csv(trace))).columns) == 5 + trace.layers + 1


def test_the_running_median_skips_what_was_not_timed() -> None:
    values = np.array([np.nan, np.nan, np.nan, 1.0, 5.0, 3.0])
    found = running_median(values, 3)
    assert np.isnan(found[:2]).all()
    assert found[2:].tolist() == [1.0, 3.0, 3.0, 4.0]
    assert len(running_median(np.array([]), 31)) == 0


@pytest.mark.parametrize(
    ("budget", "weights", "sequence", "fits"),
    [(1000, 400, 250, 2), (1000, 400, 200, 3), (100, 400, 250, 0), (10**12, 0, 7, 142857142857)],
)
def test_batches_fill_the_budget_and_never_overrun_it(
    budget: int, weights: int, sequence: int, fits: int
) -> None:
    assert batch_within(budget, weights, sequence) == fits
    assert weights + fits * sequence <= budget or fits == 0
    assert weights + (fits + 1) * sequence > budget


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenModel, Trace]:
    from dcp.model.registry import open_model
    from dcp.runs.recorder import record
    from tests.helpers.checkpoints import make

    model = open_model(make(tmp_path_factory.mktemp("cost") / "tiny", "llama", drop=0.6))
    return model, record("The river rose for three days.", model=model, new_tokens=33)


def test_the_measured_arms_read_the_same_tokens(recorded: tuple[OpenModel, Trace]) -> None:
    from dcp.bench.beside import measure

    model, trace = recorded
    lines: list[tuple[float, str]] = []
    partial = list(measure(model, trace, rounds=3, progress=lambda *said: lines.append(said)))
    found, steps = partial[-1], trace.tokens - 2
    assert {arm: t.shape for arm, t in found.seconds.items()} == dict.fromkeys(ARMS, (3, steps))
    assert all((times > 0).all() for times in found.seconds.values())
    assert found.context.tolist() == list(range(2, trace.tokens))
    # What was dropped is what the trace says, and so are the bytes: counted and computed agree.
    assert found.differs == 0
    live = computed(trace).live().sum(axis=0)[1:]
    assert found.live["pruned"].tolist() == live[:steps].tolist()
    for arm in ("kept", "dense"):
        assert found.live[arm].tolist() == computed(trace).dense()[1 : steps + 1].tolist()
    for arm in ARMS:
        assert (found.held[arm] >= found.live[arm]).all()
        assert found.peak[arm] >= found.held[arm].max()
    assert [one.rounds for one in partial] == [1, 2, 3]
    assert all(0 <= share <= 1 for share, _ in lines)


def test_leaving_keeps_the_rounds_that_are_complete(recorded: tuple[OpenModel, Trace]) -> None:
    from dcp.bench.beside import measure

    model, trace = recorded
    done: list[Measured] = []
    for found in measure(model, trace, rounds=50, cancel=lambda: len(done) == 2):
        done.append(found)
    assert [found.rounds for found in done] == [1, 2]
    assert list(measure(model, trace, cancel=lambda: True)) == []


def test_a_run_of_other_weights_or_one_too_short_is_refused(
    recorded: tuple[OpenModel, Trace],
) -> None:
    from dcp.bench.beside import measure
    from dcp.runs.recorder import record

    model, trace = recorded
    other = with_meta(trace, weights_sha256="f" * 64)
    with pytest.raises(RequestError, match="other weights"):
        measure(model, other)
    with pytest.raises(RequestError, match="8 or more"):
        measure(model, record("ab", model=model, new_tokens=1))

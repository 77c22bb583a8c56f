"""Speed and memory counted from steps, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dcp.engine.engine import Memory
from dcp.runs.meter import Meter


def step(phase: str, seconds: float, held: int = 0, peak: int = 0, queries: int = 1) -> Any:
    row = SimpleNamespace(memory=Memory(held // 2, held, peak, 4 * held), queries=queries)
    return SimpleNamespace(rows=[row], phase=phase, seconds=seconds)


def metered(*steps: Any) -> Meter:
    meter = Meter()
    meter.start()
    for each in steps:
        meter.count(each)
    return meter


def test_speed_leaves_out_the_first_token_which_the_prompt_had_prepared() -> None:
    meter = metered(
        step("prompt", 9.0),
        step("generate", 5.0),
        step("generate", 0.3),
        step("generate", 0.25),
        step("generate", 0.25),
    )
    assert meter.tokens_per_second() == pytest.approx(3 / 0.8)
    assert meter.counters(9).tokens_per_second_now == pytest.approx(3 / 0.8)
    assert meter.counters(9).tokens_per_second_mean == meter.tokens_per_second()
    assert meter.prompt_seconds == 9.0


def test_now_is_the_last_sixteen_tokens() -> None:
    slow = [step("generate", 1.0)] * 20
    meter = metered(step("prompt", 1.0), *slow, *[step("generate", 0.25)] * 12)
    counters = meter.counters(40)
    assert counters.tokens_per_second_now == pytest.approx(16 / (12 * 0.25 + 4))
    assert counters.tokens_per_second_mean == pytest.approx(31 / (12 * 0.25 + 19))
    assert (counters.tokens, counters.new_tokens) == (40, 32)


def test_one_token_alone_is_as_fast_as_it_took_to_come() -> None:
    meter = metered(step("prompt", 0.1), step("generate", 0.1))
    assert meter.time_to_first_token_s is not None
    assert meter.tokens_per_second() == pytest.approx(1 / meter.time_to_first_token_s)
    assert metered(step("prompt", 0.1)).tokens_per_second() is None


def test_the_first_token_s_clock_runs_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 10.75, 99.0])
    monkeypatch.setattr("dcp.runs.meter.time.perf_counter", lambda: next(now))
    meter = metered(step("prompt", 0.5), step("generate", 0.1), step("generate", 0.1))
    assert meter.time_to_first_token_s == 0.75


def test_before_the_first_step_there_is_nothing() -> None:
    meter = Meter()
    assert meter.memory == Memory(0, 0, 0, 0)
    counters = meter.counters(0)
    assert (counters.kv_bytes_live, counters.kv_bytes_held, counters.kv_bytes_dense) == (0, 0, 0)
    assert counters.new_tokens == 0
    assert counters.tokens_per_second_now is None
    assert counters.tokens_per_second_mean is None


def test_held_is_what_is_held_now_and_the_peak_is_what_was() -> None:
    meter = metered(step("prompt", 1.0, held=900, peak=1000), step("generate", 1.0, 200, 1000))
    counters = meter.counters(2)
    assert counters.kv_bytes_held == 200
    assert counters.kv_bytes_live == 100
    assert counters.kv_bytes_dense == 800
    assert (meter.memory.held, meter.memory.peak) == (200, 1000)


def test_what_the_engine_holds_falls_below_its_peak_when_tokens_are_dropped(
    tiny_checkpoint: Any,
) -> None:
    """A real run: a prompt that is dropped almost whole, in more than one chunk."""
    import dcp

    trace = dcp.record("river " * 30, model=tiny_checkpoint("llama", drop=0.97), new_tokens=8)
    memory = trace.meta.memory
    assert memory.live is not None
    assert memory.live <= memory.held < memory.peak
    from dcp.stats.cost import computed

    assert memory.live == computed(trace).live()[:, -1].sum()

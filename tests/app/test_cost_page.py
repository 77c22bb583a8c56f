"""The Cost page shows all that can be computed at first paint, and measures on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import dcp.bench.beside
import dcp.ui.services
from benchmarks.bundle import untimed
from dcp.figures.screen.cost import layer_chart, memory_chart, time_chart
from dcp.stats.cost import computed, cost_csv
from dcp.trace import Trace
from dcp.trace.amounts import percent, size
from dcp.ui.cost.words import crossing
from dcp.ui.samples import load_sample
from dcp.ui.session import Session
from tests.helpers.traces import random_trace
from tests.stats.test_cost import measured

Open = Callable[..., AppTest]


def cost_page(page: AppTest) -> AppTest:
    return page.switch_page("pages/cost.py").run()


def tiles(page: AppTest) -> dict[str, str]:
    return {metric.label.split(" · ")[0]: metric.value for metric in page.metric}


def test_what_the_trace_knows_is_there_at_first_paint(open_page: Open) -> None:
    page = cost_page(open_page())
    trace = page.session_state["session"].shown.trace
    live = int(computed(trace).live()[:, -1].sum())
    assert tiles(page)["Live at the end"] == size(live)
    assert tiles(page)["Allocated at the end"] == size(trace.meta.memory.held)
    assert tiles(page)["Crossover"] == "not measured"
    assert len(page.get("plotly_chart")) == 3
    # The bundled models of this test are others than the sample's: it is told, not tried.
    assert page.button(key="cost-measure").disabled


def test_a_run_that_nobody_timed_has_no_empty_chart(open_page: Open, tmp_path: Path) -> None:
    """Samples may be recorded without a clock; a text that is read has none."""
    page = open_page()
    trace, words = load_sample("smollm2-135m/sample")
    path = tmp_path / "sample.safetensors"
    trace.save(path)
    untimed(path)
    session: Session = page.session_state["session"]
    session.show(Trace.load(path), tuple(words), "sample", "smollm2-135m/sample")
    cost_page(page)
    assert tiles(page)["Speed of the run"] == "not timed"
    assert len(page.get("plotly_chart")) == 2
    assert any(c.value.startswith("No step of this run was timed") for c in page.caption)


def test_the_share_of_dense_is_what_is_live_and_not_what_was_dropped(open_page: Open) -> None:
    page = cost_page(open_page())
    found = computed(page.session_state["session"].shown.trace)
    live, dense = int(found.live()[:, -1].sum()), int(found.dense()[-1])
    assert live != dense - live
    (tile,) = [metric for metric in page.metric if metric.label.startswith("Live at the end")]
    assert tile.delta == f"{percent(live / dense)} of {size(dense)} dense"


def test_the_step_is_that_of_every_page(open_page: Open) -> None:
    page = cost_page(open_page(address={"step": "40"}))
    session: Session = page.session_state["session"]
    slider = page.slider(key=f"cost-step-{session.shown.key}")
    assert slider.value == 40
    slider.set_value(7).run()
    assert session.place.step == 7


def test_a_budget_is_filled_and_its_sum_written_out(open_page: Open) -> None:
    page = cost_page(open_page())
    first = int(tiles(page)["Pruned"].replace(",", ""))
    page.select_slider(key="budget").set_value(2**34).run()
    assert int(tiles(page)["Pruned"].replace(",", "")) > first > 0
    assert any("⌊(16.0 GiB" in words.value for words in page.markdown)


def finish(page: AppTest) -> AppTest:
    end = time.monotonic() + 20
    while page.session_state["cost-asked"].task.status().active:
        assert time.monotonic() < end
        time.sleep(0.02)
    return page.run()


@pytest.mark.parametrize(("faster", "says"), [(False, "none up to 61"), (True, "2 tokens")])
def test_a_measurement_is_shown_with_its_machine_and_belongs_to_its_trace(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, faster: bool, says: str
) -> None:
    found = measured(np.full((3, 60), 0.5 if faster else 2.0), np.ones((3, 60)))
    facts = {
        "model": "tiny", "weights_sha256": "0" * 64, "gate_shift": 0.0, "hardware": "An abacus",
        "impl": "cpu", "device": "cpu", "dtype": "float32", "threads": 2, "date": "2026-11-23",
    }  # fmt: skip
    object.__setattr__(found, "about", facts)

    def stand_in(model: Any, trace: Any, *, rounds: int, **more: Any) -> Any:
        assert rounds == 7
        return iter([found])

    monkeypatch.setattr(dcp.ui.services, "_open", lambda name: None)
    monkeypatch.setattr(dcp.bench.beside, "measure", stand_in)
    page = open_page()
    session: Session = page.session_state["session"]
    session.show(random_trace(1, tokens=63, prompt_tokens=9), (), "upload", "An opened trace.")
    cost_page(page)
    page.button(key="cost-measure").click().run()
    finish(page)
    assert not page.exception
    assert tiles(page)["Crossover"] == says
    assert tiles(page)["Speed against dense"] == ("2.00×" if faster else "0.50×")
    assert any("An abacus" in line.value and "2026-11-23" in line.value for line in page.caption)
    session.show(random_trace(2, tokens=63), (), "upload", "Another.")
    page.run()
    assert tiles(page)["Crossover"] == "not measured"


def test_a_refused_measurement_is_one_line(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dcp.errors import RequestError

    def refuse(*given: Any, **more: Any) -> Any:
        raise RequestError("this run is by other weights")

    monkeypatch.setattr(dcp.ui.services, "_open", lambda name: None)
    monkeypatch.setattr(dcp.bench.beside, "measure", refuse)
    page = open_page()
    session: Session = page.session_state["session"]
    session.show(random_trace(1, tokens=63), (), "upload", "An opened trace.")
    cost_page(page)
    page.button(key="cost-measure").click().run()
    finish(page)
    assert [text.value for text in page.text] == ["this run is by other weights"]
    # Nothing was timed, so that there is no chart of times.
    assert len(page.get("plotly_chart")) == 2


@pytest.mark.parametrize("tokens", [1, 63, 1000])
def test_the_charts_draw_what_was_computed(tokens: int) -> None:
    trace = random_trace(4, tokens=tokens)
    found = computed(trace)
    memory = memory_chart(found, prompt=5, planned=tokens, step=tokens - 1)
    dense, live = memory["data"]
    assert live["y"][-1] == pytest.approx(found.live()[:, -1].sum() / 2**20, rel=0.02)
    assert max(len(dense["x"]), len(live["x"])) <= 700
    assert (dense["line"]["dash"], live["line"]["dash"]) == ("dash", "solid")
    bars = layer_chart(found, tokens // 2)["data"][1]
    assert bars["x"] == (found.live()[:, tokens // 2] / 1024).tolist()
    assert time_chart(trace, planned=tokens)["layout"]["yaxis"]["range"][1] > 0


def test_measured_lines_are_solid_and_the_crossover_is_marked() -> None:
    found = measured(np.full((3, 60), 0.5), np.ones((3, 60)))
    trace = random_trace(1)
    figure = time_chart(trace, planned=63, measured=found, crossover=found.crossover())
    lines = [line for line in figure["data"] if line.get("name")]
    assert [line["name"] for line in lines] == [
        "dense (measured)",
        "gates asked, nothing dropped (measured)",
        "pruned (measured)",
    ]
    assert {line["line"]["dash"] for line in lines} == {"solid"}
    assert any("faster from 2" in note["text"] for note in figure["layout"]["annotations"])
    held = memory_chart(computed(trace), prompt=5, planned=63, step=3, measured=found)["data"][2:]
    assert {line["line"]["dash"] for line in held} == {"solid"}


def test_the_csv_says_of_every_number_whether_it_was_measured() -> None:
    trace = random_trace(1, layers=2, prompt_tokens=9)
    plain = [row.split(",") for row in cost_csv(trace).splitlines()]
    assert len(plain) == 1 + trace.n_queries
    assert all(name.endswith(("computed", "measured")) for name in plain[0][3:])
    timed = measured(np.ones((1, 60)), np.ones((1, 60)))
    both = [row.split(",") for row in cost_csv(trace, timed).splitlines()]
    assert len({len(row) for row in both}) == 1
    at = both[0].index("allocated_bytes_pruned_measured")
    assert [row[at] for row in both[1:4]] == ["", "228", "292"]
    assert both[-1][at] == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_576_960, "1.5 MiB"), (2**37, "128 GiB")],
)
def test_sizes_are_for_people(number: int, text: str) -> None:
    assert size(number) == text


def test_no_crossover_is_said_with_how_far_was_looked() -> None:
    slow = measured(np.full((1, 60), 2.0), np.ones((1, 60)))
    assert crossing(slow) == "none up to 61"

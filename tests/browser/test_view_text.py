"""The running text never lies: every unit in the box carries its state at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.speech.words import words_of
from dcp.trace import Trace
from tests.app.conftest import PlainTagger
from tests.browser.static_view import Page, Show, at, opener, press, until
from tests.helpers.traces import make_trace, random_deaths

# Of each unit: its token numbers, what it looks like, and whether any of it is in sight in the box.
UNITS = """() => {
  const box = document.querySelector(".text"), inside = box.getBoundingClientRect();
  return [...box.querySelectorAll(".u")].map((e) => {
    const parts = e.dataset.t ? [e] : [...e.querySelectorAll("[data-t]")];
    const r = e.getBoundingClientRect();
    return {
      tokens: parts.map((p) => Number(p.dataset.t)),
      share: e.classList.contains("fut") ? -1 : Number(getComputedStyle(e).getPropertyValue("--k")),
      struck: e.classList.contains("out"),
      now: e.matches(".now") || Boolean(e.querySelector(".now")),
      seen: r.bottom > inside.top && r.top < inside.bottom,
    };
  });
}"""


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    return opener(window, tmp_path)


def long_trace(tokens: int = 900, layers: int = 5) -> Trace:
    """Text several times as long as the box; some words of two tokens."""
    rng = np.random.default_rng(3)
    words = ["less" if i % 11 == 5 else f" word{i}" for i in range(tokens)]
    return make_trace(
        words, random_deaths(rng, layers, tokens - 1, tokens), prompt_tokens=tokens // 2
    )


def check(trace: Trace, units: list[dict[str, Any]], step: int, layers: list[int]) -> None:
    owners = np.zeros(trace.tokens, int)
    for unit in units:
        tokens = unit["tokens"]
        owners[tokens] += 1
        read = [j for j in tokens if j <= step]
        if tokens[0] > step:
            assert unit["share"] == -1, unit
            assert not unit["struck"]
            continue
        held = (trace.death[np.ix_(layers, read)] > step).mean()
        # A bar is drawn in 48ths, and is full or empty only where nothing or everything is dropped.
        assert abs(unit["share"] - held) <= 1 / 48, (unit, held)
        assert (unit["share"] == 1) == (held == 1)
        assert unit["struck"] == (unit["share"] == 0) == (held == 0), unit
        assert unit["now"] == (step in tokens)
    assert (owners == 1).all(), "each token is in one unit"


@pytest.mark.parametrize("width", [1440, 400])
def test_every_unit_carries_its_state_at_every_step(show: Show, width: int) -> None:
    trace = long_trace()
    page = show(trace, words_of(trace, PlainTagger()), width=width, height=900)
    assert page.eval_on_selector(".text", "(e) => e.scrollHeight > 2 * e.clientHeight")
    everyone = list(range(trace.layers))
    for step in [0, 1, *range(40, trace.n_queries, 97), trace.n_queries - 1, 300, 2]:
        at(page, step=step)
        until(page, "dcpView.text.left === 0")
        units = page.evaluate(UNITS)
        check(trace, units, step, everyone)
        assert [u["seen"] for u in units if u["now"]] == [True], f"step {step} is out of sight"
    press(page, "bars show", "this layer")
    at(page, step=500, layer=3)
    until(page, "dcpView.text.left === 0")
    check(trace, page.evaluate(UNITS), 500, [3])


@pytest.mark.parametrize("width", [1440, 400])
def test_what_is_in_sight_is_true_in_the_very_frame(show: Show, width: int) -> None:
    trace = long_trace(4000, 3)
    page = show(trace, words_of(trace, PlainTagger()), width=width, height=900)
    for step in (3900, 200, 2101):
        # Drawn, and read before any later frame.
        units = page.evaluate(
            f"""() => {{
              dcpView.state.step = {step};
              dcpView.render(performance.now());
              return ({UNITS})();
            }}"""
        )
        seen = [u for u in units if u["seen"]]
        assert len(seen) > 20
        for unit in seen:
            read = [j for j in unit["tokens"] if j <= step]
            held = (trace.death[:, read] > step).mean() if unit["tokens"][0] <= step else -1
            assert abs(unit["share"] - held) <= 1 / 48, unit


def test_the_bars_add_up_to_the_number(show: Show) -> None:
    trace = long_trace(240, 6)
    page = show(trace, words_of(trace, PlainTagger()))
    press(page, "by", "token")
    for step in (60, 200, trace.n_queries - 1):
        at(page, step=step)
        # Words out of sight follow once the step rests.
        until(page, "dcpView.text.left === 0")
        units = page.evaluate(UNITS)
        held = sum(u["share"] for u in units if u["share"] >= 0)
        said = float(page.inner_text(".tile b").replace("\u00a0%", ""))
        assert said == pytest.approx(100 * trace.sparsity_at(step), abs=0.051)
        assert said == pytest.approx(100 * (1 - (held - 1) / step), abs=0.5)


def test_bars_and_strikes_stay_true_when_the_window_changes(show: Show) -> None:
    trace = long_trace()
    page = show(trace, words_of(trace, PlainTagger()), width=1440, height=900)
    at(page, step=700)
    page.set_viewport_size({"width": 400, "height": 800})
    until(page, "dcpView.width < 400 && dcpView.text.places && dcpView.text.left === 0")
    units = page.evaluate(UNITS)
    check(trace, units, 700, list(range(trace.layers)))
    assert [u["seen"] for u in units if u["now"]] == [True]

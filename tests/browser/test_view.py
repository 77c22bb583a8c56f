"""The linked view in a browser: it says what the trace says, and keeps up with the hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.speech.words import words_of
from dcp.trace import ALIVE, Trace
from tests.app.conftest import PlainTagger
from tests.browser.static_view import Page, Show, at, frame, opener, point, until
from tests.helpers.traces import DESIGN, make_trace, random_trace

HOSTILE = [
    "<script>",
    "globalThis.pwned=1",
    "</script>",
    ' <img src="x" onerror="globalThis.pwned=1">',
    " 🙂",
    " \u202eback",
    " né",
    " end",
]


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    """``show(trace, words=None, **window)`` -> the static page of a trace, painted."""
    return opener(window, tmp_path)


@pytest.mark.parametrize("tokens", [1, 2, 63])
def test_counts_are_those_of_the_trace(show: Show, tokens: int) -> None:
    trace = random_trace(3, layers=3, tokens=tokens, prompt_tokens=max(1, tokens // 2))
    page = show(trace)
    held = page.evaluate("Array.from(dcpView.counts.held)")
    assert np.array_equal(np.reshape(held, trace.held().shape), trace.held())


def test_words_are_struck_when_their_last_living_token_is_dropped(
    show: Show,
) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    words = words_of(trace, PlainTagger())
    for step, layer in ((60, 1), (150, 3)):
        at(page, step=step, layer=layer, text="layer")
        struck = page.eval_on_selector_all(".u.out", "all => all.map((e) => e.textContent)")
        gone = [
            w.text
            for w in words
            if w.first <= step and (trace.death[layer, w.first : w.last + 1] <= step).all()
        ]
        assert struck == gone


def test_the_story_tells_each_drop_up_to_the_step(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    token, step = 60, 150
    at(page, step=step, token=token, layer=2)
    story = page.inner_text(".story")
    drops = trace.death[:, token]
    assert f"Dropped in layer 2 at step {drops[2]}" in story
    assert f"“{trace.piece(int(drops[2])).strip()}” was read" in story
    assert f"held in {int((drops > step).sum())} of 6 layers" in story
    at(page, step=40)
    assert "will be read at step 60" in page.inner_text(".story")


def test_the_story_of_a_rule_names_the_token_after_which_it_decided(show: Show) -> None:
    pieces = ["one", " two", " three", " four", " five", " six"]
    death = np.array([[3, -1, 4, -1, -1, -1], [-1, 4, -1, -1, -1, -1]])
    trace = make_trace(pieces, death, policy="h2o", budget=3)
    page = show(replace(trace, margin=np.full_like(trace.margin, np.nan)))
    at(page, step=5, token=0, layer=0)
    story = page.inner_text(".story")
    assert "Dropped in layer 0 before step 3, after “three” was read" in story
    assert "After it was read, H2O dropped nothing." in story
    at(page, token=3)
    story = page.inner_text(".story")
    assert "After it was read, H2O dropped “three” in layer 0, and 1 entry in 1 other" in story
    at(page, step=3, token=-1)
    story = page.inner_text(".story")
    assert (
        "At step 3 “four” was read. Before it, after “three” was read, H2O dropped “one”" in story
    )
    x, y = point(page, 0, 2)
    page.hover("canvas", position={"x": x, "y": y})
    frame(page)
    assert "dropped before step 4 (still to come), after “four” was read" in page.inner_text(".tip")
    # The gates under a budget: one by its gate, which leaves its logit, one by the budget.
    trace = make_trace(pieces, death, policy="gates", budget=3)
    margin = trace.margin.copy()
    margin[0, 2] = np.nan
    page = show(replace(trace, margin=margin))
    at(page, step=5, token=0, layer=0)
    assert "Dropped in layer 0 at step 3, when “four” was read" in page.inner_text(".story")
    at(page, token=2)
    assert "Dropped in layer 0 before step 4, after “four” was read" in page.inner_text(".story")


def test_without_a_choice_the_story_tells_what_the_step_dropped(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    layer = 1
    step = int(np.bincount(trace.death[layer][trace.death[layer] != ALIVE]).argmax())
    at(page, step=step, layer=layer, token=-1)
    total = int((trace.death == step).sum())
    assert f"dropped {total} entries here" in page.inner_text(".story")


def test_keys_step_choose_layers_and_clear(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    page.focus(".scrub")
    at(page, step=100, layer=2, token=-1)
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    state = page.evaluate("dcpView.state")
    assert (state["step"], state["layer"], state["token"]) == (101, 3, 101)
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Home")
    assert page.evaluate("[dcpView.state.step, dcpView.state.token]") == [0, -1]
    page.keyboard.press("End")
    frame(page)
    assert page.get_attribute(".scrub", "aria-valuenow") == "198"


def test_the_handle_is_on_the_shared_axis(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    box = page.locator(".scrub").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 15)
    page.mouse.down()
    for step in (150, 77):
        x, _ = point(page, 0, step)
        page.mouse.move(page.locator("canvas").bounding_box()["x"] + x, box["y"] + 15, steps=4)
        frame(page)
        assert page.inner_text(".grip") == str(step)
    page.mouse.up()


def test_a_click_on_a_cell_opens_its_layer_and_lights_its_word(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    at(page, step=150, layer=0, token=-1)
    x, y = point(page, 4, 60)
    page.click("canvas", position={"x": x, "y": y})
    frame(page)
    assert page.evaluate("[dcpView.state.layer, dcpView.state.token]") == [4, 60]
    assert page.inner_text(".text .sel") == trace.piece(60).strip()


def test_hovering_tells_everything_about_a_cell(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    at(page, step=150)
    x, y = point(page, 2, 60)
    page.hover("canvas", position={"x": x, "y": y})
    frame(page)
    tip = page.inner_text(".tip")
    death = int(trace.death[2, 60])
    for part in (
        "“2005”",
        "noun",
        "token 60 · layer 2",
        "read at step 60",
        f"dropped at step {death}",
        trace.piece(death).strip(),
        "gate logit at the drop",
        "of this layer’s drops",
    ):
        assert part in tip


def test_filters_count_only_what_they_let_through(show: Show) -> None:
    trace = Trace.load(DESIGN)
    words = words_of(trace, PlainTagger())
    page = show(trace, words)
    page.get_by_role("button", name="punctuation", exact=True).click()
    frame(page)
    points = {w.first for w in words if w.pos == "PUNCT"}
    shown = page.evaluate("Array.from(dcpView.counts.held)")
    held = np.reshape(shown, (trace.layers, trace.n_queries))
    for step in (50, 198):
        wanted = [sum(bool(row[j]) for j in points) for row in trace.visible(step)]
        assert held[:, step].tolist() == wanted


def test_hostile_text_is_shown_and_never_run(show: Show) -> None:
    trace = make_trace(HOSTILE, np.full((2, len(HOSTILE)), -1), prompt_tokens=4)
    page = show(trace)
    shown = page.eval_on_selector(".text", "(e) => e.textContent")
    assert shown.replace("the model wrote", "") == trace.text
    for token in range(len(HOSTILE)):
        at(page, token=token)
    assert page.evaluate("globalThis.pwned") is None
    assert page.locator(".text img, .text script, .story img, .tip img").count() == 0


def test_many_requests_are_one_redraw_per_frame(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    drawn = page.evaluate(
        """async () => {
          let n = 0; const draw = dcpView.render.bind(dcpView);
          dcpView.render = (t) => { n++; draw(t); };
          for (let i = 0; i < 50; i++) dcpView.go(i);
          await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
          return [n, dcpView.grip.textContent];
        }"""
    )
    assert drawn == [1, "49"]


def test_play_runs_to_the_end_and_stops(show: Show) -> None:
    page = show(random_trace(1, tokens=60))
    page.evaluate(
        """() => {
          const draw = dcpView.render.bind(dcpView);
          dcpView.seen = [];
          dcpView.render = (t) => { draw(t); dcpView.seen.push(dcpView.state.step); };
        }"""
    )
    page.get_by_role("button", name="Play the run step by step").click()
    until(page, "!dcpView.playing && dcpView.state.step === 59 && dcpView.seen.length > 1")
    frame(page)
    seen = page.evaluate("dcpView.seen")
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == 59


def test_a_growing_run_stays_at_its_newest_step_unless_scrubbed_back(
    show: Show,
) -> None:
    from dcp.viewer.payload import payload

    trace = random_trace(5, tokens=40, prompt_tokens=20)

    def grown(tokens: int, running: bool) -> dict[str, Any]:
        death = np.where(trace.death[:, :tokens] < tokens - 1, trace.death[:, :tokens], -1)
        part = make_trace(
            trace.fragments()[:tokens], death, prompt_tokens=20, n_queries=tokens - (tokens > 20)
        )
        return payload(part, run_id="live", running=running, planned=40)

    page = show(trace)
    for tokens in (20, 25, 30):
        page.evaluate("(p) => dcpView.update(p)", grown(tokens, True))
        until(page, "dcpView.state.step === dcpView.run.Q - 1")
    width = page.evaluate("dcpView.geo.cw")
    page.focus(".scrub")
    page.keyboard.press("Home")
    page.evaluate("(p) => dcpView.update(p)", grown(35, True))
    frame(page)
    assert page.evaluate("dcpView.state.step") == 0
    assert page.evaluate("dcpView.geo.cw") == width
    page.get_by_role("button", name="newest").click()
    page.evaluate("(p) => dcpView.update(p)", grown(40, False))
    until(page, "dcpView.state.step === dcpView.run.Q - 1")
    assert (
        page.eval_on_selector(".text", "(e) => e.textContent").replace("the model wrote", "")
        == trace.text
    )


def test_narrow_and_dark_windows_fit(show: Show) -> None:
    page = show(Trace.load(DESIGN), width=420, height=900, dark=True)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    assert page.get_attribute(".dcp", "data-theme") == "dark"
    columns = page.eval_on_selector(".tiles", "(e) => getComputedStyle(e).gridTemplateColumns")
    assert len(columns.split()) == 2


def test_text_already_read_keeps_a_contrast_of_four_and_a_half(show: Show) -> None:
    for dark in (False, True):
        page = show(Trace.load(DESIGN), dark=dark)
        inks = page.evaluate(
            """() => {
              const css = getComputedStyle(document.querySelector(".dcp"));
              return ["--faint", "--panel"].map((k) => css.getPropertyValue(k).trim());
            }"""
        )
        assert contrast(*inks) >= 4.5


def contrast(one: str, two: str) -> float:
    """WCAG contrast of two hex colours."""

    def light(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)

"""What the linked view offers beyond a step and a layer: arcs, grain, density, zoom, film, ears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcp.trace import ALIVE, Trace
from tests.browser.static_view import Page, Show, at, frame, opener, point, press, until
from tests.helpers.traces import DESIGN, make_trace, random_trace


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    return opener(window, tmp_path)


def pixels(page: Page, x: float, y: float, width: float, height: float) -> np.ndarray:
    """[h, w, 4] of the canvas, in device pixels of a window at scale one."""
    box = [round(x), round(y), round(width), round(height)]
    found = page.evaluate("(b) => Array.from(dcpView.ctx.getImageData(...b).data)", box)
    return np.reshape(found, (box[3], box[2], 4))


def test_the_text_is_cut_as_asked_and_never_loses_a_letter(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    counts = {}
    for grain in ("token", "word", "sentence"):
        press(page, "by", grain)
        text = page.eval_on_selector(".text", "(e) => e.textContent")
        assert text.replace("the model wrote", "") == trace.text
        counts[grain] = page.locator(".u").count()
    assert counts["token"] > counts["word"] > counts["sentence"] > 3
    at(page, step=198, layer=3, text="layer")
    struck = page.locator(".u.out").all_inner_texts()
    gone = trace.death[3] <= 198
    for sentence in struck:
        start = trace.text.index(sentence)
        inside = (trace.offsets[:, 0] >= start) & (trace.offsets[:, 1] <= start + len(sentence))
        assert gone[inside].all()


def test_density_changes_the_size_of_the_text(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    sizes = []
    for name in ("tight", "normal", "airy"):
        press(page, "set", name)
        sizes.append(
            page.eval_on_selector(".text", "(e) => parseFloat(getComputedStyle(e).fontSize)")
        )
    assert sizes == sorted(set(sizes))


def test_the_reverse_story_names_what_a_token_dropped(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    deaths = trace.death[1]
    dropper = int(np.bincount(deaths[deaths != ALIVE]).argmax())
    victims = np.flatnonzero(deaths == dropper)
    at(page, step=198, layer=1, token=dropper, text="layer", grain="token")
    story = page.inner_text(".story").split("Reading it dropped")[1]
    for j in victims[:6]:
        assert trace.piece(int(j)).strip() in story
    assert page.locator(".text .vic").count() >= 1
    page.locator(".story .tok").last.click()
    frame(page)
    assert page.evaluate("dcpView.state.token") in victims


def test_arcs_join_dropper_and_dropped_and_can_be_put_away(show: Show) -> None:
    death = np.full((1, 40), -1)
    death[0, 4] = 30
    page = show(make_trace([f" w{i}" for i in range(40)], death))
    at(page, step=39)
    without = page.evaluate("dcpView.geo.H")
    press(page, "arcs", "on")
    assert page.evaluate("dcpView.geo.H") > without
    at(page, token=4)
    box = page.evaluate("[dcpView.geo.arc, dcpView.geo.arcH, dcpView.X(4), dcpView.X(30)]")
    top, height, x0, x1 = box
    inked = pixels(page, x0, top - 2, x1 - x0, height - 12)[..., 3] > 0
    assert inked.any(0).mean() > 0.8
    outside = pixels(page, x1 + 40, top - 2, 60, height - 2)[..., 3] > 0
    assert not outside.any()
    at(page, step=29, token=-1)
    # Short of the scrubber, which crosses all panels.
    assert not (pixels(page, x0, top - 2, 0.9 * (x1 - x0), height - 12)[..., 3] > 0).any()


def test_dropped_now_differs_from_held_by_shape(show: Show) -> None:
    death = np.full((1, 20), -1)
    death[0, 3] = 10
    page = show(make_trace([f" w{i}" for i in range(20)], death))
    at(page, step=10, layer=0)
    notches = []
    for token in (3, 4):
        x, y = point(page, 0, token)
        column = pixels(page, x, y - 9, 1, 18)[:, 0, :3].astype(int)
        notches.append(len(np.unique(column[3:-3], axis=0)) > 1)
    assert notches == [True, False]


def test_no_cell_is_lost_where_tokens_are_smaller_than_pixels(show: Show) -> None:
    tokens = 4001
    death = np.arange(tokens)[None] + 1
    death[0, -1] = -1
    death[0, 2000] = ALIVE
    page = show(make_trace([" w"] * tokens, death))
    at(page, step=tokens - 1, layer=0)
    x, y = point(page, 0, 2000)
    cell = pixels(page, x - 2, y - 6, 5, 1)[0, :, :3].astype(int)
    far = pixels(page, x + 40, y - 6, 5, 1)[0, :, :3].astype(int)
    assert np.abs(cell - far).sum(1).max() > 40


def test_zoom_shows_where_it_is_and_the_film_runs_through_it(show: Show) -> None:
    page = show(random_trace(1, tokens=200))
    at(page, step=100)
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    frame(page)
    first, last = page.evaluate("dcpView.view")
    assert last - first == pytest.approx(25)
    assert first <= 100 < last
    edge = page.evaluate("dcpView.geo.x1")
    page.click("canvas", position={"x": edge - 3, "y": page.evaluate("dcpView.geo.map") + 3})
    frame(page)
    assert page.evaluate("dcpView.view[1]") == 200
    press(page, "speed", "4×")
    at(page, step=150)
    page.get_by_role("button", name="Play the run step by step").click()
    until(page, "!dcpView.playing && dcpView.state.step === 199")


def test_the_speed_chosen_is_the_speed_of_the_film(show: Show) -> None:
    page = show(random_trace(1, tokens=500))
    reached = []
    for name in ("½×", "4×"):
        press(page, "speed", name)
        at(page, step=0)
        step = page.evaluate(
            """() => {
              dcpView.begin();
              dcpView.advance(dcpView.playing + 1000);
              dcpView.stop();
              return dcpView.state.step;
            }"""
        )
        reached.append(step)
    assert reached == [17, 142]


def test_what_is_seen_is_said(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    page.focus(".scrub")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelector('[role=status]').textContent.includes('read')")
    layer = page.evaluate("dcpView.state.layer")
    assert f"lifelines of layer {layer}" in page.get_attribute("canvas", "aria-label")
    assert "at step 0" in page.get_attribute("canvas", "aria-label")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button")]
          .filter((b) => !(b.getAttribute("aria-label") || b.textContent).trim()).length"""
    )
    assert unnamed == 0


def test_a_place_asked_for_is_followed_once(show: Show) -> None:
    from dcp.viewer.payload import payload

    trace = Trace.load(DESIGN)
    page = show(trace)
    asked = payload(trace, run_id="a", at={"layer": 2, "step": 50, "token": 12, "n": 1})
    page.evaluate("(p) => dcpView.update(p)", asked)
    assert page.evaluate("dcpView.where()") == '{"layer":2,"step":50,"token":12}'
    page.evaluate("() => { dcpView.go(60); dcpView.setLayer(4); }")
    page.evaluate("(p) => dcpView.update(p)", asked)
    assert page.evaluate("dcpView.where()") == '{"layer":4,"step":60,"token":12}'
    hostile = payload(trace, run_id="a", at={"layer": 99, "step": -5, "token": 4000, "n": 2})
    page.evaluate("(p) => dcpView.update(p)", hostile)
    assert page.evaluate("dcpView.where()") == '{"layer":4,"step":60,"token":null}'


def test_four_hundred_pixels_are_enough(show: Show) -> None:
    page = show(Trace.load(DESIGN), width=400, height=800, dark=True)
    press(page, "arcs", "on")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    wide = page.evaluate(
        """() => [...document.querySelectorAll(".dcp button:not([hidden])")]
          .filter((b) => b.getBoundingClientRect().right > innerWidth).length"""
    )
    assert wide == 0

"""The picture under the text: drops per step, sentences, names, zoom, every layer, many layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.trace import ALIVE, Trace
from dcp.ui.samples import load_sample
from dcp.viewer.payload import payload
from tests.browser.static_view import Page, Show, at, frame, opener, point, press, until
from tests.helpers.traces import DESIGN, make_trace, random_deaths, random_trace


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    return opener(window, tmp_path)


def clearing(tokens: int = 120, layers: int = 3, every: int = 20) -> Trace:
    """Each full stop drops what was read before it, in all layers but the first."""
    words = [" end." if j % every == every - 1 else f" w{j}" for j in range(tokens)]
    words = [" ." if word == " end." else word for word in words]
    stops = np.array([j for j in range(tokens) if j % every == every - 1])
    death = np.full((layers, tokens), -1)
    for j in range(tokens):
        later = stops[stops > j]
        if later.size:
            death[1:, j] = later[0]
    death[0, 7] = 50
    return make_trace(words, death)


def drops(trace: Trace) -> np.ndarray:
    gone = trace.death[trace.death != ALIVE]
    return np.bincount(gone, minlength=trace.n_queries)


def test_the_track_counts_the_drops_of_each_step(show: Show) -> None:
    trace = random_trace(4, layers=4, tokens=150)
    page = show(trace)
    assert page.evaluate("Array.from(dcpView.counts.drops)") == drops(trace).tolist()
    x, y, height = page.evaluate(
        """(t) => [dcpView.X(t) + dcpView.geo.cw / 2, dcpView.geo.track, dcpView.geo.trackH]""",
        int(drops(trace).argmax()),
    )
    column = page.evaluate(
        "([x, y, h]) => Array.from(dcpView.ctx.getImageData(x, y, 1, h).data)",
        [round(x), round(y), round(height)],
    )
    inked = np.reshape(column, (-1, 4))[:, 3] > 0
    assert inked.mean() > 0.9, "the highest step fills the track"


def test_the_sentences_name_what_clears_the_memory_and_go_to_its_step(show: Show) -> None:
    trace = clearing()
    page = show(trace)
    found = page.locator(".finding")
    assert found.count() == 3
    first, second, third = found.all_inner_texts()
    count = drops(trace)
    assert first.startswith("Full stops clear the memory")
    share = count[19::20].sum() / count.sum()
    assert f"{100 * share:.0f}\u00a0% of all in" in first
    assert f"largest drop: {count.max()} entries" in second
    assert f"in 2 of {trace.layers} layers" in second
    held = trace.held()[:, -1] / trace.n_queries
    assert f"layer 1 keeps {100 * held[1]:.0f}\u00a0%" in third
    for nth, layer in ((0, None), (1, None), (2, 1)):
        step = int(found.nth(nth).locator(".to").inner_text().split()[1])
        found.nth(nth).click()
        frame(page)
        assert page.evaluate("dcpView.state.step") == step
        if layer is not None:
            assert page.evaluate("dcpView.state.layer") == layer
    assert count[page.evaluate("dcpView.counts.peaks[0]")] == count.max()


def test_sentences_are_whole_at_every_width(show: Show) -> None:
    """On the sample of thirty layers, whose sentences are the longest there are."""
    page = show(load_sample("smollm2-135m/sample")[0], width=1280)
    first = page.locator(".finding .sentence").first
    assert first.inner_text().startswith("New sentences clear the memory: first words drop")
    for width in (1280, 1180, 1000, 900, 400):
        page.set_viewport_size({"width": width, "height": 900})
        frame(page)
        for sentence in page.locator(".finding .sentence").all():
            cut = sentence.evaluate("(s) => s.scrollHeight - s.clientHeight")
            assert cut <= 0, f"{sentence.inner_text()!r} is cut at {width} px"
    # A step that dropped nothing is said once, of all layers.
    gone = load_sample("smollm2-135m/sample")[0].death
    at(page, step=next(t for t in range(100, 170) if not (gone == t).any()), token=-1)
    frame(page)
    story = page.locator(".story").inner_text()
    assert "was read and no layer dropped anything. Choose a word" in story


def test_sentences_claim_nothing_where_drops_come_evenly(show: Show) -> None:
    tokens = 200
    death = np.minimum(np.arange(tokens) + 5, tokens)[None].repeat(2, 0)
    death[:, -6:] = -1
    words = [" ." if j % 9 == 8 else f" w{j}" for j in range(tokens)]
    page = show(make_trace(words, death))
    first, _, third = page.locator(".finding").all_inner_texts()
    assert first.startswith("Drops come evenly")
    assert third.startswith("Layers are alike")
    page = show(make_trace([" w"] * 30, np.full((2, 30), -1)))
    assert page.locator(".finding").all_inner_texts()[0].startswith("Nothing is dropped")


def test_a_line_break_is_not_blamed_for_what_full_stops_do(show: Show) -> None:
    trace = clearing()
    broken = [piece + ("\n" if j in {33, 71} else "") for j, piece in enumerate(trace.fragments())]
    page = show(make_trace(broken, np.where(trace.death == ALIVE, -1, trace.death)))
    assert page.locator(".finding").first.inner_text().startswith("Full stops clear the memory")


def test_current_hovered_and_chosen_columns_are_named(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    names = """() => {
      const said = [], real = dcpView.ctx.fillText;
      dcpView.ctx.fillText = function (t, ...rest) { said.push(t); real.call(this, t, ...rest); };
      dcpView.render(performance.now());
      delete dcpView.ctx.fillText;
      return said;
    }"""
    piece = "(j) => dcpView.run.text.slice(...dcpView.run.spans.subarray(2 * j, 2 * j + 2)).trim()"
    at(page, step=150, token=60)
    x, y = point(page, 1, 20)
    page.hover("canvas", position={"x": x, "y": y})
    frame(page)
    said = page.evaluate(names)
    for j in (150, 60, 20):
        assert any(page.evaluate(piece, j) in text for text in said), j
    page.evaluate("() => dcpView.zoom(8, 60)")
    frame(page)
    said = page.evaluate(names)
    first, last = page.evaluate("dcpView.window()")
    inside = range(int(np.ceil(first)), int(last))
    marks = {".": "full stop", ",": "comma", ":": "colon", ";": "semicolon"}
    pieces = [page.evaluate(piece, j) for j in inside]
    assert all(any(marks.get(name, name)[:8] in text for text in said) for name in pieces)


def test_zoom_keeps_what_is_under_the_pointer(show: Show) -> None:
    page = show(random_trace(1, tokens=400))
    at(page, step=10)
    x, y = point(page, 1, 300)
    page.hover("canvas", position={"x": x, "y": y})
    frame(page)
    for zoomed in ("page.keyboard.press('+')", "wheel"):
        if zoomed == "wheel":
            page.keyboard.down("Control")
            page.mouse.wheel(0, -200)
            page.keyboard.up("Control")
        else:
            page.evaluate("() => dcpView.canvas.focus()")
            page.keyboard.press("+")
        frame(page)
        assert abs(page.evaluate("(x) => dcpView.token(x)", x) - 300.5) < 2
    first, last = page.evaluate("dcpView.window()")
    assert last - first < 250


def test_the_tip_never_lies_on_the_panel_under_the_pointer(show: Show) -> None:
    for width in (1440, 400):
        page = show(Trace.load(DESIGN), width=width, height=1500)
        at(page, step=150)
        for layer in range(6):
            x, y = point(page, layer, 60)
            page.hover("canvas", position={"x": x, "y": y})
            frame(page)
            top = page.evaluate("dcpView.tip.offsetTop")
            assert top >= page.evaluate("dcpView.geo.heat + dcpView.geo.rows.total")
            assert page.evaluate("dcpView.tip.offsetLeft >= 0")
            right = "dcpView.tip.offsetLeft + dcpView.tip.offsetWidth <= dcpView.geo.W + 1"
            assert page.evaluate(right)


def test_every_layer_is_drawn_at_once_and_opens_by_a_click(show: Show) -> None:
    trace = random_trace(9, layers=8, tokens=90)
    page = show(trace)
    press(page, "lifelines", "every layer")
    at(page, step=trace.n_queries - 1)
    painted = page.evaluate(
        """() => dcpView.panels.map((p) => {
          const { width, height } = p.image, seen = new Array(height).fill(0);
          for (let y = 0; y < height; y++)
            for (let x = 0; x < width; x++) seen[y] += p.out[y * width + x] > 0;
          return [width, height, seen];
        })"""
    )
    assert len(painted) == 8
    for layer, (width, height, seen) in enumerate(painted):
        held = trace.held()[layer]
        steps = np.minimum((np.arange(height) + 0.5) / height * trace.tokens, trace.n_queries - 1)
        wanted = held[steps.astype(int)] * width / trace.tokens
        assert np.abs(np.array(seen) - wanted).mean() < 0.04 * width, layer
    x, y = page.evaluate(
        """() => {
          const { columns, w, h } = dcpView.geo.grid, l = 5;
          return [1 + (l % columns) * (w + 12) + w * 0.2,
                  dcpView.geo.life + Math.floor(l / columns) * (h + 22) + 16 + h * 0.6];
        }"""
    )
    page.click("canvas", position={"x": x, "y": y})
    frame(page)
    assert page.evaluate("dcpView.state.layer") == 5
    assert page.evaluate("dcpView.state.token") == pytest.approx(18, abs=2)


def test_held_for_how_long_is_a_colour(show: Show) -> None:
    death = np.full((1, 64), -1)
    death[0, 3], death[0, 5] = 5, 60
    page = show(make_trace([f" w{j}" for j in range(64)], death))
    press(page, "colour", "held for")
    at(page, step=4, layer=0)
    colours = []
    for token in (3, 4):
        x, y = point(page, 0, token)
        pixel = page.evaluate(
            "(p) => Array.from(dcpView.ctx.getImageData(...p, 1, 1).data)", [round(x), round(y - 6)]
        )
        colours.append(np.array(pixel[:3]))
    assert np.abs(colours[0].astype(int) - colours[1]).sum() > 60
    assert "held for" in page.inner_text(".keys")


@pytest.mark.parametrize("width", [1440, 400])
def test_thirty_layers_are_rows_that_can_be_told_apart(show: Show, width: int) -> None:
    rng = np.random.default_rng(2)
    trace = make_trace([f" w{j}" for j in range(300)], random_deaths(rng, 30, 300, 300))
    page = show(trace, width=width, height=900)
    rows = page.evaluate("dcpView.geo.rows")
    assert len(rows["top"]) == 30
    assert rows["total"] < 340
    assert rows["groups"] == [[0, 5], [6, 11], [12, 17], [18, 23], [24, 29]]
    chosen = page.evaluate("dcpView.state.layer")
    assert rows["height"][chosen] >= 20
    assert min(rows["height"]) >= 5
    for layer in (0, 13, 29):
        x, y = point(page, layer, 100)
        page.click("canvas", position={"x": x, "y": y})
        frame(page)
        assert page.evaluate("dcpView.state.layer") == layer
        assert page.evaluate("dcpView.geo.rows.total") == rows["total"]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_film_begins_by_itself_once(window: Callable[..., Page], tmp_path: Path) -> None:
    trace = random_trace(1, tokens=120)

    def played(**more: Any) -> dict[str, Any]:
        return payload(trace, run_id="film", play=True, **more)

    page = opener(window, tmp_path)(trace, motion=True)
    page.evaluate("(p) => dcpView.update(p)", played())
    until(page, "dcpView.playing && dcpView.state.step > 3 && dcpView.state.step < 100")
    page.evaluate("() => dcpView.stop()")
    page.evaluate("(p) => dcpView.update(p)", payload(trace, run_id="other"))
    page.evaluate("(p) => dcpView.update(p)", played())
    frame(page)
    assert page.evaluate("dcpView.playing") == 0
    fresh = opener(window, tmp_path)(trace, motion=True)
    fresh.evaluate("(p) => dcpView.update(p)", played(at={"step": 50, "n": 1}))
    frame(fresh)
    assert fresh.evaluate("[dcpView.playing, dcpView.state.step]") == [0, 50]


def test_the_film_does_not_begin_for_who_asked_for_less_motion(show: Show) -> None:
    trace = random_trace(1, tokens=60)
    page = show(trace)
    page.evaluate("(p) => dcpView.update(p)", payload(trace, run_id="film", play=True))
    frame(page)
    assert page.evaluate("[dcpView.playing, dcpView.state.step]") == [0, 59]


@pytest.mark.parametrize(("version", "says"), [(2, "newer"), (0, "older"), (None, "older")])
def test_a_payload_of_another_version_is_refused_in_a_sentence(
    show: Show, version: int | None, says: str
) -> None:
    trace = random_trace(1, tokens=20)
    page = show(trace)
    page.evaluate("(p) => dcpView.update(p)", payload(trace) | {"version": version})
    assert says in page.inner_text("[role=alert]")
    assert not page.locator("canvas").is_visible()
    page.evaluate("(p) => dcpView.update(p)", payload(trace))
    assert page.locator("canvas").is_visible()


def test_held_never_exceeds_dense_at_any_step(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    memory = trace.meta.memory
    for step in (0, 5, 60, 150, trace.n_queries - 1):
        at(page, step=step)
        tile = page.locator(".tile").nth(1).inner_text()
        live = int(trace.held()[:, step].sum()) * memory.entry
        unit = f"{live / 1024:.1f} KiB" if live >= 1024 else f"{live} B"
        assert tile.replace("\u00a0", " ").startswith(unit)
        assert ("allocated" in tile) == (step == trace.n_queries - 1)
        over, under = page.evaluate(
            "[dcpView.tile.memory.over, dcpView.tile.memory.under]"
            ".map((e) => parseFloat(e.style.transform.slice(7)))"
        )
        assert max(over, under) <= 1
        dense = trace.layers * (step + 1)
        assert over == pytest.approx(trace.held()[:, step].sum() / dense, abs=0.0006)


# At every third of these steps: the pixels of the heatmap that are not those of one painted anew.
KEPT = """([choice, window, groups, steps]) => {
  for (const k in choice) dcpView.set(k, choice[k]);
  dcpView.view = window;
  dcpView.state.groups = groups;
  dcpView.refilter();
  let wrong = 0, moved = 0, before = null;
  for (const [i, step] of steps.entries()) {
    dcpView.state.step = step;
    dcpView.render(performance.now());
    if (i % 3) continue;
    const kept = dcpView.buffers.heat.out.slice();
    if (before) moved += kept.some((c, k) => c !== before[k]);
    dcpView.heat = null;
    dcpView.render(performance.now());
    before = dcpView.buffers.heat.out.slice();
    wrong += before.reduce((n, c, k) => n + (c !== kept[k]), 0);
  }
  return [wrong, moved];
}"""


def test_cells_kept_from_a_frame_are_those_painted_anew(show: Show) -> None:
    rng = np.random.default_rng(7)
    words = [f" w{i % 97}" if i % 5 else " and" for i in range(1900)]
    page = show(make_trace(words, random_deaths(rng, 4, 1899, 1900)))
    near = [600, 601, 603, 604, 602, 601, 590, 621, 622, 1000, 999, 998, 1898, 1897, 0, 1, 2, 3]
    for colour in ("state", "span", "close", "age"):
        for window, groups in ((None, 0), ([590.9, 650.9], 5), ([0, 1300], 5)):
            wrong, moved = page.evaluate(KEPT, [{"colour": colour}, window, groups, near])
            assert wrong == 0, (colour, window, groups)
            assert moved >= 3, "the steps change the picture"

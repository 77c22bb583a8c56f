"""What the reader asks of a run: the dial under the hand, the moment a word was written, a film."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.trace import ALIVE, Trace
from dcp.viewer.dial import Setting, dial
from dcp.viewer.payload import Speed, payload
from tests.browser.static_view import Page, Show, at, frame, opener, until
from tests.helpers.traces import DESIGN

SETTINGS = [Setting(None), Setting(0.0, 0.6, 1.02, 1024), Setting(-2.0, 0.9, 1.3, 1024)]


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    return opener(window, tmp_path)


def off(trace: Trace) -> Trace:
    """The same tokens with nothing dropped."""
    return dataclasses.replace(
        trace,
        death=np.full_like(trace.death, ALIVE),
        margin=np.full_like(trace.margin, np.nan),
        logprob=np.minimum(trace.logprob + 0.25, 0).astype(np.float32),
    )


def cut(trace: Trace, queries: int, tokens: int) -> Trace:
    """The run as it was after so many queries, with so many tokens known."""
    death = trace.death[:, :tokens].copy()
    death[death >= queries] = ALIVE
    meta = dataclasses.replace(
        trace.meta, text=trace.text[: int(trace.offsets[tokens - 1, 1])], n_queries=queries
    )
    return dataclasses.replace(
        trace,
        token_ids=trace.token_ids[:tokens],
        offsets=trace.offsets[:tokens],
        death=death,
        margin=trace.margin[:, :tokens],
        logprob=trace.logprob[:tokens],
        step_seconds=trace.step_seconds[:tokens],
        gates_off_logprob=None,
        kl=None,
        lost_attention=None,
        meta=meta,
    )


def update(page: Page, trace: Trace, **more: Any) -> None:
    page.evaluate("(p) => dcpView.update(p)", payload(trace, run_id="dialled", **more))
    frame(page)


def held(page: Page) -> int:
    return int(page.evaluate("dcpView.whole.total[dcpView.state.step]"))


def test_the_dial_swaps_deaths_and_asks_for_what_it_does_not_have(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    assert not page.locator(".dial").is_visible()
    found = dial(trace, SETTINGS, {None: off(trace)}, asks=True)
    update(page, trace, dial=found)
    page.evaluate("() => { globalThis.asked = []; dcpView.options.ask = (...a) => asked.push(a); }")
    last = trace.n_queries - 1
    kept, dense = int(trace.held()[:, last].sum()), trace.layers * trace.n_queries
    assert held(page) == kept
    hand = page.get_by_role("slider", name="How much is forgotten")
    hand.press("ArrowLeft")
    frame(page)
    assert held(page) == dense
    assert page.locator(".says").inner_text() == "nothing is dropped"
    assert page.locator(".tile").first.inner_text().startswith("0.0")
    assert page.locator(".text .u.out").count() == 0
    page.get_by_role("button", name="as it ran").click()
    frame(page)
    assert held(page) == kept
    assert page.evaluate("asked") == []
    hand.press("ArrowRight")
    frame(page)
    # Until it has been read the picture stays true to what it shows.
    assert page.evaluate("asked") == [["dial", {"shift": -2}]]
    assert held(page) == kept
    assert "again" in page.locator(".says").inner_text()
    death = np.full_like(trace.death, ALIVE)
    death[:, : last - 3] = np.arange(1, last - 2)
    more = dataclasses.replace(off(trace), death=death)
    update(page, trace, dial=dial(trace, SETTINGS, {-2.0: more}, asks=True))
    assert held(page) == int(more.held()[:, last].sum()) < kept


def test_a_written_word_tells_what_each_layer_held(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    token = int(page.locator(".text .gen[data-t]").nth(3).get_attribute("data-t"))
    rows = [["<b> hostile", 0.5, 0.25], [" plain", 0.125, 0.5]]
    story = {"step": token - 1, "kl": 0.5, "ranks": [0, 1], "drawn": 0, "rows": rows}
    update(page, trace, written={"asks": True, "found": {str(token): story}})
    assert not page.locator(".written").is_visible()
    page.locator(f".text .u[data-t='{token}']").click()
    frame(page)
    panel = page.locator(".written")
    assert panel.is_visible()
    for layer in range(trace.layers):
        line = panel.locator(".texts p").nth(layer).inner_text()
        alive = [j for j in range(token) if trace.death[layer, j] > token - 1]
        assert f"layer {layer} {len(alive)} of {token}" in " ".join(line.split())
        text = panel.locator(".texts .held").nth(layer).text_content()
        assert trace.fragments()[alive[-1]].strip() in text
    assert panel.locator("table tr").count() == 3
    assert panel.locator("table b").count() == 0
    assert "<b> hostile" in panel.inner_text()
    assert "50.0" in panel.locator("td").first.inner_text()
    assert "number 2 without forgetting" in panel.inner_text()
    # The keys are with the text after a click there, with the panel when a button opened it.
    page.keyboard.press("Escape")
    frame(page)
    assert not panel.is_visible()
    at(page, token=token)
    page.get_by_role("button", name="What did it know").click()
    frame(page)
    assert panel.is_visible()
    page.keyboard.press("Escape")
    frame(page)
    assert not panel.is_visible()
    at(page, token=token)
    page.get_by_role("button", name="What did it know").click()
    panel.get_by_role("button", name="close").click()
    frame(page)
    assert not panel.is_visible()
    assert page.evaluate("document.activeElement === dcpView.text.box")
    # A word that the reader wrote was not written by the model.
    page.locator(".text .u:not(.gen)[data-t]").first.click()
    frame(page)
    assert not panel.is_visible()


def test_reading_and_writing_are_two_things_that_tell_one_moment(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    prompt, more = trace.prompt_tokens, 40
    read = cut(trace, prompt - 5, prompt)
    update(page, read, running=True, planned=prompt + more, line="from the server")
    until(page, f"dcpView.state.step === {prompt - 6}")
    frame(page)
    assert page.locator(".line").inner_text() == (
        f"Reading your text: {prompt - 5} of {prompt} tokens."
    )
    assert "not writing yet" in page.locator(".tile").nth(3).inner_text()
    speed = Speed(now=12.5, mean=11, first=0.25, process=2**28)
    written = cut(trace, prompt + 8, prompt + 9)
    update(page, written, running=True, planned=prompt + more, speed=speed)
    until(page, f"dcpView.state.step === {prompt + 7}")
    frame(page)
    assert page.locator(".line").inner_text() == f"Writing: 9 of {more} tokens."
    tile = page.locator(".tile").nth(3).inner_text()
    assert "12.5 tok/s" in tile
    assert "writing now" in tile
    assert "process 256 MiB" in page.locator(".tile").nth(1).inner_text()
    # About to be replaced: pale at once, where it was, under a line that is not.
    update(page, written, dimmed=True, line="You are next.")
    assert page.locator(".line").inner_text() == "You are next."
    assert page.evaluate("[dcpView.box.hasAttribute('data-dimmed'), dcpView.state.step]") == [
        True,
        prompt + 7,
    ]


def test_film_and_picture_are_made_in_the_browser(show: Show) -> None:
    trace = Trace.load(DESIGN)
    page = show(trace)
    page.evaluate("() => { dcpView.options.filmSeconds = 1.5; }")
    page.get_by_text("share", exact=True).click()
    assert not page.get_by_role("button", name="Copy link").is_visible()
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save picture").click()
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")
    assert picture.value.suggested_filename.endswith(f"_step{trace.n_queries - 1}.png")
    with page.expect_download() as film:
        page.get_by_role("button", name="Save film").click()
        until(page, "/Filming: \\d+ %/.test(dcpView.sharing.said.textContent)")
    # The magic number of Matroska, which WebM is.
    assert Path(film.value.path()).read_bytes().startswith(b"\x1a\x45\xdf\xa3")
    assert film.value.suggested_filename.endswith(".webm")
    until(page, "dcpView.sharing.said.textContent === 'Saved.'")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (400, 860)])
def test_one_screen_holds_text_handle_and_heatmap(show: Show, width: int, height: int) -> None:
    page = show(Trace.load(DESIGN), width=width, height=height)
    places = page.evaluate(
        """() => {
          const top = (e) => e.getBoundingClientRect();
          const c = top(dcpView.canvas), { heat, rows } = dcpView.geo;
          return [top(dcpView.text.box).bottom, top(dcpView.scrub).top, c.top + heat + rows.total];
        }"""
    )
    assert places == sorted(places)
    # The app puts about a hundred pixels over the view: navigation, title, the folded form.
    assert places[-1] <= height - 100

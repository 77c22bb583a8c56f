"""For everyone: axe-core finds nothing serious, few stops of the Tab key, arrow keys in groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcp.trace import Trace
from tests.browser.static_view import Page, Show, at, frame, opener, press, serious
from tests.helpers.traces import DESIGN


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Show:
    return opener(window, tmp_path)


def test_axe_would_find_pale_text_and_a_nameless_button(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    page.evaluate(
        """() => {
          dcpView.label.style.color = "#bbb";
          dcpView.box.append(document.createElement("button"));
        }"""
    )
    assert {found["rule"] for found in serious(page)} == {"color-contrast", "button-name"}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious(show: Show, width: int, dark: bool) -> None:
    page = show(Trace.load(DESIGN), width=width, dark=dark)
    assert serious(page) == []
    at(page, step=120, token=60)
    press(page, "bars show", "this layer")
    # One after the other: in a narrow window the open choices lie over the counters.
    page.get_by_text("display", exact=True).click()
    page.get_by_role("radiogroup", name="colour").wait_for()
    assert serious(page) == []
    page.keyboard.press("Escape")
    page.locator(".defs summary").click()
    page.locator(".defs dl").wait_for()
    assert serious(page) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_a_panel_closes_by_a_click_elsewhere_by_escape_and_when_the_keys_leave(
    show: Show, width: int
) -> None:
    page = show(Trace.load(DESIGN), width=width)
    for name in ("display", "share", "?"):
        summary = page.locator("summary", has_text=name)
        panel = summary.locator("xpath=..")
        opened = "dcpView.box.querySelectorAll('details[open]').length"
        summary.click()
        assert page.evaluate(opened) == 1
        # Inside it a click leaves it open.
        panel.locator("> :not(summary)").click(position={"x": 3, "y": 3})
        assert page.evaluate(opened) == 1
        page.mouse.click(3, 3)
        assert page.evaluate(opened) == 0
        summary.click()
        page.keyboard.press("Escape")
        assert page.evaluate(opened) == 0
        assert summary.evaluate("(e) => e === document.activeElement")
        summary.click()
        page.locator(".scrub").focus()
        assert page.evaluate(opened) == 0


def test_the_tab_key_reaches_the_film_in_a_few_stops(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "document.activeElement.getAttribute('aria-label')"
            " || document.activeElement.textContent"
        )
        stops.append(name)
        if name == "Play the run step by step":
            break
    assert stops[-1] == "Play the run step by step"
    assert len(stops) <= 16, stops


def test_arrow_keys_choose_in_a_group_and_the_choice_is_its_stop(show: Show) -> None:
    page = show(Trace.load(DESIGN))
    page.get_by_role("radio", name="all layers").focus()
    page.keyboard.press("ArrowRight")
    frame(page)
    assert page.evaluate("dcpView.state.text") == "layer"
    chosen = page.get_by_role("radio", name="this layer")
    assert chosen.get_attribute("aria-checked") == "true"
    assert chosen.evaluate("(e) => e === document.activeElement && e.tabIndex === 0")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("dcpView.state.text") == "share"
    page.get_by_role("button", name="nouns, adjectives", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("dcpView.state.groups") == 2

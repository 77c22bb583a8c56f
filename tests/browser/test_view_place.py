"""The linked view and the page agree on where the reader looks, and neither disturbs the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Page = Any
# The view lives in a shadow root; this finds it from a script.
BOX = """[...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
  .map((e) => e.shadowRoot && e.shadowRoot.querySelector(".dcp")).find(Boolean)"""


@pytest.fixture
def open_app(window: Callable[..., Page], app_address: str) -> Callable[..., Page]:
    """``open_app(query)`` -> a new window on the app, painted."""

    def open_one(query: str = "", **size: Any) -> Page:
        page = window(**size)
        page.goto(f"{app_address}/{query}")
        page.locator(".dcp canvas").wait_for()
        page.locator(".story").get_by_text("read").first.wait_for()
        return page

    return open_one


def test_a_scrub_is_told_to_the_page_and_draws_nothing_anew(open_app: Callable[..., Page]) -> None:
    page = open_app()
    assert "step=" not in page.url
    page.locator(".scrub").focus()
    page.keyboard.press("+")
    page.evaluate(f"() => {{ ({BOX}).mark = 1; }}")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url(re.compile(r"step=\d+"))
    step = int(page.locator(".grip").inner_text())
    assert f"step={step}" in page.url
    assert f"token={step}" in page.url
    assert re.search(r"layer=\d", page.url)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    assert page.evaluate(f"() => ({BOX}).mark") == 1
    assert int(page.locator(".grip").inner_text()) == step


def test_a_link_opens_its_layer_step_and_token(open_app: Callable[..., Page]) -> None:
    page = open_app("?layer=2&step=50&token=12")
    page.locator(".grip").get_by_text("50", exact=True).wait_for()
    assert "read at step 12" in page.locator(".story").inner_text()
    page.locator("canvas[aria-label*='lifelines of layer 2']").wait_for()


def test_a_cleared_token_leaves_the_address(open_app: Callable[..., Page]) -> None:
    page = open_app("?layer=2&step=50&token=12")
    page.locator(".grip").get_by_text("50", exact=True).wait_for()
    page.locator(".scrub").focus()
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "token=" not in url and "step=50" in url)


def test_a_browser_without_canvas_gets_the_simple_picture(
    window: Callable[..., Page], app_address: str
) -> None:
    page = window()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(app_address)
    page.get_by_text("This browser cannot draw the linked view").wait_for()
    page.locator(".js-plotly-plot").first.wait_for()

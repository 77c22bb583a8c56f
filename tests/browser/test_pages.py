"""Every page in a real browser: painted, linked, narrow, dark; entered by its own link on a cold
server; runs that outlive a page switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dcp.trace import Trace
from tests.browser.conftest import ROOT, serve
from tests.browser.pictures import compare, steady
from tests.browser.static_view import serious
from tests.browser.test_app import ask_for, open_form

Page = Any
Open = Callable[..., Page]
FILES = sorted((Path(__file__).resolve().parents[2] / "pages").glob("*.py"))
STEP = "[data-testid=stSlider]:has-text('Step') [data-testid=stSliderThumbValue]"
PAGES = ["", *(path.stem for path in FILES if path.stem != "explore")]


def settle(page: Page) -> None:
    """Wait until the page is painted and no skeleton stands in for a widget."""
    page.locator("h1").first.wait_for()
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stSkeleton]') && "
        "document.querySelector('[data-testid=stApp]').dataset.testScriptState !== 'running'"
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_by_its_link_and_looks_as_it_did(
    window: Open, app_address: str, name: str
) -> None:
    for width, dark in ((1280, False), (400, True)):
        page = window(width=width, height=900, dark=dark)
        page.goto(f"{app_address}/{name}?tour=off")
        settle(page)
        assert page.locator("[data-testid=stException]").count() == 0
        assert page.get_by_text("Traceback").count() == 0
        if name == "figures":
            page.get_by_text(re.compile(r"^\d+ figures\.$")).wait_for()
        if name:
            compare(steady(page), f"{name}_{'dark' if dark else 'light'}")
        assert serious(page) == []
        main = page.locator("[data-testid=stMain]")
        assert main.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
        # The sidebar is closed, so it hides nothing.
        assert page.locator("[data-testid=stSidebar][aria-expanded=true]").count() == 0
        page.context.close()


def test_a_place_is_in_the_address_of_every_page(window: Open, app_address: str) -> None:
    page = window()
    page.goto(f"{app_address}/?layer=2&step=40&token=7")
    page.locator(".dcp canvas").first.wait_for()
    page.get_by_role("link", name="Cost").first.click()
    page.get_by_role("heading", name="Cost").wait_for()
    page.wait_for_url(re.compile(r"/cost\?.*step=40"))
    assert re.search("layer=2", page.url)
    assert re.search("token=7", page.url)
    page.reload()
    settle(page)
    assert "step=40" in page.url
    assert page.locator(STEP).inner_text() == "40"


def test_a_hostile_address_is_a_quiet_note(window: Open, app_address: str) -> None:
    page = window()
    page.goto(f"{app_address}/?layer=99&step=-1&token=%3Cscript%3E&preset=%3Cb%3E&x={'y' * 500}")
    page.locator(".dcp canvas").first.wait_for()
    page.get_by_text("the link was followed in part").first.wait_for()
    page.wait_for_function("() => !location.search.includes('layer=')")
    assert page.locator("[data-testid=stException]").count() == 0


def test_typed_text_never_reaches_the_address(window: Open, app_address: str) -> None:
    page = window()
    page.goto(app_address)
    page.locator(".dcp canvas").first.wait_for()
    open_form(page)
    box = page.get_by_role("textbox", name="Your text")
    box.fill("Sesame is a private word.")
    box.press("Control+Enter")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".dcp .line").get_by_text(re.compile("^Done:")).wait_for()
    page.locator(".dcp .text [data-t]").nth(2).click()
    page.wait_for_url(re.compile("token="))
    for name in ("Cost", "Method"):
        page.get_by_role("link", name=name).first.click()
        page.get_by_role("heading", name=name).first.wait_for()
        assert "esame" not in page.url


def test_a_run_goes_on_while_another_page_is_open(window: Open, app_address: str) -> None:
    page = window()
    page.goto(app_address)
    page.locator(".dcp canvas").first.wait_for()
    ask_for(page, 200)
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".dcp .line").get_by_text(re.compile("^Writing:")).wait_for()
    page.get_by_role("link", name="Cost").first.click()
    page.get_by_text("A run is on.").wait_for()
    page.get_by_text("A run is on.").wait_for(state="detached")
    page.get_by_role("link", name="Explore").first.click()
    page.locator(".dcp .line").get_by_text(re.compile("^Done:.*200 written")).wait_for()
    open_form(page)
    page.get_by_text("writes 200 tokens").wait_for()


def test_the_sidebar_tells_what_made_the_run(window: Open, app_address: str) -> None:
    page = window()
    scripts: list[str] = []
    page.on("request", lambda request: scripts.append(request.url))
    page.goto(f"{app_address}/cost")
    settle(page)
    page.get_by_test_id("stExpandSidebarButton").click()
    facts = page.locator("[data-testid=stSidebar] .st-key-facts")
    facts.first.wait_for()
    made = Trace.load(ROOT / "assets" / "traces" / "sample.safetensors").meta
    for word in (made.model, made.weights_sha256[:8], made.dtype):
        assert word in facts.first.inner_text()
    link = page.locator("[data-testid=stSidebar] a[href*='arxiv.org/abs/2305.15805']")
    assert link.count() == 1
    # What colours code is 1.6 MB, and a new window's first picture would wait for it.
    colours = "SyntaxHighlighter"
    assert not [url for url in scripts if colours in url]
    page.locator("[data-testid=stSidebar]").get_by_text("How to cite").click()
    page.get_by_text("@inproceedings").first.wait_for()
    assert [url for url in scripts if colours in url], "Streamlit calls that script otherwise now"


@pytest.fixture
def cold_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that nobody has visited yet, with the tour on.

    It runs app.py itself: the folder pages/ beside it is what Streamlit would make its own app of.
    """
    with serve(tmp_path_factory, tour=True, script=ROOT / "app.py", model="dcp-mini") as address:
        yield address


def test_a_cold_server_entered_by_a_pages_link(window: Open, cold_address: str) -> None:
    page = window()
    page.goto(f"{cold_address}/cost?step=40")
    page.get_by_role("heading", name="Memory", exact=True).wait_for()
    settle(page)
    # The app's own navigation, style and links, not those of a lone script.
    page.get_by_role("link", name="Put it back").first.wait_for()
    assert page.locator(STEP).inner_text() == "40"
    assert page.url.startswith(f"{cold_address}/cost?step=40")
    assert page.get_by_role("button", name="Dismiss").count() == 0
    page.get_by_role("link", name="Explore").first.click()
    card = page.locator(".st-key-tour")
    for title in ("Give it a text", "Watch it forget", "Ask further"):
        card.get_by_text(title).wait_for()
        card.get_by_role("button", name=re.compile("Next|Begin")).click()
    card.wait_for(state="detached")
    page.get_by_role("link", name="Cost").first.click()
    page.get_by_role("heading", name="Memory", exact=True).wait_for()
    page.get_by_role("link", name="Explore").first.click()
    page.locator(".dcp canvas").first.wait_for()
    assert page.locator(".st-key-tour").count() == 0

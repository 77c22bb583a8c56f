"""Compare in a browser: the same tokens read with other gates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright import sync_api

Page = Any
Open = Callable[..., Page]
PATIENCE = 90_000
"""Milliseconds: the first answer waits for the model to be loaded."""


def opened(window: Open, address: str) -> Page:
    """The page on the bundled sample."""
    page = window(height=1400)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/compare?tour=off")
    page.locator(".st-key-compare-b").wait_for()
    return page


def choose(page: Page, option: str) -> None:
    """What B is. A rerun that comes in between closes the list: then it is opened again."""
    item = page.get_by_role("option", name=option, exact=True)
    for _ in range(10):
        page.locator(".st-key-compare-b input").click()
        try:
            item.click(timeout=5_000)
        except sync_api.TimeoutError:
            page.keyboard.press("Escape")
        else:
            return
    raise AssertionError(f"{option} was never offered")


def drawn(page: Page, key: str) -> list[Any]:
    """The traces of a chart, when it is there."""
    chart = page.locator(f".st-key-{key} .js-plotly-plot")
    chart.wait_for()
    found: list[Any] = chart.evaluate(
        "(plot) => plot.data.map((trace) => ({name: trace.name, type: trace.type}))"
    )
    return found


def test_it_opens_with_an_answer_and_reads_the_same_tokens_otherwise(
    window: Open, real_address: str
) -> None:
    page = opened(window, real_address)
    # The sample's answer is there before anything is pressed: A, B and where they differ.
    assert len(drawn(page, "compare-map")) == 3
    page.get_by_text(re.compile("of the earlier tokens dropped")).wait_for()
    assert page.locator("[data-testid=stMetric]").count() == 4
    names = {trace["name"] for trace in drawn(page, "compare-steps")}
    assert {"KL(gates off ‖ A)", "KL(gates off ‖ B)"} <= names
    drawn(page, "compare-lost-map")
    with page.expect_download() as download:
        page.get_by_role("button", name="Differences by token (CSV)").click()
    assert download.value.suggested_filename == "compare-tokens.csv"

    choose(page, "A's tokens, other policies")
    page.locator(".st-key-compare-map").wait_for(state="detached")
    # The gates, nothing dropped, and every policy that needs no instruction.
    assert len(drawn(page, "policies-maps")) == 11
    page.get_by_text(re.compile("entries a layer .mean over steps., the learned gates")).wait_for()
    for key in ("policies-words", "policies-kl", "policies-kinds"):
        assert len(drawn(page, key)) == 1
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0

    choose(page, "A's tokens, another sparsity")
    page.locator(".st-key-policies-maps").wait_for(state="detached")
    page.get_by_role("button", name="Read it").click()
    page.get_by_text("A and B, and all numbers").click()
    page.get_by_text(re.compile(r"^B · A's tokens at δ")).wait_for()
    assert len(drawn(page, "compare-map")) == 3
    assert page.locator("[data-testid=stException]").count() == 0

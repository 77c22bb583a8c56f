"""Put it back in a browser: a word is chosen without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Page = Any
Open = Callable[..., Page]
PATIENCE = 90_000
"""Milliseconds: the server is a new one, and loads the model beside this."""


@pytest.fixture
def page(window: Open, real_address: str) -> Page:
    """The page on the bundled sample."""
    opened = window(height=1400)
    opened.set_default_timeout(PATIENCE)
    opened.goto(f"{real_address}/put_back?tour=off")
    opened.locator(".st-key-put-text .words .chosen").wait_for()
    return opened


def test_a_word_is_chosen_with_the_keyboard(page: Page) -> None:
    run = page.locator(".st-key-put-text .run")
    chosen = run.locator(".chosen")
    before = int(chosen.get_attribute("data-j"))
    run.focus()
    run.press("ArrowLeft")
    cursor = int(run.locator(".cursor").get_attribute("data-j"))
    assert cursor < before
    run.press("Enter")
    run.locator(f".chosen[data-j='{cursor}']").wait_for()
    page.wait_for_url(re.compile(f"token={cursor}"))


def test_it_opens_with_an_answer(page: Page) -> None:
    """The example's two continuations are there before anything is pressed."""
    two = page.locator(".st-key-put-written .two section")
    two.nth(1).wait_for()
    assert two.count() == 2
    assert page.locator(".st-key-put-written mark").count() > 0
    assert page.locator(".st-key-put-change .run").count() == 1

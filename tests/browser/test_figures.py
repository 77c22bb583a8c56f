"""Figures in a browser: a kind is opened with its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Page = Any
Open = Callable[..., Page]
PATIENCE = 90_000
"""Milliseconds: every figure is drawn in turn, the first ones after a cold start."""


def test_a_kind_is_opened_with_its_caption_and_what_it_shows(
    window: Open, app_address: str
) -> None:
    page = window(height=1400)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{app_address}/figures?tour=off")
    page.locator(".st-key-figures_thumb_depth img").wait_for()
    # The whole card opens its figure, the picture too.
    picture = page.locator(".st-key-figures_thumb_depth img")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened = page.locator(".st-key-figures_opened")
    opened.get_by_text("depth · share of tokens held").wait_for()
    short, full = (opened.locator("[data-testid=stCode]").nth(i).inner_text() for i in (0, 1))
    assert "Choice of text: " in full
    assert full.startswith(short)
    assert "previous tokens" in opened.locator("img").first.get_attribute("alt")
    assert page.locator("[data-testid=stException]").count() == 0

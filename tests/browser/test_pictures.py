"""The linked view and Explore look as they did: pictures of one fixed trace, two themes.

The other pages are compared in `test_pages`, where they are open anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.film import FONT, fonts
from dcp.trace import Trace
from dcp.trace.amounts import percent, size
from tests.browser.conftest import ROOT
from tests.browser.pictures import SHARE, compare, differs, steady
from tests.browser.static_view import Page, at, frame, opener
from tests.helpers.traces import DESIGN


def test_the_comparison_sees_a_row_gone_and_forgives_a_pixel() -> None:
    paper = Image.new("RGB", (320, 160), "white")
    drawn = paper.copy()
    drawn.paste("black", (16, 40, 300, 52))
    moved = paper.copy()
    moved.paste((8, 8, 8), (16, 40, 300, 52))
    assert differs(drawn, moved) == 0
    assert differs(drawn, paper) > SHARE


def with_fonts(page: Page) -> None:
    for family, style, data in fonts():
        page.evaluate(FONT, [family, style, data])
    page.evaluate("() => document.fonts.ready.then(() => dcpView.refit())")
    frame(page)


@pytest.mark.parametrize("dark", [False, True])
def test_the_linked_view_looks_as_it_did(
    window: Callable[..., Page], tmp_path: Path, dark: bool
) -> None:
    page = opener(window, tmp_path)(Trace.load(DESIGN), width=1280, height=1200, dark=dark)
    with_fonts(page)
    at(page, step=150, layer=2, token=60)
    compare(page.screenshot(), f"view_{'dark' if dark else 'light'}")


@pytest.mark.parametrize("dark", [False, True])
def test_explore_looks_as_it_did(window: Callable[..., Page], app_address: str, dark: bool) -> None:
    page: Any = window(width=1440, height=900, dark=dark)
    page.goto(f"{app_address}/?tour=off&layer=2&step=150&token=60")
    page.locator(".dcp .story").get_by_text("read at step 60").wait_for()
    compare(steady(page), f"explore_{'dark' if dark else 'light'}")
    # The script says what `dcp.trace.amounts` says on all other pages and in the terminal.
    trace = Trace.load(ROOT / "assets" / "traces" / "sample.safetensors")
    dropped, memory = (
        page.locator(".tile").nth(i).inner_text().replace("\xa0", " ").split("\n") for i in (0, 1)
    )
    assert dropped[0].startswith(percent(trace.sparsity_at(150)))
    entry = trace.meta.memory.entry
    assert entry is not None
    assert " ".join(memory).startswith(
        f"{size(entry * trace.held()[:, 150].sum())} "
        f"KV live of {size(entry * trace.layers * 151)} dense"
    )

"""The linked view and the page around it look as they did: pictures of one fixed trace, two themes.

    DCP_WRITE_PICTURES=1 python -m pytest tests/browser/test_pictures.py     # after a wanted change

Fonts are those that Streamlit brings, so that a machine's own do not matter; what a browser's
rounding moves by less than a pixel is averaged away before the comparison.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.film import FONT, fonts
from dcp.trace import Trace
from tests.browser.static_view import Page, at, frame, opener
from tests.helpers.traces import DESIGN

STORED = Path(__file__).resolve().parents[1] / "data" / "pictures"
_BLOCK = 8
_STEP = 24
_SHARE = 0.01


def blocks(picture: Image.Image) -> npt.NDArray[np.int16]:
    """[h, w, 3]: the mean colour of each square of 8 by 8 pixels."""
    width, height = (size // _BLOCK for size in picture.size)
    cut = picture.convert("RGB").crop((0, 0, width * _BLOCK, height * _BLOCK))
    return np.asarray(cut.resize((width, height), Image.Resampling.BOX), np.int16)


def differs(one: Image.Image, other: Image.Image) -> float:
    """The share of squares whose colour is another one; 1 for another size."""
    if one.size != other.size:
        return 1.0
    return float((np.abs(blocks(one) - blocks(other)).max(axis=2) > _STEP).mean())


def compare(shot: bytes, name: str) -> None:
    """Compare with the stored picture, or store it where DCP_WRITE_PICTURES asks for that."""
    found = Image.open(io.BytesIO(shot)).convert("RGB")
    path = STORED / f"{name}.png"
    if os.environ.get("DCP_WRITE_PICTURES"):
        STORED.mkdir(exist_ok=True)
        found.quantize(64, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)
        return
    share = differs(found, Image.open(path).convert("RGB"))
    assert share <= _SHARE, f"{share:.1%} of the picture differs from {path.name}"


def test_the_comparison_sees_a_row_gone_and_forgives_a_pixel() -> None:
    paper = Image.new("RGB", (320, 160), "white")
    drawn = paper.copy()
    drawn.paste("black", (16, 40, 300, 52))
    moved = paper.copy()
    moved.paste((8, 8, 8), (16, 40, 300, 52))
    assert differs(drawn, moved) == 0
    assert differs(drawn, paper) > _SHARE


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
    page.wait_for_function("() => document.fonts.status === 'loaded'")
    page.wait_for_timeout(1200)
    compare(page.screenshot(), f"explore_{'dark' if dark else 'light'}")

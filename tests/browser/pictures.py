"""Stored pictures of pages, and how a page of today is compared with its own. No tests here.

    make pictures       # after a wanted change: look at what git says has changed, then commit it

Fonts are those that Streamlit brings, so that a machine's own do not matter. Pictures are stored at
half their size; pixelmatch forgives what differs by antialiasing alone, and `SHARE` of the rest.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from pixelmatch.contrib.PIL import pixelmatch

__all__ = ["SHARE", "compare", "differs", "steady"]

Page = Any
STORED = Path(__file__).resolve().parents[1] / "data" / "pictures"
SHARE = 0.01
_COLOURS = 96
_THRESHOLD = 0.2


def small(picture: bytes) -> Image.Image:
    """At half its size, each pixel the mean of four."""
    found = Image.open(io.BytesIO(picture)).convert("RGB")
    return found.resize((found.width // 2, found.height // 2), Image.Resampling.BOX)


def differs(one: Image.Image, other: Image.Image, seen: Image.Image | None = None) -> float:
    """The share of pixels that differ, drawn red on ``seen``; 1 for another size."""
    if one.size != other.size:
        return 1.0
    pair = [each.convert("RGBA") for each in (one, other)]
    return pixelmatch(*pair, output=seen, threshold=_THRESHOLD) / (one.width * one.height)


def compare(shot: bytes, name: str) -> None:
    """Compare with the stored picture, or store it where DCP_WRITE_PICTURES asks for that."""
    found, path = small(shot), STORED / f"{name}.png"
    if os.environ.get("DCP_WRITE_PICTURES"):
        STORED.mkdir(exist_ok=True)
        # What looks the same stays the same file.
        if not path.exists() or differs(found, Image.open(path).convert("RGB")) > SHARE / 4:
            found.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)
        return
    stored = Image.open(path).convert("RGB")
    share = differs(found, stored)
    if share <= SHARE:
        return
    folder = Path(tempfile.mkdtemp(prefix="dcp-pictures-"))
    found.save(folder / f"{name}.png")
    if found.size == stored.size:
        seen = Image.new("RGBA", found.size)
        differs(found, stored, seen)
        seen.save(folder / f"{name}-difference.png")
    raise AssertionError(f"{share:.1%} of the picture differs from {path.name}: see {folder}")


def steady(page: Page) -> bytes:
    """A screenshot of a page that has come to rest: two in a row are the same."""
    page.wait_for_function("() => document.fonts.status === 'loaded'")
    last = b""
    for _ in range(20):
        page.wait_for_timeout(250)
        shot: bytes = page.screenshot()
        if shot == last:
            break
        last = shot
    return last

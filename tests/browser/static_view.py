"""The static page of a trace in a browser, and what tests do to it. No tests here."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from dcp.speech.words import Word, words_of
from dcp.trace import Trace
from dcp.viewer import static
from tests.app.conftest import PlainTagger

Page = Any
_AXE = files("axe_playwright_python") / "axe.min.js"
Show = Callable[..., Page]


def opener(window: Callable[..., Page], folder: Path) -> Show:
    """``show(trace, words=None, **window)`` -> the static page of a trace, painted."""

    def show(trace: Trace, words: list[Word] | None = None, **size: Any) -> Page:
        file = folder / "view.html"
        found = words_of(trace, PlainTagger()) if words is None else words
        file.write_text(static.html(trace, found), encoding="utf-8")
        page = window(**size)
        page.goto(file.as_uri())
        until(page, "globalThis.dcpView && dcpView.cost > 0")
        return page

    return show


def until(page: Page, found: str, seconds: float = 60) -> None:
    """Wait for an expression to hold; the page's own policy forbids the usual waiting by eval."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({found})"):
        assert time.monotonic() < end, f"never: {found}"
        page.wait_for_timeout(20)


def frame(page: Page) -> None:
    """Wait until everything asked for has been drawn."""
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def at(page: Page, **state: Any) -> None:
    page.evaluate(
        "(s) => { Object.assign(dcpView.state, s); dcpView.stale = true; dcpView.draw(); }", state
    )
    frame(page)


def point(page: Page, layer: int, token: int) -> tuple[float, float]:
    """Where the cell of a layer and token is on the canvas."""
    x, y = page.evaluate(
        """([l, j]) => {
          const { cw, heat, rows } = dcpView.geo;
          return [dcpView.X(j) + cw / 2, heat + rows.top[l] + rows.height[l] / 2];
        }""",
        [layer, token],
    )
    return x, y


def press(page: Page, group: str, name: str) -> None:
    """Choose ``name`` in a radio group, where it stands or behind "display"."""
    choice = page.get_by_role("radiogroup", name=group, exact=True, include_hidden=True)
    if not choice.is_visible():
        page.get_by_text("display", exact=True).click()
    choice.get_by_role("radio", name=name, exact=True).click()
    frame(page)


def serious(page: Page) -> list[dict[str, Any]]:
    """What axe-core calls serious or critical, with the first place of each."""
    page.evaluate(_AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        {"rule": v["id"], "places": [n["html"][:120] + n["failureSummary"] for n in v["nodes"][:3]]}
        for v in found
        if v["impact"] in {"serious", "critical"}
    ]

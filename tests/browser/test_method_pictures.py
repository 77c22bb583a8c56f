"""The pictures of the method in a browser: they say what the functions say, drag, play and fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.method import alpha_sigmoid
from dcp.ui.method.page import PICTURES, picture
from tests.browser.static_view import serious

Page = Any
ASSETS = Path(__file__).resolve().parents[2] / "assets" / "method"


@pytest.fixture
def show(window: Callable[..., Page], tmp_path: Path) -> Callable[..., Page]:
    """``show(**window)`` -> all five pictures on a bare page, mounted as the app mounts them."""

    def show_all(**size: Any) -> Page:
        script = (ASSETS / "method.js").read_text() + "\nglobalThis.component = component;"
        style = (ASSETS / "method.css").read_text()
        file = tmp_path / "method.html"
        file.write_text(
            f"<!doctype html><meta charset=utf-8><style>body{{margin:8px}}{style}</style>"
            + "".join(f"<div id={name}></div>" for name in PICTURES)
            + f"<script type=module>{script}</script>",
            encoding="utf-8",
        )
        page = window(**size)
        page.goto(file.as_uri())
        for name in PICTURES:
            page.evaluate(
                "([name, data]) => component({parentElement: document.getElementById(name), data})",
                [name, picture(name)],
            )
        page.wait_for_selector("#cache svg rect")
        return page

    return show_all


def slide(page: Page, name: str, value: int, nth: int = 0) -> str:
    """Move a slider as a hand does; gives what the picture then says."""
    page.locator(f"#{name} input").nth(nth).evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value
    )
    return str(page.locator(f"#{name} .said").inner_text())


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_a_dragged_gate_says_what_the_equation_says(show: Callable[..., Page]) -> None:
    page = show()
    for _ in range(7):
        page.locator('[data-handle="k"]').press("ArrowRight")
    box = page.locator('[data-handle="q"]').bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 90, steps=4)
    page.mouse.up()
    slide(page, "gate", 0.4)
    about = page.locator("#gate svg").get_attribute("aria-label")
    ends = [
        number(
            page.locator(f'[data-handle="{name}"]').get_attribute("aria-valuetext").split(", ")[i]
        )
        for name in ("q", "k")
        for i in (0, 1)
    ]
    z, p = (number(x) for x in re.search(r"z is (\S+), the soft gate ([\d.]+),", about).groups())
    q, k = np.array(ends[:2]), np.array(ends[2:])
    # What is read back is rounded to tenths.
    assert z == pytest.approx(q @ k / np.sqrt(2) + 0.4, abs=0.25)
    assert p == pytest.approx(float(alpha_sigmoid(z, 1.0)), abs=2e-3)
    assert ("keeps" in about) == (z > 0)
    assert ends[2] == pytest.approx(-1.0, abs=0.06)


def test_alpha_and_its_band_follow_the_slider(show: Callable[..., Page]) -> None:
    page = show()
    assert "0.143" in slide(page, "sigmoid", 70)
    assert "1.000" in slide(page, "sigmoid", 10)
    assert "logistic" in slide(page, "sigmoid", 0)
    shown = page.locator("#sigmoid").inner_text()
    assert "all z" in shown


def test_a_chosen_token_is_told_by_its_gates(show: Callable[..., Page]) -> None:
    data = picture("product")
    assert data is not None
    page, z = show(), np.array(data["z"])
    for token in (0, 3, 8):
        page.locator(f'#product [data-token="{token}"]').first.click()
        said = page.locator("#product .said").inner_text()
        closed = [a for a in range(token + 1, len(z)) if z[a, token] <= 0]
        assert (f"shuts at step {closed[0]}" if closed else "No hard gate has shut") in said
        soft = data["soft"][data["start"]][-1][token]
        assert f"{soft:.3f}" in said


def test_rows_and_bytes_follow_the_step(show: Callable[..., Page]) -> None:
    data, page = picture("cache"), show()
    assert data is not None
    for step in (0, 26, len(data["steps"]) - 1):
        said = slide(page, "cache", step)
        rows = data["steps"][step]["rows"]
        assert f"{len(rows)} row" in said
        about = page.locator("#cache svg").get_attribute("aria-label")
        assert f"of {data['steps'][step]['capacity']}." in about
        assert f"{len(rows) * data['entry'] // 1024}" in about


def test_play_moves_to_the_end_and_stops(show: Callable[..., Page]) -> None:
    page = show()
    last = len(picture("keeps")["pieces"]) - 1
    slide(page, "keeps", last - 2)
    page.locator("#keeps button").click()
    assert page.locator("#keeps button").inner_text() == "Pause"
    page.locator("#keeps button", has_text="Play").wait_for(timeout=5000)
    assert page.locator("#keeps output").inner_text() == str(last)


def test_every_picture_fits_a_narrow_window_and_has_words_for_it(show: Callable[..., Page]) -> None:
    for width in (360, 700, 1200):
        page = show(width=width, height=900)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        for name in PICTURES:
            assert len(page.locator(f"#{name} svg").get_attribute("aria-label")) > 40
            outside = page.evaluate(
                """(name) => [...document.querySelectorAll(`#${name} svg text`)].filter((t) => {
                  const box = t.getBoundingClientRect();
                  return box.right > innerWidth + 1 || box.left < -1;
                }).map((t) => t.textContent)""",
                name,
            )
            assert outside == [], name


def test_a_hostile_token_is_only_text(
    window: Callable[..., Page], show: Callable[..., Page]
) -> None:
    page = show()
    data = dict(picture("keeps") or {})
    data["pieces"] = ['<img src=x onerror="globalThis.pwned=1">', "\u202eback", "*b*"]
    page.evaluate(
        """(data) => {
          const place = document.createElement("div");
          place.id = "hostile";
          document.body.append(place);
          component({ parentElement: place, data });
        }""",
        data,
    )
    page.wait_for_selector("#hostile svg rect")
    assert page.evaluate(
        "[!!globalThis.pwned, document.querySelectorAll('#hostile img').length]"
    ) == [
        False,
        0,
    ]
    assert "\u202e" not in page.locator("#hostile").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(show: Callable[..., Page], dark: bool) -> None:
    page = show(dark=dark)
    page.evaluate("() => { document.title = 'Method'; document.documentElement.lang = 'en'; }")
    assert serious(page) == []

"""`dcp view --embed` in a frame of another page: all of it in sight, its film when scrolled to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dcp.cli.main import main
from dcp.resources import asset
from dcp.viewer import static
from tests.helpers.pages import served
from tests.helpers.traces import random_trace

Page = Any


def post(folder: Path, frames: str, above: int = 0) -> None:
    """A blog post that shows ``frames`` under ``above`` pixels of text."""
    page = f'<!doctype html><body style="margin: 0"><div style="height: {above}px"></div>{frames}'
    (folder / "post.html").write_text(page, encoding="utf-8")


def until(page: Page, found: str) -> None:
    for _ in range(200):
        if page.evaluate(found):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {found}")


@pytest.mark.parametrize(("width", "dark"), [(400, True), (760, False)])
def test_the_whole_picture_is_in_its_frame(
    window: Callable[..., Page], tmp_path: Path, width: int, dark: bool
) -> None:
    lines = []
    for layers in (1, 8, 16, 30, 64):
        trace = random_trace(2, layers=layers, tokens=150, prompt_tokens=60)
        (tmp_path / f"{layers}.html").write_text(static.embed(trace), encoding="utf-8")
        height = static.embed_height(layers)
        lines.append(f'<iframe src="{layers}.html" width="100%" height="{height}"></iframe>')
    post(tmp_path, "".join(lines))
    with served(tmp_path) as address:
        page = window(width=width, height=900, dark=dark)
        page.goto(f"{address}post.html".replace("127.0.0.1", "localhost"))
        for frame in page.frames[1:]:
            until(frame, "globalThis.dcpView && dcpView.cost > 0")
            found = frame.evaluate(
                """() => {
                  const root = document.documentElement,
                    seen = (e) => e && e.offsetParent && e.getBoundingClientRect();
                  return {
                    over: [root.scrollWidth - root.clientWidth, root.scrollHeight - innerHeight],
                    text: seen(document.querySelector(".text")).height,
                    foot: seen(document.querySelector(".foot")).bottom - innerHeight,
                    canvas: dcpView.geo.H - dcpView.geo.pos - dcpView.geo.posH,
                    pictures: document.querySelectorAll("canvas").length,
                    others: [".bar", ".tiles", ".story", ".chips"].filter(
                      (name) => seen(document.querySelector(name))).length,
                  };
                }"""
            )
            assert max(found["over"]) <= 0, frame.url
            assert found["text"] >= 64
            assert found["foot"] <= 0
            assert (found["pictures"], found["others"], found["canvas"]) == (1, 0, 4)


@pytest.mark.parametrize("motion", [True, False])
def test_the_line_that_is_printed_shows_the_film_once_it_is_in_sight(
    window: Callable[..., Page],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    motion: bool,
) -> None:
    """A sandboxed frame far down a page; not to readers who asked for less motion."""
    out = tmp_path / "my run.html"
    words = ["view", str(asset("traces/sample.safetensors")), "--embed", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == out.stat().st_size <= static.EMBED_BYTES
    post(tmp_path, found["iframe"].replace("lazy", "eager"), above=3000)
    with served(tmp_path) as address:
        page = window(width=760, height=800, motion=motion)
        page.goto(f"{address}post.html".replace("127.0.0.1", "localhost"))
        frame = page.frames[1]
        # Out of sight nothing is drawn.
        until(frame, "Boolean(globalThis.dcpView)")
        last = frame.evaluate("dcpView.run.Q - 1")
        page.wait_for_timeout(400)
        assert frame.evaluate("[dcpView.playing, dcpView.state.step]") == [0, last]
        page.locator("iframe").scroll_into_view_if_needed()
        if motion:
            until(frame, "dcpView.playing > 0 && dcpView.state.step > 3")
            assert frame.evaluate("dcpView.state.step") < last
            frame.locator(".play").click()
        else:
            page.wait_for_timeout(400)
            assert frame.evaluate("[dcpView.playing, dcpView.state.step]") == [0, last]
        # The keys and the button work inside the frame.
        frame.locator(".scrub").focus()
        page.keyboard.press("Home")
        until(frame, "dcpView.state.step < 3")

"""The Docker Space as its container starts it, in a frame of another origin as on the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.container import Container, container
from tests.helpers.pages import served
from tests.helpers.traces import DESIGN


@pytest.fixture(scope="module")
def started() -> Any:
    with container() as running:
        yield running


def test_it_starts_as_the_image_says(started: Container) -> None:
    if os.geteuid() == 0 and Path("/usr/bin/python3.11").exists():
        assert started.uid == 1000
    said = started.log.read_text()
    assert "Traceback" not in said
    assert "has no effect" not in said


def test_in_a_frame_of_another_origin_a_trace_opens_and_a_text_runs(
    browser: Any, started: Container, tmp_path: Path
) -> None:
    """The frame is localhost, the page around it 127.0.0.1: another site to a browser."""
    (tmp_path / "index.html").write_text(
        f'<!doctype html><iframe src="{started.address}/?tour=off" width="1200" height="1900">'
        "</iframe>",
        encoding="utf-8",
    )
    context = browser.new_context(viewport={"width": 1240, "height": 1920})
    context.set_default_timeout(90_000)
    refused: list[str] = []
    with served(tmp_path) as address:
        page = context.new_page()
        page.on("response", lambda r: refused.append(r.url) if r.status == 403 else None)
        page.goto(address)
        app = page.frame_locator("iframe")
        app.locator(".dcp canvas").wait_for()
        app.get_by_role("tab", name="Open a saved trace").click()
        app.locator("input[type=file]").set_input_files(str(DESIGN))
        app.locator(".dcp .text").get_by_text("Mario", exact=True).first.wait_for()
        assert refused == []

        app.get_by_text("Try your own text", exact=True).click()
        box = app.get_by_role("textbox", name="Your text")
        box.fill("The lighthouse stood alone.")
        box.press("Control+Enter")
        page.wait_for_timeout(1000)
        assert "not stored" in app.locator("body").inner_text()
        app.get_by_role("button", name="Generate", exact=True).click()
        app.locator(".dcp .text").get_by_text("lighthouse", exact=True).first.wait_for()
    context.close()

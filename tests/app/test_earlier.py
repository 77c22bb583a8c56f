"""Runs to open with a click or by a link: those that come with the app, and this window's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from dcp.model.checkpoint import Checkpoint
from dcp.model.registry import list_models
from dcp.trace import Trace
from dcp.ui.explore.earlier import RUNS
from dcp.ui.samples import FOLDER, load_dial, load_sample
from dcp.ui.session import Session
from tests.app.test_page import finish, press, session, view, write

Open = Callable[..., AppTest]


def test_every_bundled_run_is_offered_and_says_what_to_look_at() -> None:
    there = {
        path.relative_to(FOLDER).with_suffix("").as_posix()
        for path in FOLDER.rglob("*.safetensors")
        if path.parent.name != "dial"
    }
    assert set(RUNS) == there
    for name, (title, look) in RUNS.items():
        trace, words = load_sample(name)
        assert trace.prompt_tokens < trace.tokens
        assert words
        assert title
        assert look.endswith((".", "?"))


def test_every_bundled_run_is_of_the_weights_that_are_here() -> None:
    """After a model has changed: ``python -m benchmarks.bundle``."""
    here = {
        model.name: Checkpoint.read(model.path).sha256(gates=True)
        for model in list_models()
        if model.base is None or model.base.ready
    }
    for path in FOLDER.rglob("*.safetensors"):
        meta = Trace.load(path).meta
        assert meta.weights_sha256 == here.get(meta.model, meta.weights_sha256), path


@pytest.mark.parametrize(("name", "least"), [("sample", 10), ("smollm2-135m/sample", 6)])
def test_the_dial_of_the_first_sample_is_shipped_and_grows_sparser(name: str, least: int) -> None:
    trace, _ = load_sample(name)
    read = load_dial(trace)
    assert None in read
    assert trace.meta.gate_shift not in read
    assert read[None].sparsity_at_end() == 0
    shifts = sorted(shift for shift in read if shift is not None)
    shares = [read[shift].sparsity_at_end() for shift in shifts]
    assert len(shifts) >= least
    assert shares == sorted(shares, reverse=True)
    other, _ = load_sample(name.replace("sample", "heldout-1"))
    assert load_dial(other) == {}


def test_a_run_of_the_gallery_opens_and_its_link_names_it(open_page: Open) -> None:
    page = open_page()
    page.session_state["ten runs"] = True
    press(page.run(), "open gallery/news")
    trace, _ = load_sample("gallery/news")
    assert view(page)["text"] == trace.text
    assert view(page)["link"] == {"run": "gallery/news"}
    assert view(page)["play"] is True
    assert not page.session_state["ten runs"]
    again = open_page(address={"run": "gallery/news", "step": "30"})
    shown: Session = session(again)
    assert shown.shown.trace is not None
    assert shown.shown.trace.text == trace.text
    assert shown.place.step == 30


@pytest.mark.parametrize("name", ["<b>no</b>", "../../etc/passwd", "gallery/../sample", ""])
def test_a_run_that_is_not_there_is_a_quiet_note(open_page: Open, name: str) -> None:
    page = open_page(address={"run": name})
    assert not page.exception
    assert session(page).shown.origin == "sample"
    assert len(page.toast) == 1
    assert "run" not in page.query_params


def test_this_windows_runs_can_be_opened_again(open_page: Open) -> None:
    page = open_page()
    assert page.get("popover") is not None
    for text in ("The *first* text of this window.", "A second one, quite different."):
        finish(press(write(page, text), "generate"))
    first = session(page).shown.key
    page.session_state["your runs"] = True
    page.run()
    buttons = [b for b in page.button if b.key and b.key.startswith("open run-")]
    assert len(buttons) == 2
    assert buttons[0].disabled
    assert "\\*first\\*" in buttons[1].label
    buttons[1].click().run()
    assert session(page).shown.key != first
    assert view(page)["text"].startswith("The *first* text")

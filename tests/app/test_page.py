"""What a person can do on the first page, and what it says when they do it wrong."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dcp.model.dial import end_share_at
from dcp.model.registry import list_models
from dcp.trace import Trace
from dcp.ui.explore.examples import EXAMPLES
from dcp.ui.home import KNOWN
from dcp.ui.session import Session
from tests.app.fakes import CONTEXT

ROOT = Path(__file__).resolve().parents[2]
Open = Callable[..., AppTest]
HOSTILE = '<script>window.pwned=1</script> <img src=x onerror="window.pwned=1"> **bold** 🙂 é'


def session(page: AppTest) -> Session:
    found: Session = page.session_state["session"]
    return found


def view(page: AppTest) -> dict[str, Any]:
    """The payload that the linked view was given last."""
    sent = [
        component.proto.json
        for component in page.get("bidi_component")
        if component.proto.component_name == "dcp_linked_view"
    ]
    found: dict[str, Any] = json.loads(sent[-1])
    return found


def problems(page: AppTest) -> list[str]:
    return [text.value for text in page.text]


def line(page: AppTest) -> list[str]:
    """What the page says in small print: captions, and the line over the view."""
    return [*(caption.value for caption in page.caption), view(page)["line"]]


def write(page: AppTest, text: str) -> AppTest:
    page.text_area(key="text").set_value(text).run()
    return page


def press(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    return page


def finish(page: AppTest, seconds: float = 20) -> AppTest:
    """Look again, as the page does by itself four times a second, until the run has ended."""
    end = time.monotonic() + seconds
    while session(page).work.job is not None:
        assert time.monotonic() < end, "the run did not end"
        time.sleep(0.02)
        page.run()
    return page


@pytest.mark.parametrize("model", ["", "dcp-mini"])
def test_the_first_paint_is_a_sample_of_the_windows_model_and_needs_no_torch(model: str) -> None:
    known = next(found for found in list_models() if found.name == KNOWN)
    ready = known.base is not None and known.base.ready
    first = model or (KNOWN if ready else "dcp-mini")
    script = f"""
import sys
for name in ("torch", "transformers", "spacy", "matplotlib"):
    sys.modules[name] = None
import streamlit, dcp.ui.services
dcp.ui.services.warm = lambda: None
from streamlit.testing.v1 import AppTest
page = AppTest.from_file({str(ROOT / "app.py")!r}, default_timeout=60).run()
assert not page.exception, page.exception
shown = [c for c in page.get("bidi_component") if c.proto.component_name == "dcp_linked_view"]
assert len(shown) == 1
print("painted by", page.session_state["session"].shown.trace.meta.model)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"DCP_MODEL": model},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"painted by {first}" in done.stdout


def test_generating_shows_the_run_and_keeps_it(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="new_tokens").set_value(24).run()
    write(page, "The river rose for three days.")
    finish(press(page, "generate"))
    assert not page.exception
    shown = session(page).shown
    assert shown.origin == "run"
    assert isinstance(shown.trace, Trace)
    assert shown.trace.tokens - shown.trace.prompt_tokens == 24
    assert view(page)["text"] == shown.trace.text
    assert view(page)["running"] is False
    assert any("24 written" in caption for caption in line(page))
    assert not page.button(key="generate").disabled
    assert page.button(key="stop").disabled


@pytest.mark.parametrize("pause", [0.03], indirect=True)
def test_the_view_follows_the_run_on_a_fixed_axis(open_page: Open) -> None:
    page = open_page()
    press(page, "generate")
    assert page.button(key="generate").disabled
    seen = []
    for _ in range(400):
        page.run()
        if session(page).work.job is None:
            break
        if view(page)["running"]:
            seen.append((view(page)["id"], view(page)["tokens"], view(page)["planned"]))
        time.sleep(0.02)
    tokens = [entry[1] for entry in seen]
    assert len(set(tokens)) > 3
    assert tokens == sorted(tokens)
    # One run, one identity and one axis from the first token to the end: nothing jumps.
    assert len({(entry[0], entry[2]) for entry in seen}) == 1
    assert view(page)["id"] == seen[0][0]


@pytest.mark.parametrize("pause", [0.05], indirect=True)
def test_stop_ends_a_run_half_way(open_page: Open) -> None:
    page = open_page()
    press(page, "generate")
    while not view(page)["running"]:
        page.run()
    finish(press(page, "stop"))
    trace = session(page).shown.trace
    assert trace is not None
    assert trace.tokens - trace.prompt_tokens < 64
    assert any(caption.startswith("Stopped.") for caption in line(page))
    assert not page.button(key="generate").disabled


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_no_text_is_one_line(open_page: Open, text: str) -> None:
    page = write(open_page(), text)
    press(page, "generate")
    assert problems(page) == [
        "There is no text: give at least one word (type some, or choose an example)."
    ]
    assert session(page).work.job is None
    write(page, "Now there is some.")
    finish(press(page, "generate"))
    assert problems(page) == []
    assert session(page).shown.origin == "run"


def test_a_long_text_is_cut_by_one_click(open_page: Open) -> None:
    page = write(open_page(), "word after word, " * 1200)
    press(page, "generate")
    assert len(problems(page)) == 1
    assert "fit beside 64 new ones" in problems(page)[0]
    press(page, "cut")
    text = page.text_area(key="text").value
    assert 0 < len(text) < 20_000
    assert ("word after word, " * 1200).endswith(text)
    assert problems(page) == []
    finish(press(page, "generate"))
    assert session(page).shown.origin == "run"


def test_the_token_count_is_the_models_own(open_page: Open) -> None:
    from dcp.text.tokens import Tokenizer

    page = write(open_page(), "A naïve 🙂 café")
    tokens = Tokenizer.load(list_models()[0].path).count("A naïve 🙂 café")
    assert any(f"{tokens} tokens; {CONTEXT - 64} fit" in caption for caption in line(page))


def test_an_example_fills_the_box(open_page: Open) -> None:
    page = open_page()
    name = list(EXAMPLES)[-1]
    page.get("button_group")[0].set_value(name).run()
    assert page.text_area(key="text").value == EXAMPLES[name]


def test_the_dial_names_expected_sparsities_with_their_cost_and_shifts_the_gates(
    open_page: Open,
) -> None:
    page = write(open_page(), "one two three")
    page.number_input(key="new_tokens").set_value(CONTEXT // 2 - 3).run()
    dial = page.select_slider(key="gate_shift")
    tokens = int(re.findall("[0-9]+", dial.label)[0])
    (model,) = list_models()
    assert model.shares is not None
    expected = [100 * end_share_at(model.shares, p.delta, tokens) for p in model.calibration]
    assert max(expected) < 60 < 100 * max(p.sparsity for p in model.calibration)
    assert list(dial.options) == [
        f"about {share:.0f} % dropped · perplexity +{more} %"
        for share, more in zip(expected, (8, 12, 15, 18), strict=True)
    ]
    assert f"a text of this length ({tokens} tokens" in dial.help
    assert dial.value == 0.0
    dial.set_value(-0.7).run()
    # Another length, other shares; the setting stays.
    page.number_input(key="new_tokens").set_value(0).run()
    dial = page.select_slider(key="gate_shift")
    assert f"of {tokens - CONTEXT // 2 + 3} tokens" in dial.label
    assert dial.value == -0.7
    dial.set_value(0.8).run()
    finish(press(page, "generate"))
    assert session(page).shown.trace.meta.gate_shift == 0.8


def test_temperature_and_seed_reach_the_run(open_page: Open) -> None:
    page = open_page()
    page.slider(key="temperature").set_value(0.0).run()
    page.number_input(key="seed").set_value(7).run()
    finish(press(page, "generate"))
    meta = session(page).shown.trace.meta
    assert (meta.seed, meta.sampling.temperature) == (7, 0.0)


def test_zero_new_tokens_only_reads(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="new_tokens").set_value(0).run()
    finish(press(page, "generate"))
    trace = session(page).shown.trace
    assert trace.tokens == trace.prompt_tokens == trace.n_queries


def test_the_length_can_be_neither_negative_nor_beyond_the_context(open_page: Open) -> None:
    box = open_page().number_input(key="new_tokens")
    assert (box.min, box.max) == (0, CONTEXT - 1)


def test_hostile_text_is_never_markup(open_page: Open) -> None:
    page = write(open_page(), HOSTILE)
    finish(press(page, "generate"))
    assert HOSTILE in view(page)["text"]
    for kind in ("markdown", "caption", "title", "error", "html"):
        assert not any("pwned" in str(getattr(e, "value", "")) for e in page.get(kind))


def test_two_windows_do_not_disturb_one_another(open_page: Open) -> None:
    one, two = open_page(), open_page()
    write(one, "The first window.")
    write(two, "The second window, with other words.")
    press(one, "generate")
    press(two, "generate")
    finish(one)
    finish(two)
    assert session(one).shown.trace.text.startswith("The first window.")
    assert session(two).shown.trace.text.startswith("The second window")
    assert view(one)["id"] != view(two)["id"]


def test_public_mode_offers_bundled_models_and_capped_lengths(open_page: Open) -> None:
    page = open_page(public=True)
    assert page.selectbox(key="model").options == ["tiny"]
    assert not page.selectbox(key="model").proto.accept_new_options
    assert page.number_input(key="new_tokens").max == 256
    assert any("is not stored" in caption for caption in line(page))
    assert open_page(public=False).selectbox(key="model").proto.accept_new_options


@pytest.mark.parametrize("pause", [0.02], indirect=True)
def test_the_public_line_is_visible(open_page: Open) -> None:
    one, two = open_page(public=True), open_page(public=True)
    press(one, "generate")
    press(two, "generate")
    assert any("You are next" in c or "1 run before yours" in c for c in line(two))
    press(one, "stop")
    finish(one)
    finish(two)
    assert session(two).shown.origin == "run"


def test_an_unknown_model_is_one_line_and_the_page_lives(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dcp.ui.services
    from dcp.errors import ModelError

    page = open_page()

    def refuse(request: Any, leave: Any) -> Any:
        raise ModelError("no model 'x': neither bundled (tiny) nor a folder nor a Hub id")

    monkeypatch.setattr(dcp.ui.services, "begin", refuse)
    dcp.ui.services.worker.clear()
    finish(press(page, "generate"))
    assert problems(page) == ["no model 'x': neither bundled (tiny) nor a folder nor a Hub id"]
    assert session(page).shown.origin == "sample"
    assert view(page)["tokens"] == session(page).shown.trace.tokens


def test_every_kind_of_file_is_offered_when_a_run_is_there(open_page: Open) -> None:
    page = open_page()
    finish(press(page, "generate"))
    names = [button.label for button in page.get("download_button")]
    assert names == ["Trace", "Table", "Page", "PDF", "PNG"]


def test_payload_of_the_view_is_base64_arrays(open_page: Open) -> None:
    sent = view(open_page())
    death = np.frombuffer(base64.b64decode(sent["death"]), "<i4")
    assert len(death) == sent["layers"] * sent["tokens"]

"""The page of the static Space, whatever the text, the network and the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from dcp.runs.recorder import record
from dcp.space import static
from dcp.trace import Trace
from tests.helpers.pages import HOSTILE, RIVER, ask, compare, finished, fragment


def test_the_saved_trace_is_one_that_the_library_reads(space_page: Any, tmp_path: Path) -> None:
    answer = ask(space_page, HOSTILE + RIVER, new=20, temperature=0.8, seed=2**63 - 1)
    with space_page.expect_download() as download:
        space_page.click("#save")
    download.value.save_as(tmp_path / "run.safetensors")
    trace = Trace.load(tmp_path / "run.safetensors")
    own = record(HOSTILE + RIVER, new_tokens=20, temperature=0.8, seed=2**63 - 1)
    assert answer.ids == trace.token_ids.tolist() == own.token_ids.tolist()
    assert np.array_equal(trace.death, answer.death)
    assert np.array_equal(trace.offsets, own.offsets)
    assert np.allclose(trace.margin, own.margin, atol=1e-3, equal_nan=True)
    assert np.allclose(trace.logprob, own.logprob, atol=1e-3, equal_nan=True)
    for key in ("weights_sha256", "seed", "sampling", "n_queries", "prompt_tokens", "gate_shift"):
        assert getattr(trace.meta, key) == getattr(own.meta, key)
    for key in ("dense", "live", "row", "entry"):
        assert getattr(trace.meta.memory, key) == getattr(own.meta.memory, key)
    assert not trace.meta.other


def test_a_hostile_text_stays_text(space_page: Any) -> None:
    ask(space_page, HOSTILE, new=4, temperature=0, seed=0)
    assert space_page.locator("#view img, #view script, main script").count() == 0
    assert "onerror" in space_page.inner_text("#view .text")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"text": "  \n "}, "at least one word"),
        ({"text": RIVER * 60, "new": 10}, "has room for 1014"),
        ({"text": RIVER, "new": 1024}, "leave no room"),
        ({"text": RIVER, "new": "many"}, "whole number"),
        ({"text": RIVER, "temperature": -1}, "temperature"),
        ({"text": RIVER, "seed": -3}, "seed"),
        ({"text": RIVER, "seed": 2**63}, "seed"),
        ({"text": RIVER, "new": 8, "sparsity": 0.999}, "between 0.03 and 0.99"),
        ({"text": RIVER, "new": 8, "sparsity": "x"}, "of texts of 28 tokens"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence_and_a_way_on(
    space_page: Any, settings: dict[str, Any], sentence: str
) -> None:
    before = space_page.evaluate("window.dcp.trace()")["text"]
    text = settings.pop("text")
    ask(space_page, text, **settings)
    assert sentence in space_page.inner_text("#problem")
    assert space_page.evaluate("window.dcp.trace()")["text"] == before
    answer = ask(space_page, "A cat.", new=3, temperature=0, seed=0)
    assert answer.text.startswith("A cat.")
    assert space_page.is_hidden("#problem")


def test_a_lone_surrogate_is_refused_by_its_place(space_page: Any) -> None:
    space_page.evaluate("window.dcp.ready")
    space_page.evaluate("document.getElementById('text').value = '🙂a\\ud800b'")
    space_page.click("#run")
    finished(space_page)
    assert "Character 2" in space_page.inner_text("#problem")


def test_a_link_runs_when_opened_and_carries_the_run(browser: Any, space_address: str) -> None:
    opened = browser.new_page()
    opened.goto(space_address + fragment(RIVER, seed=7, new=12, temperature=0.5, sparsity=0.9))
    assert opened.evaluate("window.dcp.done") is False
    opened.evaluate("window.dcp.ready")
    finished(opened)
    first = opened.evaluate("window.dcp.trace()")
    assert len(first["token_ids"]) == record(RIVER, new_tokens=12, seed=7).tokens
    assert opened.input_value("#seed") == "7"
    assert opened.input_value("#dial") == "90"
    read = len(first["token_ids"]) - 1
    asked = f"about 90 % dropped, mean over a text of {read} tokens"
    opened.wait_for_selector(f"#dial-says:has-text('{asked}')")
    # Longer, the same weights drop more; what a hand chose is kept within what was measured.
    opened.fill("#text", RIVER * 30)
    longer = len(record(RIVER * 30, new_tokens=0).token_ids) + 11
    opened.wait_for_selector(
        f"#dial-says:has-text('about 90 % dropped, mean over a text of {longer}')"
    )
    opened.fill("#dial", "95")
    opened.fill("#text", RIVER)
    opened.wait_for_selector(f"#dial-says:has-text('mean over a text of {read} tokens')")
    opened.click("#run")
    finished(opened)
    assert opened.is_hidden("#problem")
    assert 0.3 < float(parse_qs(urlsplit(opened.url).fragment)["sparsity"][0]) < 0.6
    opened.close()


def test_the_address_bar_follows_the_fields(space_page: Any) -> None:
    space_page.evaluate("window.dcp.ready")
    space_page.fill("#text", "Ünï & #1?")
    space_page.fill("#new", "5")
    space_page.fill("#seed", "9223372036854775807")
    space_page.click("#run")
    finished(space_page)
    shared = space_page.url
    answer = space_page.evaluate("window.dcp.trace()")
    space_page.goto("about:blank")
    space_page.goto(shared)
    space_page.evaluate("window.dcp.ready")
    finished(space_page)
    assert space_page.evaluate("window.dcp.trace()") == answer


def test_a_run_stops_and_the_next_one_starts(space_page: Any) -> None:
    space_page.evaluate("window.dcp.ready")
    space_page.fill("#text", RIVER)
    space_page.fill("#new", "900")
    space_page.click("#run")
    space_page.click("#stop")
    finished(space_page)
    stopped = space_page.evaluate("window.dcp.trace()")
    assert len(stopped["token_ids"]) < 900
    with space_page.expect_download() as download:
        space_page.click("#save")
    assert Trace.load(download.value.path()).meta.interrupted
    # One run in place of another: the newest is what is shown.
    space_page.click("#run")
    answer = ask(space_page, "Another text.", new=4, temperature=0, seed=0)
    space_page.wait_for_timeout(300)
    assert space_page.evaluate("window.dcp.trace()")["text"] == answer.text


def test_a_damaged_download_is_noticed_and_can_be_tried_again(
    browser: Any, space_address: str, space: static.Space
) -> None:
    (name,) = (name for name in space.files if "fractions" in name)
    bad = bytearray(space.files[name])
    bad[len(bad) // 2] ^= 1
    context = browser.new_context()
    context.route("**/weights/fractions*", lambda route: route.fulfill(body=bytes(bad)))
    opened = context.new_page()
    opened.goto(space_address)
    opened.wait_for_selector("#problem:not([hidden])", timeout=60_000)
    assert "damaged" in opened.inner_text("#problem")
    assert opened.is_disabled("#run")
    context.unroute("**/weights/fractions*")
    opened.click("#again")
    assert ask(opened, RIVER, new=3, temperature=0, seed=0).ids
    assert opened.is_hidden("#problem")
    context.close()


def test_a_missing_part_and_a_broken_connection_are_sentences(
    browser: Any, space_address: str
) -> None:
    for answer, sentence in (
        (lambda r: r.fulfill(status=404), "404"),
        (lambda r: r.abort(), "connection"),
    ):
        context = browser.new_context()
        context.route("**/weights/tails*", answer)
        opened = context.new_page()
        opened.goto(space_address)
        opened.wait_for_selector("#problem:not([hidden])", timeout=60_000)
        assert sentence in opened.inner_text("#problem")
        assert opened.is_visible("#again")
        context.close()


def test_the_second_visit_downloads_nothing_and_works_offline(
    browser: Any, space_address: str
) -> None:
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(space_address)
    opened.evaluate("window.dcp.ready")
    opened.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    opened.wait_for_timeout(500)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.set_offline(True)
    opened.reload()
    answer = ask(opened, RIVER, new=8, temperature=0, seed=0)
    assert compare(answer, record(RIVER, new_tokens=8, temperature=0)).same_tokens
    assert not [url for url in asked if "/weights/" in url]
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_room_for_all_of_it(browser: Any, space_address: str, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    opened = context.new_page()
    opened.goto(space_address)
    opened.evaluate("window.dcp.ready")
    opened.tap("[data-example]")
    finished(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    small = opened.evaluate(
        "Array.from(document.querySelectorAll("
        "'.own button, .own input:not([type=radio]), .own label:has(input)'))"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 30).map((e) => e.id)"
    )
    assert small == []
    context.close()

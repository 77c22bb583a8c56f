"""Visitors of the static Space as they come: impatient, with two tabs, in the hub's frame."""

from __future__ import annotations

from typing import Any

from dcp.model.registry import open_model
from dcp.runs.recorder import record
from tests.helpers.pages import RIVER, ask, compare, finished, fragment

HUB = "https://huggingface.co/spaces/someone/forgets"


def test_a_paste_that_is_too_long_can_be_cut_to_what_fits(space_page: Any) -> None:
    paste = (RIVER * 300)[:20_000]
    model = open_model("dcp-mini")
    room = model.info.context - 1000
    space_page.evaluate("window.dcp.ready")
    space_page.fill("#new", "1000")
    space_page.fill("#text", paste)
    space_page.click("#run")
    finished(space_page)
    assert f"has room for {room}: shorten it" in space_page.inner_text("#problem")
    space_page.click("#again")
    assert space_page.is_hidden("#problem")
    space_page.click("#stop")
    finished(space_page)
    kept = space_page.input_value("#text")
    assert space_page.evaluate("window.dcp.trace()")["text"].startswith(kept)
    assert paste.startswith(kept)
    assert paste[len(kept)] == " "
    # Not a word more would have fitted: one is under five tokens here.
    assert room - 5 < len(model.tokenizer.encode(kept).ids) <= room


def test_what_is_asked_before_the_model_is_here_runs_when_it_is(
    browser: Any, space_address: str
) -> None:
    """A phone on a slow line: the sample can be looked at, an example tapped, nothing is lost."""
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
    held: list[Any] = []
    context.route("**/weights/fractions*", lambda route: held.append(route))
    page = context.new_page()
    page.goto(space_address)
    page.wait_for_selector("#view canvas")
    page.tap("[data-example]")
    assert "as soon as the model is here" in page.inner_text("#counts")
    assert page.evaluate("window.dcp.done") is False
    assert page.evaluate("window.dcp.trace().text") != page.input_value("#text")
    for _ in range(400):
        if held:
            break
        page.wait_for_timeout(50)
    for route in held:
        route.continue_()
    finished(page)
    assert page.evaluate("window.dcp.trace().text").startswith(page.input_value("#text"))
    context.close()


def test_a_reload_in_mid_run_and_a_second_tab_come_to_the_same_end(
    browser: Any, space_address: str
) -> None:
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(space_address + fragment(RIVER, new=150, seed=3, temperature=0.8))
    page.evaluate("window.dcp.ready")
    while page.evaluate("window.dcp.trace().text").find(RIVER) < 0:
        page.wait_for_timeout(20)
    loaded = sum("/weights/" in url for url in asked)
    page.reload()
    other = context.new_page()
    other.goto(space_address)
    theirs = ask(other, RIVER, new=20, temperature=0, seed=0)
    finished(page)
    found = page.evaluate("window.dcp.trace()")
    wanted = record(RIVER, model="dcp-mini", new_tokens=150, seed=3, temperature=0.8)
    assert found["token_ids"] == wanted.token_ids.tolist()
    alone = record(RIVER, model="dcp-mini", new_tokens=20, temperature=0)
    assert compare(theirs, alone).same_tokens
    # What the first page kept is not asked for again.
    assert sum("/weights/" in url for url in asked) == loaded
    context.close()


def test_a_browser_that_may_store_nothing_runs_all_the_same(
    browser: Any, space_address: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    context.new_cdp_session(page).send(
        "Storage.overrideQuotaForOrigin", {"origin": space_address.rstrip("/"), "quotaSize": 1000}
    )
    page.goto(space_address)
    assert ask(page, RIVER, new=5, temperature=0, seed=0).ids
    assert page.is_hidden("#problem")
    kept = "caches.open('dcp-weights').then((s) => s.keys()).then((k) => k.length)"
    assert page.evaluate(kept) == 0
    context.close()


def test_in_the_hubs_frame_its_address_bar_carries_the_run(
    browser: Any, space_address: str
) -> None:
    """The hub's page is played here; the Space inside tells it, and nobody else, its fragment."""
    # A public page may not frame a local server: the Space has the hub's kind of address, too.
    context = browser.new_context(service_workers="block")
    space = "https://someone-forgets.static.hf.space/"
    around = (
        f'<!doctype html><iframe src="{space}" width="900" height="700"></iframe><script>'
        "window.heard = []; addEventListener('message', (e) => heard.push([e.origin, e.data]));"
        "</script>"
    )
    context.route(
        "https://huggingface.co/**", lambda r: r.fulfill(body=around, content_type="text/html")
    )
    context.route(
        f"{space}**",
        lambda r: r.fulfill(
            response=r.fetch(url=r.request.url.replace(space, f"{space_address.rstrip('/')}/"))
        ),
    )
    page = context.new_page()
    page.goto(HUB)
    inside = page.frames[1]
    answer = ask(inside, "A cat & a dog.", new=3, temperature=0, seed=0)
    assert answer.text.startswith("A cat & a dog.")
    heard = page.evaluate("window.heard")
    wanted = fragment("A cat & a dog.", seed=0, new=3, temperature=0)
    assert [origin for origin, _ in heard] == [space.rstrip("/")] * len(heard)
    assert heard[-1][1]["hash"].replace("+", "%20") == wanted.replace("+", "%20")
    context.close()

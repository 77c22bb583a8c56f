"""The app behind a real server, seen by clients that speak its protocol: no browser, no model.

The long form is ``python -m benchmarks.load``.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.exceptions import InvalidStatus

from benchmarks.load.trial import Server, Trial, places, served
from benchmarks.load.window import Window
from tests.app.fakes import tiny_model

FAKE = Path(__file__).resolve().parents[1] / "browser" / "served_app.py"
T = TypeVar("T")
MINE = "What I typed before the server was started again."


def whole(visit: Coroutine[Any, Any, T]) -> T:
    """What ``visit`` gives; in a thread, as the browser tests before may have left a loop here."""
    with ThreadPoolExecutor(1) as alone:
        return alone.submit(asyncio.run, visit).result()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tiny_model(tmp_path_factory.mktemp("bundle") / "models")
    with served(
        FAKE, DCP_TEST_MODELS=str(models), DCP_TEST_PAUSE="0.02", DCP_TEST_BARE="1"
    ) as found:
        yield found


def test_visitors_who_come_at_once_are_told_their_place_and_served(server: Server) -> None:
    ended = whole(Trial(server, new_tokens=64).at_once(6))
    assert [one.note[:5] for one in ended] == ["Done:"] * 6
    told, wrong = places(ended)
    assert told >= 5
    assert wrong == 0
    lied = [replace(one, places=[(at, 5 - ahead) for at, ahead in one.places]) for one in ended]
    assert places(lied)[1] > 0


def test_whatever_a_component_says_the_page_is_drawn(server: Server) -> None:
    odd = [None, True, -1, 1e308, 10**30, "x", [1], {}, {"token": "x", "layer": [], "step": {}}]
    large = {"token": 10**9, "layer": 10**9, "step": 10**9, "shift": 1e300, "link": {"text": [1]}}

    async def say() -> list[str]:
        async with Window(server.host) as window:
            for shape in [*odd, large]:
                parts = ("at", "dial", "word", "hello", "draft", "broken")
                await window.say({"view": dict.fromkeys(parts, shape), "ear": {"draft": shape}})
                await window.say({"view": shape, "ear": shape})
            return window.errors

    assert whole(say()) == []


def test_what_was_typed_outlives_a_server_that_is_started_again(server: Server) -> None:
    async def reopen() -> tuple[list[str], list[str]]:
        async with Window(server.host) as window:
            [box] = window.texts
            async with Window(server.host, brings={box: MINE}) as again:
                return list(window.texts.values()), list(again.texts.values())

    assert whole(reopen())[1] == [MINE]


def test_a_server_for_strangers_tells_no_metrics(server: Server) -> None:
    async def look() -> None:
        async with Window(server.host):
            pass

    whole(look())
    with urllib.request.urlopen(f"http://{server.host}/_stcore/metrics", timeout=30) as answer:
        assert answer.read().strip() in (b"", b"# EOF")


def test_a_name_of_another_site_is_no_visitor(server: Server) -> None:
    async def come() -> None:
        async with Window(server.host, headers={"Host": "evil.example:8501"}):
            pass

    with pytest.raises(InvalidStatus):
        whole(come())

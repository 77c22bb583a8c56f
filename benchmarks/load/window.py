"""One window of the app without a browser: Streamlit's protocol over a WebSocket.

It opens a page, presses "Generate" and polls as a browser does: as often as the page asks for, and
no more. Knows what the app's first page says, and nothing of how it is served.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Ended", "Window"]

_WAITING = re.compile(r"Waiting in line: (\d+) runs? before yours\.|You are next\.")
_ENDED = re.compile(r"Done:|Stopped|The line is full|\d+ runs are waiting")
_IN_VIEW = re.compile(r'"line": ("(?:[^"\\]|\\.)*")')
_BEGUN = ("Loading the model", "Reading your text", "Writing:")
_TOLD = re.compile("|".join([_WAITING.pattern, _ENDED.pattern, *_BEGUN]))


@dataclass
class Ended:
    """A run as its visitor saw it.

    note     the last line
    seconds  from the press to the end
    places   (moment, runs said to be ahead), whenever it was said
    begun    when it was first seen at work, None if it never was
    """

    note: str
    seconds: float
    places: list[tuple[float, int]]
    begun: float | None


@dataclass
class Window:
    """``async with Window("localhost:8501") as window:`` opens the first page and waits for it."""

    host: str
    headers: dict[str, str] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict, init=False)
    _timers: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _pages: dict[str, str] = field(default_factory=dict, init=False)
    _page: str = field(default="", init=False)
    _line: str = field(default="", init=False)
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)
    _finished: int = field(default=0, init=False)
    _socket: ClientConnection = field(init=False)
    _reader: asyncio.Task[None] = field(init=False)

    async def __aenter__(self) -> Window:
        self._socket = await connect(
            f"ws://{self.host}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers=self.headers,
            max_size=None,
            open_timeout=60,
        )
        self._reader = asyncio.create_task(self._read())
        await self._send()
        await self._until(lambda: self._finished > 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        self._stop_timers()
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    @property
    def open(self) -> bool:
        """Whether the server still talks to it."""
        return not self._reader.done()

    @property
    def pages(self) -> list[str]:
        """The names of the pages, as in their addresses."""
        return list(self._pages)

    async def visit(self, page: str) -> None:
        """Go to a page and wait until it is drawn."""
        self._page = self._pages[page]
        self._stop_timers()
        before = self._finished
        await self._send()
        await self._until(lambda: self._finished > before)

    async def generate(self, text: str, new_tokens: int, seconds: float = 300.0) -> Ended:
        """Write ``text``, press "Generate", and look on until the run has ended."""
        self._line, start, begun = "", time.monotonic(), None
        places: list[tuple[float, int]] = []
        await self._send(text=text, new_tokens=new_tokens, press="generate")
        before = ""

        def news() -> bool:
            return self._line != before

        while not _ENDED.match(self._line):
            left = start + seconds - time.monotonic()
            if not await self._until(news, left):
                return Ended(f"lost: {self._line!r}", seconds, places, begun)
            before = self._line
            if said := _WAITING.search(before):
                places.append((time.monotonic(), int(said[1] or 0)))
            elif begun is None and before.startswith(_BEGUN):
                begun = time.monotonic()
        return Ended(self._line, time.monotonic() - start, places, begun)

    async def _until(self, holds: Callable[[], bool], seconds: float = 120.0) -> bool:
        async def wait() -> None:
            async with self._heard:
                await self._heard.wait_for(lambda: holds() or self._reader.done())

        with suppress(TimeoutError):
            await asyncio.wait_for(wait(), max(seconds, 0))
        return holds()

    async def _send(
        self, fragment: str = "", text: str | None = None, new_tokens: int = 0, press: str = ""
    ) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string = "tour=off"
        state.page_script_hash, state.fragment_id = self._page, fragment
        state.is_auto_rerun = bool(fragment)
        if text is not None:
            state.widget_states.widgets.add(id=self._ids["text"], string_value=text)
            state.widget_states.widgets.add(id=self._ids["new_tokens"], int_value=new_tokens)
        if press:
            state.widget_states.widgets.add(id=self._ids[press], trigger_value=True)
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        try:
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                async with self._heard:
                    self._hear(message)
                    self._heard.notify_all()
        finally:
            async with self._heard:
                self._heard.notify_all()

    def _hear(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            # A page drawn anew asks anew for what it wants polled.
            self._stop_timers()
        elif kind == "navigation":
            self._pages = {p.url_pathname or p.page_name: p.page_script_hash
                           for p in message.navigation.app_pages}  # fmt: skip
        elif kind == "auto_rerun":
            self._poll(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self._drop(fragment)
        elif kind == "script_finished":
            self._finished += 1
        elif kind == "delta":
            self._see(message.delta.new_element)

    def _see(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind in ("text_area", "number_input", "button"):
            name = getattr(element, kind).id
            # A widget's key is the end of its id.
            self._ids[name.rpartition("-")[2]] = name
        elif kind == "markdown":
            self._take(element.markdown.body)
        elif kind == "text":
            self._take(element.text.body)
        elif found := _IN_VIEW.search(element.bidi_component.json):
            self._take(str(json.loads(found[1])))

    def _take(self, text: str) -> None:
        """Keep what tells of the run."""
        if _TOLD.match(text):
            self._line = text

    def _poll(self, fragment: str, interval: float) -> None:
        async def again() -> None:
            while True:
                await asyncio.sleep(interval)
                await self._send(fragment)

        self._drop(fragment)
        self._timers[fragment] = asyncio.create_task(again())

    def _drop(self, fragment: str) -> None:
        if task := self._timers.pop(fragment, None):
            task.cancel()

    def _stop_timers(self) -> None:
        for fragment in list(self._timers):
            self._drop(fragment)

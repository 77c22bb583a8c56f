"""One window of the app without a browser: Streamlit's protocol over a WebSocket.

It opens a page, presses "Generate" and polls as a browser does: as often as the page asks for, and
no more. Knows what the app's first page says, and nothing of how it is served.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.load.ended import Ended

__all__ = ["Window"]

_WAITING = re.compile(r"Waiting in line: (\d+) runs? before yours\.|You are next\.")
_ENDED = re.compile(r"Done:|Stopped|The line is full|\d+ runs are waiting")
_IN_VIEW = re.compile(r'"line": ("(?:[^"\\]|\\.)*")')
_BEGUN = ("Loading the model", "Reading your text", "Writing:")
_TOLD = re.compile("|".join([_WAITING.pattern, _ENDED.pattern, *_BEGUN]))


# What stands in a widget that nobody has touched.
_FILLED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "number_input": lambda widget: (
        {"int_value": int(widget.default)}
        if widget.data_type == widget.INT
        else {"double_value": widget.default}
    ),
    "selectbox": lambda widget: {"string_value": widget.options[widget.default]},
    "slider": lambda widget: (
        {} if widget.type == widget.SELECT_SLIDER else {"double_array_value": list(widget.default)}
    ),
}
_WIDGETS = ("text_area", "button", "bidi_component", *_FILLED)


@dataclass
class Window:
    """``async with Window("localhost:8501") as window:`` opens the first page and waits for it."""

    host: str
    headers: dict[str, str] = field(default_factory=dict)
    brings: dict[str, str] = field(default_factory=dict)
    """Texts by the ids of their widgets: what a page that was there before still shows."""
    errors: list[str] = field(default_factory=list, init=False)
    """What the app failed with, as the page says it."""
    texts: dict[str, str] = field(default_factory=dict, init=False)
    """What stands in the text boxes, by the ids of their widgets."""
    _ids: dict[str, str] = field(default_factory=dict, init=False)
    _values: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
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
        self._values = {widget: {"string_value": text} for widget, text in self.brings.items()}
        await self._run(self._message())
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
        await self._run(self._message())

    async def say(self, states: Mapping[str, Any]) -> None:
        """Say for each component that its state is so, whatever that is; wait for the page."""
        for widget, state in states.items():
            self._values[self._ids[widget]] = {"json_value": json.dumps(state)}
        await self._run(self._message())

    async def generate(self, text: str, new_tokens: int, seconds: float = 300.0) -> Ended:
        """Write ``text``, press "Generate", and look on until the run has ended."""
        self._line, start = "", time.monotonic()
        places: list[tuple[float, int]] = []
        self._values[self._ids["text"]] = {"string_value": text}
        self._values[self._ids["new_tokens"]] = {"int_value": new_tokens}
        message = self._message()
        message.rerun_script.widget_states.widgets.add(id=self._ids["generate"], trigger_value=True)
        await self._send(message)
        before = ""

        def news() -> bool:
            return self._line != before

        while not _ENDED.match(self._line):
            left = start + seconds - time.monotonic()
            if not await self._until(news, left):
                return Ended(f"lost: {self._line!r}", seconds, places, time.monotonic())
            before = self._line
            if said := _WAITING.search(before):
                places.append((time.monotonic(), int(said[1] or 0)))
        over = time.monotonic()
        return Ended(self._line, over - start, places, over)

    async def _until(self, holds: Callable[[], bool], seconds: float = 120.0) -> bool:
        async def wait() -> None:
            async with self._heard:
                await self._heard.wait_for(lambda: holds() or self._reader.done())

        with suppress(TimeoutError):
            await asyncio.wait_for(wait(), max(seconds, 0))
        return holds()

    def _message(self, fragment: str = "") -> BackMsg:
        message = BackMsg()
        state = message.rerun_script
        state.query_string = "tour=off"
        state.page_script_hash, state.fragment_id = self._page, fragment
        state.is_auto_rerun = bool(fragment)
        # A browser sends what stands in every widget.
        for widget, value in self._values.items():
            if not value:
                continue
            sent = state.widget_states.widgets.add(id=widget)
            for name, content in value.items():
                if isinstance(content, list):
                    getattr(sent, name).data.extend(content)
                else:
                    setattr(sent, name, content)
        return message

    async def _send(self, message: BackMsg) -> None:
        await self._socket.send(message.SerializeToString())

    async def _run(self, message: BackMsg) -> None:
        before = self._finished
        await self._send(message)
        await self._until(lambda: self._finished > before)

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
        if kind in _WIDGETS:
            widget = getattr(element, kind)
            # A widget's key is the end of its id.
            self._ids[widget.id.rpartition("-")[2]] = widget.id
            if kind in _FILLED and widget.id not in self._values:
                self._values[widget.id] = _FILLED[kind](widget)
        if kind == "text_area":
            # What a server does not set stays as it is in the browser.
            kept = self.brings.get(widget.id, widget.default)
            self.texts[widget.id] = widget.value if widget.set_value else kept
        elif kind == "exception":
            self.errors.append(f"{element.exception.type}: {element.exception.message}")
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
                await self._send(self._message(fragment))

        self._drop(fragment)
        self._timers[fragment] = asyncio.create_task(again())

    def _drop(self, fragment: str) -> None:
        if task := self._timers.pop(fragment, None):
            task.cancel()

    def _stop_timers(self) -> None:
        for fragment in list(self._timers):
            self._drop(fragment)

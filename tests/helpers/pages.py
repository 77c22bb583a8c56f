"""A static Space in a headless Chromium, and what a text gives in it beside what the engine gives.

For tests and for ``benchmarks/space.py``. Playwright's ``wait_for_function`` evaluates a string in
the page, which its Content-Security-Policy forbids: here it is asked again and again instead.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from dcp.model.registry import OpenModel
from dcp.trace import Trace
from dcp.viewer.payload import NEAR_TIE

__all__ = [
    *("HOSTILE", "RIVER", "Answer", "Verdict", "ask", "compare", "finished", "fragment", "module"),
    *("recorded", "served"),
]

RIVER = "The river rose for three days, and the old bridge that the miller had built was gone. "
HOSTILE = (
    '<img src=x onerror="alert(1)"><script>alert(2)</script></textarea>"&lt;\' \u202eabc\u202c '
    "👩‍👩‍👧‍👦 e\u0301 \x00\x85 ١٢٣ <|endoftext|> {{name}} ${1} "
)


@contextmanager
def served(folder: Path, handler: type | None = None) -> Iterator[str]:
    """The address of ``folder``, handed out at a free port of this machine."""
    kind = handler or _Quiet
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(kind, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        # A page that is closed in the middle of a download is no news.
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True, eq=False)
class Answer:
    """What ``window.dcp.trace()`` gave: ids [T], death [L, T], the text."""

    ids: list[int]
    death: np.ndarray
    n_queries: int
    text: str


def fragment(text: str, **settings: object) -> str:
    """``#text=…`` with ``seed``, ``new``, ``temperature``, ``sparsity`` as given."""
    return "#" + urlencode({"text": text, **settings})


def recorded(model: OpenModel, settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `dcp.record` that mean what ``settings`` mean to the page."""
    found = {"new_tokens" if key == "new" else key: value for key, value in settings.items()}
    return found | {"model": model}


def finished(page: Any, seconds: float = 240) -> None:
    """Return when no run is on."""
    limit = time.monotonic() + seconds
    while not page.evaluate("window.dcp.done"):
        assert time.monotonic() < limit, "the run in the page did not end"
        page.wait_for_timeout(40)


def ask(page: Any, text: str, **settings: object) -> Answer:
    """Run ``text`` in an open page through its fragment, and wait for the end."""
    page.evaluate("window.dcp.ready")
    page.evaluate(
        "(hash) => { window.dcp.done = false; location.hash = ''; location.hash = hash; }",
        fragment(text, **settings),
    )
    finished(page)
    found = page.evaluate("window.dcp.trace()")
    death = np.array(found["death"], np.int64).reshape(-1, len(found["token_ids"]))
    return Answer(found["token_ids"], death, found["n_queries"], found["text"])


def module(page: Any, name: str, code: str, argument: Any = None) -> Any:
    """``code``, a function of the page's module ``name`` and ``argument``, called in the page."""
    home = page.get_attribute('script[type="module"]', "src").rsplit("/", 1)[0]
    url = f"{page.url.split('#')[0].split('?')[0]}{home}/{name}.js"
    call = f"async ([url, argument]) => ({code})(await import(url), argument)"
    return page.evaluate(call, [url, argument])


@dataclass(frozen=True)
class Verdict:
    """How an answer of the page compares with the engine's trace.

    same_tokens  whether all ids are equal
    differing    deaths that differ (0 where the tokens do: they are not comparable then)
    near_tie     whether the earliest of them hung on a gate logit within the float budget
    """

    same_tokens: bool
    differing: int
    near_tie: bool


def compare(answer: Answer, trace: Trace) -> Verdict:
    """The page against the engine. What follows from a near tie is forgiven with it."""
    if answer.ids != trace.token_ids.tolist():
        return Verdict(False, 0, False)
    wrong = np.argwhere(answer.death != trace.death)
    if not len(wrong):
        return Verdict(True, 0, False)
    steps = [min(int(answer.death[l, j]), int(trace.death[l, j])) for l, j in wrong]  # noqa: E741
    first = wrong[int(np.argmin(steps))]
    return Verdict(True, len(wrong), bool(abs(trace.margin[tuple(first)]) < NEAR_TIE))

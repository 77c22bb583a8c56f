"""The page with a recording that needs no model, a tagger that needs no spaCy, and no warm-up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dcp.model.registry
import dcp.ui.services
from dcp.speech.words import Word, words_of
from dcp.trace import Trace
from dcp.ui.settings import Settings, read, settings
from tests.app.fakes import FakeRecording, tiny_model

ROOT = Path(__file__).resolve().parents[2]


class PlainTagger:
    """Every run of letters is a noun, every other visible character punctuation."""

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        found = re.finditer(r"\w+|[^\w\s]", text)
        return [(m.start(), m.end(), "NOUN" if m[0][0].isalnum() else "PUNCT") for m in found]


def plain_words(trace: Trace) -> list[Word]:
    return words_of(trace, PlainTagger())


@pytest.fixture
def pause(request: pytest.FixtureRequest) -> float:
    """Seconds between two tokens; parametrise to change it."""
    return float(getattr(request, "param", 0.0))


@pytest.fixture
def open_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> Iterator[Callable[..., AppTest]]:
    """``open_page()`` -> the app as one window sees it, run once.

    ``public`` server, ``address`` parameters, ``first``: the page that the window enters by.
    """
    monkeypatch.setattr(dcp.model.registry, "BUNDLED", tiny_model(tmp_path / "models"))
    monkeypatch.setattr(
        dcp.ui.services, "begin", lambda ask, leave: FakeRecording(ask, leave, pause)
    )
    monkeypatch.setattr(dcp.ui.services, "tag", plain_words)
    monkeypatch.setattr(dcp.ui.services, "warm", lambda: None)
    dcp.ui.services.worker.clear()

    def open_one(
        public: bool = False, address: Mapping[str, str] | None = None, first: str = ""
    ) -> AppTest:
        limits: Settings = read({"DCP_PUBLIC": "1"} if public else {})
        settings.cache_clear()
        monkeypatch.setenv("DCP_PUBLIC", "1" if public else "")
        assert settings() == limits
        page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        for name, value in (address or {}).items():
            page.query_params[name] = value
        if first:
            page.switch_page(first)
        return page.run()

    yield open_one
    for limits in (read({}), read({"DCP_PUBLIC": "1"})):
        dcp.ui.services.worker(limits).close()
    dcp.ui.services.worker.clear()
    settings.cache_clear()

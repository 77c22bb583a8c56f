"""The app with a tiny real model as its only bundled one, for pages that ask the model."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dcp.model.registry
from dcp.ui.session import Session

TEXT = "The river rose 🙂 for three days. Then it fell, and <script>pwned()</script> spoke of it."


def bundle(checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Make ``checkpoint`` the only bundled model, called ``name``."""
    shutil.copytree(checkpoint, home / name)
    monkeypatch.setattr(dcp.model.registry, "BUNDLED", home)
    return name


def session(page: AppTest) -> Session:
    found: Session = page.session_state["session"]
    return found


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def settle(page: AppTest, asked: str, seconds: float = 60) -> AppTest:
    """Look again until the task kept under ``asked`` has ended, then once more."""
    end = time.monotonic() + seconds
    while page.session_state[asked].task.status().active:
        assert time.monotonic() < end, "the task did not end"
        time.sleep(0.03)
    return page.run()


def said(page: AppTest) -> str:
    """All plain text and captions of the page."""
    return "\n".join(element.value for kind in ("text", "caption") for element in page.get(kind))


def charts(page: AppTest) -> list[str]:
    """The figures on the page, as the JSON that is sent."""
    return [chart.proto.spec for chart in page.get("plotly_chart")]

"""Every page opens: from the sample without torch, during a run, and on traces that are odd."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import dcp.ui.running
from dcp.trace import ALIVE, Trace
from dcp.trace.amounts import percent
from dcp.ui.session import Session, Shown
from tests.helpers.traces import make_trace, random_trace

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
Open = Callable[..., AppTest]


def everything_dropped() -> Trace:
    """Every token is dropped by the next query, in every layer."""
    tokens = 63
    death = np.tile(np.arange(1, tokens + 1), (3, 1))
    death[:, -2:] = ALIVE
    return make_trace([f" word{i}" for i in range(tokens)], death, prompt_tokens=20)


def nothing_dropped() -> Trace:
    return make_trace([f" word{i}" for i in range(63)], np.full((3, 63), ALIVE), prompt_tokens=20)


def hostile() -> Trace:
    pieces = [
        "<script>",
        "$x$",
        "**b**",
        " :red[a]",
        " 🙂",
        "\u202e",
        "\x00",
        "](javascript:1)",
    ] * 8
    dead = np.minimum(np.arange(64) + 5, 62)
    death = np.where(np.arange(64) < 40, dead, ALIVE)
    return make_trace(
        pieces, np.tile(death, (2, 1)), prompt_tokens=9,
        model="../../etc/**x** ![x](https://example.org/x.png) <b>", gate_shift=-(2**62),
        sampling={"temperature": None}, tokens_per_second=2**62, document="**d**",
    )  # fmt: skip


ODD: dict[str, Callable[[], Trace | None]] = {
    "no trace at all": lambda: None,
    "a trace of another model": lambda: random_trace(5, layers=31, tokens=131, prompt_tokens=40),
    "no continuation": lambda: random_trace(6, tokens=63),
    "a text of one token": lambda: make_trace(["Word"], np.full((3, 1), ALIVE)),
    "one token, never read": lambda: make_trace(["Word"], np.full((3, 1), ALIVE), n_queries=0),
    "nothing dropped": nothing_dropped,
    "everything dropped": everything_dropped,
    "hostile": hostile,
}


def wrong(page: AppTest) -> list[str]:
    return [f"{error.message}: {error.stack_trace[-1:]}" for error in page.exception]


def open_all(page: AppTest) -> dict[str, list[str]]:
    """What went wrong on each page."""
    found = {}
    for name in PAGES:
        page.switch_page(f"pages/{name}.py").run()
        assert len(page.title) == 1, name
        found[name] = wrong(page)
    return {name: errors for name, errors in found.items() if errors}


@pytest.mark.parametrize("kind", list(ODD))
def test_every_page_opens_on_an_odd_trace(open_page: Open, kind: str) -> None:
    page = open_page()
    session: Session = page.session_state["session"]
    trace = ODD[kind]()
    if trace is None:
        session.shown = Shown()
    else:
        session.show(trace, (), "upload", "An opened trace.")
    assert open_all(page) == {}


@pytest.mark.parametrize("pause", [0.5], indirect=True)
def test_a_run_and_what_was_asked_outlive_a_change_of_page(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="new_tokens").set_value(200).run()
    page.button(key="generate").click().run()
    session: Session = page.session_state["session"]
    assert session.work.job is not None
    assert open_all(page) == {}
    page.switch_page("pages/cost.py").run()
    assert session.work.job is not None
    session.work.job.cancel()
    page.switch_page("pages/explore.py").run()
    assert page.number_input(key="new_tokens").value == 200
    end = time.monotonic() + 60
    while session.work.job is not None and time.monotonic() < end:
        page.run()
    assert session.shown.origin == "run"


@pytest.mark.parametrize("pause", [0.5], indirect=True)
def test_other_pages_say_that_a_run_is_on_and_end_it(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    page.number_input(key="new_tokens").set_value(200).run()
    page.button(key="generate").click().run()
    session: Session = page.session_state["session"]
    assert session.work.job is not None
    # AppTest opens a page's file by itself, so app.py cannot know which page it is.
    monkeypatch.setattr(dcp.ui.running, "to_page", lambda *_, **__: None)
    line = AppTest.from_string(
        "import streamlit as st\n"
        "from dcp.ui.running import running\n"
        "running(st.session_state['session'], 'Explore')\n"
    )
    line.session_state["session"] = session
    session.page = "Explore"
    assert not line.run().caption
    session.page = "Cost"
    assert line.run().caption[0].value.startswith("A run is on.")
    session.work.job.cancel()
    end = time.monotonic() + 60
    while session.work.job is not None and time.monotonic() < end:
        line.run()
    assert session.shown.origin == "run"
    assert not line.run().caption


@pytest.mark.parametrize("name", [name for name in PAGES if name != "explore"])
def test_a_page_that_is_opened_first_comes_in_the_app(open_page: Open, name: str) -> None:
    """A server whose first visitor follows a page's link runs that file without app.py."""
    page = open_page(first=f"pages/{name}.py")
    assert wrong(page) == []
    assert len(page.title) == 1
    assert page.title[0].value != "What a language model forgets"
    assert any(line.value == "A sample that comes with the app" for line in page.sidebar.caption)


@pytest.fixture(scope="module")
def without_torch() -> dict[str, list[str]]:
    """What goes wrong on each page of the sample where nothing heavy can be imported."""
    script = f"""
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "spacy"):
            raise ImportError(name + " is blocked here")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {str(ROOT)!r})
import dcp.ui.services
dcp.ui.services.warm = lambda: None
from streamlit.testing.v1 import AppTest
page = AppTest.from_file({str(ROOT / "app.py")!r}, default_timeout=60).run()
found = {{}}
for name in {PAGES!r}:
    page.switch_page(f"pages/{{name}}.py").run()
    found[name] = [e.message for e in page.exception]
    assert page.session_state["session"].shown.origin == "sample"
    assert len(page.title) == 1
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_the_sample_without_torch(
    without_torch: dict[str, list[str]], name: str
) -> None:
    assert without_torch[name] == []


def test_a_run_reads_the_same_on_every_page(open_page: Open) -> None:
    """`sparsity_at_end`, to one decimal: sidebar, Figures and Compare."""
    page = open_page()
    trace = page.session_state["session"].shown.trace
    dropped = percent(trace.sparsity_at_end())
    assert any(f"{dropped} at the end" in facts.value for facts in page.sidebar.text)
    page.switch_page("pages/figures.py").run()
    page.segmented_control(key="figures_of").set_value("What Explore shows").run()
    assert any(f"{dropped} dropped at the end" in text.value for text in page.text)
    page.switch_page("pages/compare.py").run()
    page.selectbox(key="compare-b").set_value(page.selectbox(key="compare-a").value).run()
    table = page.dataframe[0].value.set_index("")
    assert table.loc[f"dropped at step {trace.n_queries - 1}", "A"] == dropped


def test_every_page_is_in_the_navigation() -> None:
    listed = (ROOT / "app.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in listed for name in PAGES)

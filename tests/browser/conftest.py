"""A headless Chromium, the app served on a free port, and a page that may reach localhost only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright import sync_api

from dcp.model.registry import open_model
from dcp.space import static
from tests.app.fakes import tiny_model
from tests.helpers.pages import served

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "browser" / "served_app.py"
WAIT_MS = 60_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return named or next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Chromium; where there is none, a skip at home and a failure in CI."""
    path = _chromium()
    if path is None:
        reason = "no Chromium found: install one or set CHROMIUM to its path"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def app_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with a recording that needs no model, at a free port of this machine."""
    with serve(tmp_path_factory) as address:
        yield address


@pytest.fixture(scope="session")
def real_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as it is, with the small bundled model: for pages that ask it."""
    with serve(tmp_path_factory, script=ROOT / "app.py", model="dcp-mini") as address:
        yield address


@pytest.fixture(scope="session")
def space() -> static.Space:
    """The static Space of the bundled model."""
    return static.build(open_model("dcp-mini"))


@pytest.fixture(scope="session")
def space_address(space: static.Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The static Space, handed out at a free port."""
    folder = tmp_path_factory.mktemp("space")
    static.write(space, folder)
    with served(folder) as address:
        yield address


@pytest.fixture
def space_page(browser: sync_api.Browser, space_address: str) -> Iterator[sync_api.Page]:
    """The page of the static Space; an error or a dialog in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(space_address)
    yield page
    context.close()
    assert not wrong


@contextmanager
def serve(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    tour: bool = False,
    script: Path = FAKE,
    model: str = "",
) -> Iterator[str]:
    """A server of its own; ``tour`` shows new windows around, ``model`` is what they begin with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    models = tiny_model(tmp_path_factory.mktemp("bundle") / "models")
    environment = os.environ | {
        "DCP_TEST_MODELS": str(models),
        "DCP_TEST_PAUSE": "0.02",
        "DCP_TOUR": "1" if tour else "0",
        "DCP_MODEL": model,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path_factory.mktemp("log") / "server.txt"
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamlit", "run"),
                str(script),
                *("--server.port", str(port), "--server.headless", "true"),
                *("--server.fileWatcherType", "none"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://localhost:{port}"
            _wait_for(f"{address}/_stcore/health", server, log)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
    raise AssertionError("the server did not come up: " + log.read_text()[-2000:])


@pytest.fixture
def window(browser: sync_api.Browser) -> Iterator[Callable[..., sync_api.Page]]:
    """``window(width, height, dark=False, motion=False)`` -> a new window, a session of its own.

    A request that leaves localhost, or an uncaught error in the page, fails the test.
    """
    left: list[str] = []
    errors: list[str] = []
    contexts = []

    def check(route: sync_api.Route) -> None:
        address = route.request.url
        if address.split(":")[0] in ("blob", "data", "file") or "//localhost:" in address:
            route.continue_()
        else:
            left.append(address)
            route.abort()

    def open_window(
        width: int = 1280, height: int = 1000, dark: bool = False, motion: bool = False
    ) -> sync_api.Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="no-preference" if motion else "reduce",
        )
        contexts.append(context)
        context.route("**/*", check)
        page = context.new_page()
        # What takes a second takes some twenty where others use the same cores.
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert left == []
    assert errors == []

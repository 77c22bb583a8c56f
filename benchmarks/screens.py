"""Photograph every page of the app with the bundled model, and film its tokens being forgotten.

    python -m benchmarks.screens                  # docs/screens/*.png and docs/forget.gif
    python -m benchmarks.screens --all --out /tmp/screens   # also every page dark and narrow
    python -m benchmarks.screens --only method cost --no-gif

Starts the app on a free port, waits until a page has stopped changing, and takes it whole. Needs
Chromium (CHROMIUM names it where it has another name) and what requirements-dev.txt lists.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.film import film, small

ROOT = Path(__file__).resolve().parent.parent
FIRST = "explore"
BROWSER = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
_TALLEST = 4200


@dataclass(frozen=True)
class Look:
    """A window to photograph in: its name in the file, its width, its theme."""

    name: str
    width: int
    dark: bool = False


LOOKS = (Look("wide", 1440), Look("dark", 1440, dark=True), Look("narrow", 400))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served() -> Iterator[str]:
    """The app on a free port of this machine; gives its address, stops it at the end."""
    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py")),
            *("--server.port", str(port), "--server.headless", "true"),
            *("--server.fileWatcherType", "none"),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://localhost:{port}"
        end = time.monotonic() + 120
        while not _answers(f"{address}/_stcore/health"):
            if server.poll() is not None or time.monotonic() > end:
                sys.exit("the app did not start: run `streamlit run app.py` to see why")
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next((found for found in map(shutil.which, filter(None, names)) if found), None)
    if path is None:
        sys.exit("no Chromium found: install one or set CHROMIUM to its path")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(BROWSER))
        try:
            yield browser
        finally:
            browser.close()


def pages_of(browser: Any, address: str) -> dict[str, str]:
    """The pages in the order of the navigation: name -> address."""
    window = browser.new_page(viewport={"width": 1440, "height": 900})
    window.goto(address)
    link = "[data-testid=stTopNavLink]"
    window.wait_for_selector(link, timeout=90_000)
    found = window.eval_on_selector_all(link, "(links) => links.map((link) => link.href)")
    window.close()
    names = [href.rstrip("/").rsplit("/", 1)[-1] for href in found]
    known = f"localhost:{address.rsplit(':', 1)[1]}"
    return {FIRST if name == known else name: href for name, href in zip(names, found, strict=True)}


# What tells that a page is still on its way: the script runs, something spins, a picture is empty.
_BUSY = """() => {
  const app = document.querySelector("[data-testid=stApp]");
  if (!app || app.dataset.testScriptState === "running") return true;
  if (document.querySelector("[data-testid=stSkeleton], [data-testid=stSpinner]")) return true;
  if ([...document.images].some((image) => !image.complete)) return true;
  return document.fonts.status !== "loaded" || !document.querySelector(".stMainBlockContainer h1");
}"""
_HEIGHT = """() => {
  const main = document.querySelector(".stMainBlockContainer");
  return main ? Math.ceil(main.getBoundingClientRect().height) : 0;
}"""


def settle(window: Any, seconds: float = 120) -> int:
    """Wait until nothing has moved for a second; gives the height of the page's content."""
    end = time.monotonic() + seconds
    height, calm = -1, 0
    while calm < 4:
        if time.monotonic() > end:
            print(f"  still moving after {seconds:.0f} s: {window.url}", file=sys.stderr)
            break
        window.wait_for_timeout(250)
        now = window.evaluate(_HEIGHT)
        calm = calm + 1 if now == height and not window.evaluate(_BUSY) else 0
        height = now
    return height


def photograph(browser: Any, address: str, look: Look, target: Path) -> None:
    """One whole page as one PNG."""
    context = browser.new_context(
        viewport={"width": look.width, "height": 1000},
        color_scheme="dark" if look.dark else "light",
        reduced_motion="reduce",
    )
    window = context.new_page()
    window.set_default_timeout(90_000)
    # The card of the tour would stand before the page.
    window.goto(f"{address}?tour=off")
    window.wait_for_selector(".stMainBlockContainer h1")
    height = settle(window)
    # The window grows to the page, so that nothing waits to be scrolled to; widgets follow.
    window.set_viewport_size({"width": look.width, "height": min(_TALLEST, height + 40)})
    height = min(_TALLEST, settle(window) + 40)
    window.set_viewport_size({"width": look.width, "height": height})
    settle(window)
    window.screenshot(path=target)
    context.close()
    small(target)
    print(f"{target.name}: {look.width} × {height}, {target.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Photograph every page of the app.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screens")
    parser.add_argument("--gif", type=Path, default=ROOT / "docs" / "forget.gif")
    parser.add_argument("--all", action="store_true", help="every page also dark and narrow")
    parser.add_argument("--only", nargs="+", metavar="PAGE", help="these pages alone")
    parser.add_argument("--no-gif", action="store_true")
    ask = parser.parse_args()
    ask.out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if not ask.no_gif:
            film(browser, ask.gif)
        with served() as address:
            for name, page in pages_of(browser, address).items():
                if ask.only and name not in ask.only:
                    continue
                for look in LOOKS:
                    if ask.all or look.name == "wide" or name == FIRST:
                        photograph(browser, page, look, ask.out / f"{name}-{look.name}.png")


if __name__ == "__main__":
    main()

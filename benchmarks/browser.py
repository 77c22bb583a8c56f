"""What a reader waits for in a browser: frames while the step moves, and the first picture.

    python -m benchmarks.browser              # both, JSON on stdout
    python -m benchmarks.browser frames --layers 30 --tokens 8192

Frames: the view of a trace of that size in headless Chromium, its step moved by one before every
frame, as a reader does who drags the scrubber. Intervals between frames on the wall, of which the
browser asks for 60 a second; and processor time of a frame, of all of Chromium's processes and of
the page's own thread, which other work on the same cores does not change much. First picture: the
app is served here and visited once; then windows with an empty cache, and one that comes back,
count from the address to the first paint and to the drawn view, with the processor time of Chromium
and of the server. Beside each stands its floor: an empty canvas of the same size that is redrawn at
every frame, and an app of one title. Everything shares this machine's cores, and there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.load.trial import Server, served
from benchmarks.screens import chromium
from dcp.viewer import static
from tests.helpers.traces import make_trace, random_deaths

DISPLAYS: tuple[dict[str, str], ...] = ({}, {"life": "every"}, {"life": "lives", "colour": "span"})
_FRAMES = """async ([from, frames]) => {
  const at = [], own = [];
  for (let i = 0; i < frames; i++) {
    at.push(await new Promise(requestAnimationFrame));
    dcpView.go(from + i);
    own.push(dcpView.cost);
  }
  return { between: at.slice(1).map((t, i) => t - at[i]), own };
}"""
# What a browser takes to show any canvas that changes at every frame.
_EMPTY_VIEW = """<!doctype html>
<canvas width="{0}" height="{1}" style="display: block"></canvas>
<script>
const canvas = document.querySelector("canvas"), ctx = canvas.getContext("2d");
let asked = false;
globalThis.dcpView = {{ canvas, cost: 0, set() {{}}, go(step) {{
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {{
    asked = false;
    ctx.clearRect(0, 0, {0}, {1});
    ctx.fillRect(step % {0}, 0, 1, {1});
  }});
}} }};
</script>"""
_EMPTY_APP = 'import streamlit as st\n\nst.title("Empty")\n'
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", default=["frames", "paint"])
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--visits", type=int, default=7)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with chromium() as browser:
        if "frames" in args.what:
            found["frames"] = frames(browser, args.layers, args.tokens, args.frames)
        if "paint" in args.what:
            with served(DCP_MODEL="dcp-mini") as server:
                found["first_paint"] = first_paint(browser, server, args.visits)
            with tempfile.TemporaryDirectory() as folder:
                empty = Path(folder) / "app.py"
                empty.write_text(_EMPTY_APP)
                with served(empty) as server:
                    found["floor_paint"] = first_paint(browser, server, args.visits, "h1")
    print(json.dumps(found, indent=1))


def frames(browser: Any, layers: int, tokens: int, count: int) -> list[dict[str, Any]]:
    """Milliseconds between frames, and of the script in one, for each of `DISPLAYS`; the floor."""
    words = [" end." if i % 24 == 23 else f" w{i % 97}" for i in range(tokens)]
    death = random_deaths(np.random.default_rng(0), layers, tokens, tokens)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "view.html"
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")

        def show(html: str) -> None:
            file.write_text(html, encoding="utf-8")
            page.goto(file.as_uri())
            page.wait_for_selector("canvas")

        show(static.html(make_trace(words, death), ()))
        size = page.evaluate("[dcpView.canvas.width, dcpView.canvas.height]")
        for display in DISPLAYS:
            page.evaluate("(s) => { for (const k in s) dcpView.set(k, s[k]); }", display)
            found = _scrubbed(page, tokens, min(count, tokens // 2))
            told.append({"layers": layers, "tokens": tokens, "display": display, **found})
        show(_EMPTY_VIEW.format(*size))
        told.append({"floor": size, **_scrubbed(page, tokens, min(count, tokens // 2))})
        page.close()
    return told


def _scrubbed(page: Any, tokens: int, count: int) -> dict[str, Any]:
    """The step moved ``count`` times, one a frame, from the middle of ``tokens``."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def thread() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")

    # The first frames paint what does not depend on the step.
    page.evaluate(_FRAMES, [tokens // 4, 30])
    before = _worked(), thread()
    told = page.evaluate(_FRAMES, [tokens // 2, count])
    after = _worked(), thread()
    session.detach()
    between, own = np.array(told["between"]), np.array(told["own"])
    return {
        "frames": len(own),
        "frame_ms_p50": float(np.percentile(between, 50)),
        "frame_ms_p95": float(np.percentile(between, 95)),
        "frame_ms_p99": float(np.percentile(between, 99)),
        "frames_per_second": 1e3 / float(between.mean()),
        "script_ms_p50": float(np.percentile(own, 50)),
        "script_ms_p95": float(np.percentile(own, 95)),
        "cpu_ms_a_frame": 1e3 * (after[0] - before[0]) / len(own),
        "page_thread_ms_a_frame": 1e3 * (after[1] - before[1]) / len(own),
    }


def _worked(name: str = "chrom") -> float:
    """Seconds of processor that the processes begun here with ``name`` in theirs have had."""
    mine = psutil.Process().children(recursive=True)
    return sum(sum(p.cpu_times()[:2]) for p in mine if name in p.name())


def first_paint(
    browser: Any, server: Server, visits: int, drawn: str = ".dcp canvas"
) -> dict[str, Any]:
    """Milliseconds from the address to the first paint and to ``drawn``, median and most."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    cold = [_visit(context, server, drawn)]
    # What the first run will need is loaded after the first page; that is over by then.
    context.new_page().wait_for_timeout(15_000)
    again = [_visit(context, server, drawn) for _ in range(visits)]
    context.close()
    fresh: list[tuple[float, ...]] = []
    for _ in range(visits):
        other = browser.new_context(viewport={"width": 1280, "height": 900})
        fresh.append(_visit(other, server, drawn))
        other.close()

    def told(times: list[tuple[float, ...]]) -> dict[str, float]:
        names = ("paint_ms", "view_ms", "browser_cpu_ms", "server_cpu_ms")
        return {
            f"{name}_{what}": float(of(column))
            for name, column in zip(names, np.array(times).T, strict=True)
            for what, of in (("p50", np.median), ("most", np.max))
        }

    return {"first_of_all": told(cold), "new_window": told(fresh), "comes_back": told(again)}


def _visit(context: Any, server: Server, drawn: str) -> tuple[float, ...]:
    """Wall to first paint and to ``drawn``, processor of Chromium and of the server until then."""

    def worked() -> float:
        return float(sum(server.process.cpu_times()[:2]))

    page = context.new_page()
    before = _worked(), worked()
    page.goto(f"http://{server.host}", wait_until="commit")
    page.wait_for_selector(drawn)
    seen = page.evaluate("performance.now()")
    after = _worked(), worked()
    painted = page.evaluate(_PAINTED)
    page.close()
    return painted, seen, *(1e3 * (b - a) for a, b in zip(before, after, strict=True))


if __name__ == "__main__":
    main()

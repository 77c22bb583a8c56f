"""The static Space in a headless Chromium: how fast, and does it say what the engine says?

    python -m benchmarks.space                                   speeds, under three minutes
    python -m benchmarks.space --file texts.txt [--texts 200]    speeds, then parity

Builds the Space and serves it here. Speeds: the times of a first and of a second visit (an empty
browser, then what it kept), then tokens a second of runs of 512 new tokens with WebAssembly and of
128 in plain JavaScript. Parity drives the page through fragments: each document of the file (a
blank line ends one; cut to a random length of 80 to 1500 characters, seeded) with 32 new tokens, by
turns at temperature 0 and 0.8, at four places of the dial. Every token and every death is compared
with `dcp.record`; a difference that begins where the engine's own gate logit is within `NEAR_TIE`
of 0 is counted as a near tie. Drawn tokens may differ where the uniform falls within float rounding
of the edge between two.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dcp.model.registry import open_model
from dcp.runs.recorder import record
from dcp.space import static
from tests.helpers.pages import ask, compare, fragment, recorded, served

DIAL: tuple[float | None, ...] = (None, 0.6, 0.87, 0.93)


def parity(page: Any, texts: list[str]) -> dict[str, int]:
    """Counts over ``texts``, see the module."""
    model = open_model("dcp-mini")
    keys = ("greedy_texts", "greedy_tokens_equal", "sampled_texts", "sampled_tokens_equal")
    counts = ("deaths_compared", "texts_with_differing_deaths", "near_ties")
    total = dict.fromkeys((*keys, *counts), 0)
    for i, text in enumerate(texts):
        settings: dict[str, Any] = {"seed": i, "temperature": 0 if i % 2 else 0.8}
        sparsity = DIAL[i // 2 % len(DIAL)]
        dial: dict[str, Any] = {} if sparsity is None else {"sparsity": sparsity}
        asked = recorded(model, {**settings, **dial})
        trace = record(text, new_tokens=32, **asked)
        verdict = compare(ask(page, text, new=32, **settings, **dial), trace)
        kind = "greedy" if i % 2 else "sampled"
        total[f"{kind}_texts"] += 1
        total[f"{kind}_tokens_equal"] += verdict.same_tokens
        total["deaths_compared"] += trace.death.size if verdict.same_tokens else 0
        total["texts_with_differing_deaths"] += verdict.differing > 0
        total["near_ties"] += verdict.near_tie
        print(f"\r{i + 1} of {len(texts)}: {total}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return total


def visit(context: Any, address: str) -> dict[str, float]:
    """Seconds from opening the page to its first paint, the sample in sight, the model ready."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#view canvas")
    ready = page.evaluate("window.dcp.ready.then(() => performance.now() / 1000)")
    paint, sample, downloaded = page.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN, "
        "performance.getEntriesByName('sample')[0].startTime, "
        "performance.getEntriesByName('downloaded')[0].startTime].map((t) => t / 1000)"
    )
    page.close()
    return {
        "first_paint_s": paint,
        "sample_painted_s": sample,
        "downloaded_s": downloaded,
        "ready_s": ready,
        "ready_after_download_s": ready - downloaded,
    }


def speed(context: Any, address: str, new: int) -> dict[str, Any]:
    """Three runs of ``new`` tokens after a warm-up; tokens per second slowest to fastest."""
    page = context.new_page()
    page.goto(address + fragment("A warm-up.", new=64))
    text = "The city lies on the northern bank of the river, about forty kilometres from the sea."
    lines = []
    for seed in range(3):
        ask(page, text, new=new, seed=seed, temperature=0.8)
        lines.append(page.evaluate("window.dcp.counters()"))
    impl = page.evaluate("window.dcp.ready")
    page.close()
    return {
        "impl": impl,
        "new_tokens": new,
        "tokens_per_second": sorted(line["mean"] for line in lines),
        "time_to_first_token_s": sorted(line["first"] for line in lines),
        "engine_bytes": lines[0]["engine"],
    }


def documents(path: Path, count: int) -> list[str]:
    generator = random.Random(17)
    found = [d.strip() for d in path.read_text(encoding="utf-8").split("\n\n") if len(d) > 80]
    return [generator.choice(found)[: generator.randrange(80, 1500)] for _ in range(count)]


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="texts to compare with the engine")
    parser.add_argument("--texts", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        space = static.build(open_model("dcp-mini"))
        static.write(space, Path(folder))
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        with served(Path(folder)) as address:
            result: dict[str, Any] = {
                "browser": f"headless Chromium {browser.version}",
                "load": os.getloadavg()[0],
                "download_bytes": space.download,
                "first_visit": visit(context, address),
                "second_visit": visit(context, address),
                "speed": [
                    speed(context, address, 512),
                    speed(context, address + "?plain", 128),
                ],
            }
            if args.file is not None:
                page = context.new_page()
                page.goto(address)
                start = time.perf_counter()
                result["parity"] = parity(page, documents(args.file, args.texts))
                result["parity_s"] = time.perf_counter() - start
        browser.close()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

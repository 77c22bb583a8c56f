"""The static Space in a headless Chromium: does it say what the engine says, and how fast?

    python -m benchmarks.space --file texts.txt [--texts 200] [--plain] > space.json

Builds the Space, serves it here, and drives its page through fragments: each document of the file
(a blank line ends one; cut to a random length of 80 to 1500 characters, seeded) with 32 new tokens,
by turns at temperature 0 and 0.8, at four places of the dial. Every token and every death is
compared with `dcp.record`; a difference that begins where the engine's own gate logit is within
`NEAR_TIE` of 0 is counted as a near tie. Drawn tokens may differ where the uniform falls within
float rounding of the edge between two. Speeds are those of a 512-token run, and the times of a
first and a second visit. ``--plain``: without WebAssembly.
"""

from __future__ import annotations

import argparse
import json
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
from tests.helpers.pages import ask, compare, fragment, served

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
        trace = record(text, model=model, new_tokens=32, **settings, **dial)
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
    """Seconds of one opening of the page: to the sample on screen, to the model ready."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#view canvas")
    ready = page.evaluate("window.dcp.ready.then(() => performance.now() / 1000)")
    marks = page.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN, "
        "performance.getEntriesByName('sample')[0].startTime, "
        "performance.getEntriesByName('downloaded')[0].startTime].map((t) => t / 1000)"
    )
    page.close()
    names = ("first_paint_s", "sample_painted_s", "downloaded_s")
    return dict(zip(names, marks, strict=True)) | {"ready_s": ready}


def speed(page: Any) -> dict[str, Any]:
    """Tokens per second of a 512-token run, three times."""
    text = "The city lies on the northern bank of the river, about forty kilometres from the sea."
    lines = []
    for seed in range(3):
        ask(page, text, new=512, seed=seed, temperature=0.8)
        lines.append(page.evaluate("window.dcp.counters()"))
    return {
        "impl": page.evaluate("window.dcp.ready"),
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
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--plain", action="store_true", help="without WebAssembly")
    args = parser.parse_args()
    query = "?plain" if args.plain else ""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        space = static.build(open_model("dcp-mini"))
        static.write(space, Path(folder))
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        with served(Path(folder)) as address:
            result: dict[str, Any] = {"download_bytes": space.download}
            result["first_visit"] = visit(context, address + query)
            result["second_visit"] = visit(context, address + query)
            page = context.new_page()
            page.goto(address + query + fragment("A warm-up.", new=64))
            result["speed"] = speed(page)
            start = time.perf_counter()
            result["parity"] = parity(page, documents(args.file, args.texts))
            result["parity_s"] = time.perf_counter() - start
        browser.close()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

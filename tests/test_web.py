"""The bundles in assets/ are what web/ builds: by digest, and by a repeated build with node."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dcp.viewer.payload import VERSION

ROOT = Path(__file__).resolve().parents[1]
WEB, ASSETS = ROOT / "web", ROOT / "assets"
BUNDLES = [
    *("viewer/viewer.js", "viewer/viewer.css", "viewer/typing.js", "method/method.js"),
    *("method/method.css", "put_back/words.js", "put_back/words.css"),
]


def sources() -> list[Path]:
    found = [p for p in WEB.glob("*/**/*") if p.suffix in {".js", ".css"}]
    inside = [p for p in found if "node_modules" not in p.parts]
    return sorted(inside, key=lambda path: path.relative_to(WEB).as_posix())


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_of_these_sources(name: str) -> None:
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(WEB).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    first = (ASSETS / name).read_text("utf-8").splitlines()[0]
    stamp = re.search(r"sources ([0-9a-f]{16})", first)
    assert stamp is not None
    assert stamp[1] == digest.hexdigest()[:16], "run `make web`"


def test_the_build_repeats(tmp_path: Path) -> None:
    if shutil.which("node") is None or not (WEB / "node_modules" / "esbuild").exists():
        if os.environ.get("CI", "").lower() in {"1", "true"} and shutil.which("npm"):
            pytest.fail("node is here but web/node_modules is not: run `make lint-js` first")
        pytest.skip("no node with web/node_modules: the digests above stand for the build")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=WEB, check=True, timeout=120)
    for name in BUNDLES:
        assert (tmp_path / name).read_bytes() == (ASSETS / name).read_bytes(), f"{name}: `make web`"


def test_tools_are_pinned_and_locked() -> None:
    wanted = json.loads((WEB / "package.json").read_text())["devDependencies"]
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert locked[f"node_modules/{name}"]["version"] == version


def test_view_and_payload_are_of_one_version() -> None:
    found = re.search(r"VERSION = (\d+);", (WEB / "viewer" / "run.js").read_text("utf-8"))
    assert found is not None
    assert int(found[1]) == VERSION


def test_no_source_file_is_longer_than_a_room() -> None:
    for path in sources():
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= 250, f"{path.relative_to(ROOT)} has {lines} lines"


def test_a_token_named_in_a_sentence_turns_nothing_around_it() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    texts = ["a", "a\u202eb", "\u05d0\u05d1", "\u061cx", "\U0001e900", "\u2067y"]
    code = (
        f"import {{ isolate, legible }} from {json.dumps(str(WEB / 'shared' / 'legible.js'))};"
        f"console.log(JSON.stringify({json.dumps(texts)}.map((t) => isolate(legible(t)))));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [
        *("a", "a\ufffdb", "\u2068\u05d0\u05d1\u2069"),
        *("\ufffdx", "\u2068\U0001e900\u2069", "\ufffdy"),
    ]


@pytest.mark.parametrize(
    "spans",
    [
        # A blank with the first byte of a letter, then its second byte.
        [(0, 1), (1, 3), (2, 3), (3, 4)],
        # A letter in three, the first with the blank before it, the last with the letter after.
        [(0, 1), (1, 3), (2, 3), (2, 4)],
        [(0, 2), (1, 2), (2, 4), (3, 4)],
        [(0, 1), (0, 1), (1, 2), (2, 3), (2, 3), (3, 4)],
        [(0, 1), (1, 1), (1, 4), (2, 3), (3, 4)],
    ],
)
@pytest.mark.parametrize("words", [[], [0, 1, 2, 4], [2, 3]])
def test_no_character_is_shown_twice_or_left_out(
    spans: list[tuple[int, int]], words: list[int]
) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    text = "ن ز."
    run = {
        "text": text, "T": len(spans), "prompt": len(spans),
        "spans": [at for span in spans for at in span],
        "words": [n for i in range(0, len(words), 2) for n in (*words[i : i + 2], 0, 0)],
        "wordPos": [0] * (len(words) // 2),
    }  # fmt: skip
    code = f"""import {{ cut }} from {json.dumps(str(WEB / "viewer" / "units.js"))};
        const run = {json.dumps(run)};
        const units = ["token", "word", "sentence"].map((grain) => cut(run, grain));
        console.log(JSON.stringify(units));"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, check=True, timeout=60
    )
    for units in json.loads(done.stdout):
        # Also in a sentence, blanks between parts apart.
        shown = [(part["start"], part["end"]) for unit in units for part in unit["parts"]]
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(shown))
        inked = {at for start, end in shown for at in range(start, end) if text[at] != " "}
        assert inked == {0, 2, 3}
        seen = [t for u in units for p in u["parts"] for t in range(p["first"], p["last"] + 1)]
        lasting = {j for j, (start, end) in enumerate(spans) if text[start:end].strip()}
        assert lasting <= set(seen)


def said(words: list[str], drops: list[int]) -> list[list[str]]:
    """The findings on a run of one layer, by the gates and by a rule."""
    ends = [0, *np.cumsum([len(word) for word in words]).tolist()]
    steps = len(words)
    run = {
        "Q": steps, "L": 1, "T": steps, "names": {}, "text": "".join(words),
        "spans": [n for i in range(steps) for n in (ends[i], ends[i + 1])],
        "first": [sum(drops[:t]) for t in range(steps + 2)],
    }  # fmt: skip
    code = f"""import {{ findings }} from {json.dumps(str(WEB / "viewer" / "findings.js"))};
        const run = {json.dumps(run)}, drops = {json.dumps(drops)};
        const whole = {{ drops, held: drops.map(() => 1) }};
        const text = ({{ parts }}) => parts.flat().join("");
        const said = (rule) => findings({{ ...run, rule }}, whole).map(text);
        console.log(JSON.stringify([said(""), said("H2O")]));"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, check=True, timeout=60
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("words", "at", "first"),
    [
        # The word that opens a sentence drops, not the stop before it.
        (["A", " b", ".", " C", " d", " e", ".", "\n", "F", " g", " h", " i"], {3, 8}, "New"),
        ([" a", ".", " “", "B", " c", " d", " e", "!”", " F", " g", " h", " i"], {3, 8}, "New"),
        (["一", "二", "。", "三", "四", "五", "六", "。", "七", "八", "九", "十"], {3, 8}, "New"),
        # A decimal opens none, nor does a line that goes on.
        (["3", ".", "5", " a", " b", " 4", ".", "1", " c", " d", " e", " f"], {2, 7}, "Drops"),
        (["A", " b", "\n", "c", " d", " e", " f", "\n", "g", " h", " i", " j"], {3, 8}, "Drops"),
        # Where the stops drop more in sum, they are named.
        (["A", " b", ".", " C", " d", " e", ".", "\n", "F", " g", " h", " i"], {2, 6}, "Full"),
    ],
)
def test_what_clears_the_memory_is_the_token_that_was_read(
    words: list[str], at: set[int], first: str
) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    by_gates, _ = said(words, [9 if t in at else 1 for t in range(len(words))])
    assert by_gates[0].startswith(first)
    if first == "New":
        assert (
            "first words drop 9.0 times what others do, 64\u00a0% of all in 17\u00a0%"
            in by_gates[0]
        )


def test_findings_on_a_rule_are_of_the_token_that_it_looked_at() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    # Twelve tokens; a full stop at 3 and 8, one layer, and drops at the step after each.
    words = ["a", "b", "c", ".", "d", "e", "f", "g", ".", "h", "i", "j"]
    drops = [0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0]
    by_gates, by_rule = said(words, drops)
    assert by_gates[0].startswith("Drops come evenly")
    assert "when “h” was read" in by_gates[1]
    assert by_rule[0].startswith("Full stops clear the memory: over 50 times")
    assert "after “.” was read" in by_rule[1]

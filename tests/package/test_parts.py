"""A plain install, without any extra: the library works, and what is missing is one line."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from dcp.resources import PARTS

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "assets" / "traces" / "sample.safetensors"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

REFUSED = {
    "app": (["app"], "dcp[app]"),
    "tag": (["tag", "--file", "words.txt"], "dcp[speech]"),
    "view": (["view", str(SAMPLE), "--out", "view.html"], "dcp[speech]"),
    "figure": (["figure", str(SAMPLE), "--kind", "held", "--out", "f.pdf"], "dcp[figures]"),
    "train": (
        ["train", "pretrain", "--shards", "s.npy", "--tokenizer", "t", "--out", "o"],
        "dcp[train]",
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the library and each command of REFUSED do where no module of PARTS is installed."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "words.txt").write_text("It rained.\n")
    commands = {name: words for name, (words, _) in REFUSED.items()}
    script = f"""
import contextlib, io, json, sys
sys.path.insert(0, {str(ROOT)!r})
for module in {list(PARTS)!r}:
    sys.modules[module] = None
import dcp
from dcp.cli.main import main
run = dcp.record("The museum opened in 1901.", model="dcp-mini", new_tokens=2)
found = {{"html": run._repr_html_()[:16], "rows": len(run.to_frame(()))}}
try:
    run.to_frame()
except dcp.DcpError as error:
    found["to_frame"] = str(error)
for name, words in {commands!r}.items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    found[name] = [status, out.getvalue(), err.getvalue()]
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_plain_install_records_and_shows(plain: dict[str, Any]) -> None:
    assert plain["html"] == "<iframe sandbox="
    assert plain["rows"] > 0
    assert "dcp[speech]" in plain["to_frame"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_missing_part_is_one_line_that_names_its_extra(plain: dict[str, Any], name: str) -> None:
    status, out, err = plain[name]
    assert (status, out) == (2, "")
    assert err.startswith("dcp: ")
    assert err.count("\n") == 1
    assert f"pip install '{REFUSED[name][1]}'" in err


def ranges() -> dict[str, tuple[str, Requirement]]:
    """{distribution: (its extra or "", its range)} of pyproject.toml."""
    found = {}
    groups = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    for extra, lines in groups.items():
        for requirement in map(Requirement, lines):
            if requirement.name != "dcp":
                assert requirement.name not in found, "each dependency is declared once"
                found[requirement.name] = (extra, requirement)
    return found


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]
    return {each.name: Version(next(iter(each.specifier)).version) for each in wanted}


@cache
def modules_of() -> dict[str, list[str]]:
    """{distribution: the modules it brings} of what is installed."""
    found: dict[str, list[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in set(owners):
            found.setdefault(owner.lower().replace("_", "-"), []).append(module)
    return found


def modules(distribution: str) -> list[str]:
    return modules_of().get(distribution.lower().replace("_", "-"), [])


def test_ranges_hold_the_tested_releases_and_begin_at_the_lowest_tested() -> None:
    exact, lowest = pins("requirements.txt"), pins(".ci/lowest.txt")
    assert set(ranges()) == set(exact) == set(lowest)
    for name, (_, requirement) in ranges().items():
        bounds = {part.operator: Version(part.version) for part in requirement.specifier}
        assert set(bounds) == {">=", "<"}, f"{name} has a lower and an upper bound"
        assert exact[name] in requirement.specifier, name
        assert lowest[name] in requirement.specifier, name
        shown = bounds[">="].release
        assert lowest[name].release[: len(shown)] == shown, f"{name}: the bound is what was tested"


def test_the_container_installs_the_tested_releases_by_the_hash_of_each_file() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    locked = dict[str, Version]()
    for line in lock.splitlines():
        name, _, rest = line.partition("==")
        release, *hashes = rest.split()
        assert hashes, line
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), line
        locked[name.lower().replace("_", "-")] = Version(release)
    for name, version in pins("requirements.txt").items():
        if name != "triton":
            assert locked[name.replace("_", "-")].public == version.public, name
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:3\.11-slim@sha256:[0-9a-f]{64}$", image, re.M)
    assert image.count("pip install") == image.count("--require-hashes")


def test_every_import_is_declared_in_the_part_that_parts_names() -> None:
    imported = set()
    for path in (ROOT / "dcp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    imported -= {*sys.stdlib_module_names, "dcp"}
    extras = {module: extra for name, (extra, _) in ranges().items() for module in modules(name)}
    assert imported <= set(extras), "an import that pyproject.toml does not declare"
    assert {module: extras[module] for module in PARTS} == PARTS
    assert {module for module in imported if extras[module]} <= set(PARTS)


def test_every_declared_dependency_is_imported() -> None:
    text = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "dcp").rglob("*.py"))
    for name in ranges():
        assert any(f"import {m}" in text or f"from {m}" in text for m in modules(name)), name

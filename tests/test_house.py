"""The house holds: one-way imports without circles, light imports, honest ``__all__``, short files.

Also what a repository owes its readers: the map, licences, pins, the lines of CI.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcp
from dcp.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "dcp").rglob("*.py"))

# Top to bottom: a room imports from those above it. ARCHITECTURE.md's map has the same order.
STREET = (
    *("errors", "progress", "arguments", "deaths", "resources", "cite", "text", "trace"),
    *("policies", "kernels", "model", "engine", "runs", "hf", "speech", "stats", "evaluate"),
    *("train", "study", "bench", "viewer", "method", "figures", "space", "ui", "cli"),
)
# Files over LONGEST lines that are waiting to be cut in two. This list only shrinks.
LONGEST = 250
TOO_LONG: set[str] = set()
READERS = ("trace", "speech", "stats", "figures", "viewer", "method")


def room_of(module: str) -> str:
    """``dcp.trace.file`` -> ``trace``; ``dcp`` itself -> ``""``."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else ""
    return {"__main__": "cli", "__version__": ""}.get(name, name)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """(imported module or name of dcp, whether it is imported at once), import by import."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute here"
                yield from ((f"{child.module}.{alias.name}", at_once) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_once and not inside)

    for module, at_once in walk(ast.parse(path.read_text(encoding="utf-8")), True):
        if module.startswith("dcp."):
            yield module, at_once


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    """Imports inside functions too: what is imported later is no less known."""
    room = room_of(name_of(path))
    if room == "":
        assert not list(imports_of(path)), "dcp itself imports nothing"
        return
    assert room in STREET, f"a new room: give {room} its place in STREET and in ARCHITECTURE.md"
    above = STREET[: STREET.index(room) + 1]
    for module, _ in imports_of(path):
        assert room_of(module) in ("", *above), f"{room} may not import {module}"


def imported_files() -> dict[str, set[str]]:
    """{module: the modules of dcp that it imports, at once or later}, each by the file it is."""
    modules = {name_of(path) for path in SOURCES}

    def file_of(name: str) -> str:
        return name if name in modules else file_of(name.rpartition(".")[0])

    return {
        name_of(path): {file_of(name) for name, _ in imports_of(path)} - {name_of(path)}
        for path in SOURCES
    }


def circles(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is left of ``graph`` without all that leads nowhere, or to which nothing leads."""
    left = graph
    while True:
        imported = {name for to in left.values() for name in to}
        inner = {
            name: to & left.keys()
            for name, to in left.items()
            if to & left.keys() and name in imported
        }
        if inner == left:
            return left
        left = inner


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == {}
    ring = {"b": {"c"}, "c": {"d"}, "d": {"b"}}
    assert circles({"a": {"b"}, **ring, "e": set(), "d": {"b", "e"}}) == ring


def test_no_file_imports_itself_by_a_detour() -> None:
    """Within a room as well, and by imports inside functions as well."""
    assert circles(imported_files()) == {}


def test_no_file_is_longer_than_two_screens_and_a_half() -> None:
    shipped = [*SOURCES, ROOT / "app.py"]
    for folder in ("pages", "benchmarks", "docs"):
        shipped += (ROOT / folder).rglob("*.py")
    long = {
        path.relative_to(ROOT).as_posix()
        for path in shipped
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST
    }
    assert not long - TOO_LONG, f"over {LONGEST} lines: cut them in two"
    assert not TOO_LONG - long, "short by now: take them off the list"


def map_of_the_house() -> list[tuple[str, list[str]]]:
    """(room, the files to begin with) of each row of the map in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", text, re.M)
    return [(room, re.findall(r"`([^`]+)`", files)) for room, files in rows]


def test_the_map_has_every_room_in_the_order_of_the_street() -> None:
    assert [room for room, _ in map_of_the_house()] == list(STREET)
    package = ROOT / "dcp"
    there = {path.parent.name for path in package.glob("*/__init__.py")}
    there |= {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    assert there == set(STREET)
    assert len(STREET) <= 26


@pytest.mark.parametrize(("room", "files"), map_of_the_house())
def test_the_map_names_what_is_there(room: str, files: list[str]) -> None:
    home = ROOT / "dcp" / room
    assert files
    for name in files:
        assert (home / name if home.is_dir() else home.parent / name).exists(), f"{room}: {name}"


def test_architecture_names_only_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        homes = (ROOT, ROOT / "dcp", ROOT / "dcp" / "figures")
        assert any((home / name).exists() for home in homes), name


@pytest.mark.parametrize("name", ["reference", "cpu", "native", "triton"])
def test_kernel_implementations_never_import_one_another(name: str) -> None:
    kernels = ROOT / "dcp" / "kernels"
    files = [kernels / f"{name}.py", *(kernels / name).rglob("*.py")]
    others = {"reference", "cpu", "native", "triton"} - {name}
    for path in filter(Path.exists, files):
        for module, _ in imports_of(path):
            parts = module.split(".")
            assert parts[1] != "kernels" or len(parts) < 3 or parts[2] not in others


@pytest.mark.parametrize("name", ["reference", "cpu", "triton"])
def test_implementations_of_training_never_import_one_another(name: str) -> None:
    home = ROOT / "dcp" / "kernels" / "training"
    files = [path for path in (home / f"{name}.py", *(home / name).rglob("*.py")) if path.exists()]
    assert files
    for path in files:
        imported = {module for module, _ in imports_of(path)}
        for other in {"reference", "cpu", "triton"} - {name}:
            assert not [m for m in imported if m.startswith(f"dcp.kernels.training.{other}")]


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = ("torch", "streamlit", "matplotlib", "transformers", "spacy", "plotly", "pandas", "triton")


def test_importing_dcp_and_building_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, dcp; from dcp.cli.main import build; build(); print(*sys.modules)"
    assert not set(run_python(code).split()) & {*HEAVY, "numpy"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_waits_for_nothing_heavy(command: str) -> None:
    """Modules and not seconds: what `dcp --help` loads beside the standard library is itself."""
    asked = ["dcp", *command.split(), "--help"]
    code = f"""
import sys
sys.argv = {asked!r}
from dcp.cli.main import main
try:
    main()
except SystemExit:
    pass
print("loaded:", *{{name.split(".")[0] for name in sys.modules}})
"""
    loaded = set(run_python(code).rsplit("loaded:", 1)[1].split())
    theirs = {name for name in loaded - sys.stdlib_module_names if not name.startswith("_")}
    # So that what it takes is the interpreter's own start: 0.2 s on a slow machine.
    assert theirs == {"dcp"}


def test_all_above_the_trace_runs_with_torch_blocked() -> None:
    modules = [m for m in map(name_of, SOURCES) if room_of(m) in READERS]
    code = f"""
import importlib, sys
for heavy in ("torch", "transformers", "tokenizers", "streamlit"):
    sys.modules[heavy] = None
for module in {modules!r}:
    importlib.import_module(module)
from dcp.trace import Trace
from dcp.viewer import static
trace = Trace.load("tests/data/design_trace.safetensors")
assert len(trace.to_frame(())) == trace.layers * trace.tokens
assert static.html(trace).startswith("<!doctype html>")
"""
    run_python(code)


def test_all_of_dcp_is_what_exists() -> None:
    for name in dcp.__all__:
        assert getattr(dcp, name) is not None
    assert set(dir(dcp)) == set(dcp.__all__)
    with pytest.raises(AttributeError):
        dcp.no_such_name  # noqa: B018


def test_a_submodule_never_hides_a_public_name() -> None:
    """``import dcp.x`` would put the module in the place of the function ``dcp.x``."""
    assert not {path.stem for path in (ROOT / "dcp").iterdir()} & set(dcp.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is_and_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module opens with what it is"
    module = importlib.import_module(name_of(path))
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert not public or hasattr(module, "__all__"), "a module with public names has __all__"
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    assert all(hasattr(module, name) for name in listed)


def tracked() -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing tells what is shipped")
    return [ROOT / name for name in os.fsdecode(done.stdout).split("\0") if name]


def test_no_shipped_file_is_over_nine_megabytes() -> None:
    sizes = {path: path.stat().st_size for path in tracked() if path.exists()}
    assert max(sizes.values()) <= 9_000_000
    for folder, limit in (("models", 32_000_000), ("pos", 7_000_000)):
        inside = [path for path in sizes if ROOT / "assets" / folder in path.parents]
        assert sum(sizes[path] for path in inside) <= limit, folder


def test_licences_and_citation_are_there_and_agree_on_the_version() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "END OF TERMS AND CONDITIONS" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    for source in ("Wikipedia", "Wikinews", "TinyStories", "African Storybook", "EWT"):
        assert source in notice
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    built = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert cited is not None
    assert built is not None
    assert cited[1] == built[1] == dcp.__version__


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"[A-Za-z0-9._-]+==[0-9][^ ;]*( *;.*)?$", line), line


def test_the_makefile_has_its_targets_and_ci_runs_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("app", "test", "lint", "check", "format", "wheel", "api", "gpu", "bench"):
        assert re.search(rf"^{target}:", makefile, re.M), target
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_the_workflow_is_made_of_steps_that_can_be_run_at_home() -> None:
    steps = set(re.findall(r"^run_(\w+)\(\)", (ROOT / ".ci" / "run").read_text(), re.M))
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    run = re.findall(r"run: (?:sudo )?\.ci/run (\w+)$", workflow, re.M)
    assert set(run) == steps
    for version in ("3.11", "3.12", "3.13"):
        assert f'"{version}"' in workflow
    other = [line for line in re.findall(r"run: (.+)$", workflow, re.M) if ".ci/run" not in line]
    assert other == ["make lint-ci", "brew install poppler"]

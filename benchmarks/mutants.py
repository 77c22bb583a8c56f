"""One-line faults by cosmic-ray, for `benchmarks.mutate`: drawn by seed, none in annotations.

Runs in cosmic-ray's own environment; knows no tests.
"""

from __future__ import annotations

import ast
import difflib
import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant", "drawn", "mutated"]


@dataclass(frozen=True)
class Mutant:
    """One fault: its place and kind, and the change as a diff; ``outcome`` once tried."""

    path: str
    operator: str
    occurrence: int
    line: int
    diff: str
    outcome: str = ""
    seconds: float = 0.0


def drawn(
    files: Sequence[str], copy: Path, session: Path, tool: Path, *, count: int, seed: int
) -> tuple[list[Mutant], int]:
    """``count`` mutants of ``files``, drawn by seed (0: all), and how many cosmic-ray has."""
    from cosmic_ray.work_db import WorkDB, use_db

    config = session.with_suffix(".toml")
    names = ", ".join(json.dumps(name) for name in files)
    config.write_text(
        f"[cosmic-ray]\nmodule-path = [{names}]\ntimeout = 1.0\nexcluded-modules = []\n"
        'test-command = "true"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session.unlink(missing_ok=True)
    subprocess.run([tool, "init", config, session], cwd=copy, check=True)
    with use_db(session, WorkDB.Mode.open) as database:
        every = [item.mutations[0] for item in database.work_items]
    every.sort(key=lambda m: (str(m.module_path), m.operator_name, m.occurrence))
    random.Random(seed).shuffle(every)
    found: list[Mutant] = []
    for item in every:
        if count and len(found) >= count:
            break
        path = str(item.module_path)
        sound = (copy / path).read_text(encoding="utf-8")
        faulty = mutated(sound, item.operator_name, item.occurrence)
        if _evaluated(faulty) == _evaluated(sound):
            continue
        diff = "\n".join(_changed(sound, faulty))
        place = item.start_pos[0]
        found.append(Mutant(path, item.operator_name, item.occurrence, place, diff))
    return found, len(every)


def mutated(source: str, operator: str, occurrence: int) -> str:
    import cosmic_ray.plugins
    from cosmic_ray.mutating import mutate_code

    code: str | None = mutate_code(source, cosmic_ray.plugins.get_operator(operator)(), occurrence)
    assert code is not None
    return code


def _evaluated(source: str) -> str:
    """The program without its annotations; itself where it does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)
    return ast.dump(tree)


def _changed(sound: str, faulty: str) -> Iterator[str]:
    lines = difflib.unified_diff(sound.splitlines(), faulty.splitlines(), n=0, lineterm="")
    return (line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))

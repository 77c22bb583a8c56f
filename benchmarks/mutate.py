"""Do the tests notice? One-line faults planted one by one by cosmic-ray, the tests run on each.

    make mutate                       # 60 mutants a room, drawn by seed
    make mutate ROOMS="cost" COUNT=0  # every mutant of one room

Works on a copy of the files that git knows, never on the checkout. Prints how many mutants there
are, how many were tried and killed, and each survivor as a diff.
Needs cosmic-ray (a virtual environment of its own, `make mutate`); the
tests run in the interpreter given by ``--python``. Not in CI: a room takes an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

ROOMS = {
    "trace": (("dcp/trace/trace.py", "dcp/deaths.py"), ("tests/trace",)),
    "cache": (
        ("dcp/model/cache.py", "dcp/model/cached.py"),
        ("tests/model/test_cache.py", "tests/model/test_zero_logit.py", "tests/engine"),
    ),
    "stats": (
        ("dcp/stats/intervals.py", "dcp/stats/estimate.py", "dcp/stats/triggers.py"),
        ("tests/stats",),
    ),
    "recorder": (("dcp/runs/recorder.py", "dcp/runs/meter.py"), ("tests/runs",)),
    "cost": (("dcp/stats/cost.py",), ("tests/stats/test_cost.py", "tests/app/test_cost_page.py")),
    "compare": (("dcp/stats/compare.py",), ("tests/app/test_compare.py",)),
}
"""Room -> (what is mutated, the tests that are to notice)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--count", type=int, default=60, help="mutants a room (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", type=Path, required=True, help="the tests' interpreter")
    parser.add_argument("--tool", type=Path, required=True, help="the program cosmic-ray")
    parser.add_argument("--scratch", type=Path, required=True)
    args = parser.parse_args()
    copy = args.scratch.resolve() / "tree"
    _copy(copy)
    for room in args.rooms:
        files, tests = ROOMS[room]
        session = args.scratch.resolve() / f"{room}.sqlite"
        total, chosen = _plan(session, copy, files, tests, args)
        subprocess.run(
            [args.tool, "exec", session.with_suffix(".toml"), session], cwd=copy, check=True
        )
        _say(room, total, chosen, _results(args.tool, session, copy))


def _copy(copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def _plan(
    session: Path, copy: Path, files: tuple[str, ...], tests: tuple[str, ...], args: Any
) -> tuple[int, int]:
    """Write the session of the mutants drawn; (how many there are, how many were drawn)."""
    from cosmic_ray.work_db import WorkDB, use_db

    command = f"{args.python.absolute()} -m pytest -x -q -p no:cacheprovider {' '.join(tests)}"
    config = session.with_suffix(".toml")
    names = ", ".join(json.dumps(name) for name in files)
    config.write_text(
        f"[cosmic-ray]\nmodule-path = [{names}]\ntimeout = 600.0\nexcluded-modules = []\n"
        f'test-command = {json.dumps(command)}\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session.unlink(missing_ok=True)
    subprocess.run([args.tool, "init", config, session], cwd=copy, check=True)
    # Tests that fail on the code as it is would kill every mutant.
    subprocess.run([args.tool, "baseline", config], cwd=copy, check=True)
    with use_db(session, WorkDB.Mode.open) as database:
        every = sorted(database.work_items, key=lambda item: repr(item.mutations))
        drawn = random.Random(args.seed).sample(every, min(args.count or len(every), len(every)))
        database.clear()
        database.add_work_items(drawn)
    return len(every), len(drawn)


def _results(tool: Path, session: Path, copy: Path) -> list[dict[str, Any]]:
    dumped = subprocess.run(
        [tool, "dump", session], cwd=copy, capture_output=True, text=True, check=True
    )
    rows = [json.loads(line) for line in dumped.stdout.splitlines() if line.strip()]
    return [result for _, result in rows if result]


def _say(room: str, total: int, chosen: int, results: list[dict[str, Any]]) -> None:
    alive = [each for each in results if each["test_outcome"] == "survived"]
    killed = len(results) - len(alive)
    print(f"{room}: {total} mutants, {chosen} drawn, {len(results)} tried, {killed} killed")
    for each in alive:
        print("\n".join(line for line in each["diff"].splitlines() if line[:1] in "+-"))


if __name__ == "__main__":
    main()

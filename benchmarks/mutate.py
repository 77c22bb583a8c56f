"""Do the tests notice? One-line faults planted one by one by cosmic-ray, the tests run on each.

    make mutate                       # 40 mutants a room, drawn by seed
    make mutate ROOMS="cost" COUNT=0  # every mutant of one room
    make mutate AGAIN=1               # those that survived the last time

Works on a copy of the files that git knows, never on the checkout. Prints how many mutants there
are, how many were tried and killed, and each survivor as a diff; docs/mutation.md has the last
run. A mutant that changes annotations alone is passed over: they are never evaluated. Needs
cosmic-ray (a virtual environment of its own, `make mutate`); the tests run in the interpreter
given by ``--python``, in `benchmarks.warm_tests`. Not in CI: it takes an hour.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.mutants import Mutant, drawn, mutated

ROOT = Path(__file__).resolve().parent.parent

ROOMS = {
    "trace": (("dcp/trace/trace.py", "dcp/deaths.py"), ("tests/test_deaths.py", "tests/trace")),
    "cache": (
        ("dcp/model/cache.py", "dcp/model/cached.py"),
        (
            *("tests/model/test_zero_logit.py", "tests/model/test_cache.py"),
            "tests/engine/test_engine.py",
        ),
    ),
    "stats": (
        ("dcp/stats/intervals.py", "dcp/stats/estimate.py", "dcp/stats/triggers.py"),
        (
            *("tests/stats/test_estimate.py", "tests/stats/test_intervals.py"),
            "tests/stats/test_triggers.py",
            *("tests/stats/test_stats.py", "tests/stats/test_repeats.py"),
        ),
    ),
    "recorder": (
        ("dcp/runs/recorder.py", "dcp/runs/meter.py"),
        (
            *("tests/runs/test_meter.py", "tests/runs/test_request.py"),
            *("tests/runs/test_recorder.py", "tests/model/test_dial.py"),
        ),
    ),
    "cost": (("dcp/stats/cost.py",), ("tests/stats/test_cost.py", "tests/app/test_cost_page.py")),
    "compare": (("dcp/stats/compare.py",), ("tests/stats/test_compare.py",)),
}  # fmt: skip
"""Room -> (what is mutated, the tests that are to notice, the quick ones first)."""

# Of the time that the tests take on the code as it is, and seconds on top.
_PATIENCE, _GRACE = 4.0, 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--count", type=int, default=40, help="mutants a room (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="only survivors of the last run")
    parser.add_argument("--python", type=Path, required=True, help="the tests' interpreter")
    parser.add_argument("--tool", type=Path, required=True, help="the program cosmic-ray")
    parser.add_argument("--scratch", type=Path, required=True)
    args = parser.parse_args()
    scratch: Path = args.scratch.resolve()
    copy = scratch / "tree"
    _copy(copy)
    with _Tests(args.python.absolute(), copy) as tests:
        for room in args.rooms:
            _try(room, copy, scratch, tests, args)


def _try(room: str, copy: Path, scratch: Path, tests: _Tests, args: Any) -> None:
    files, names = ROOMS[room]
    names = tuple(name for name in names if (copy / name).exists())
    kept = scratch / f"{room}.jsonl"
    before = _read(kept)
    code, seconds = tests.run(names, 900)
    # Tests that fail on the code as it is would kill every mutant.
    if code != 0:
        raise SystemExit(f"{room}: the tests fail as they are (exit {code}): {' '.join(names)}")
    patience = _PATIENCE * seconds + _GRACE
    known = {(m.path, m.operator, m.occurrence): m for m in before}
    if args.again:
        plan, total = [m for m in before if m.outcome == "survived"], 0
        known = {key: m for key, m in known.items() if m.outcome != "survived"}
    else:
        session = scratch / f"{room}.sqlite"
        plan, total = drawn(files, copy, session, args.tool, count=args.count, seed=args.seed)
    for mutant in plan:
        key = (mutant.path, mutant.operator, mutant.occurrence)
        if key in known and known[key].diff == mutant.diff:
            continue
        known[key] = tests.on(mutant, copy, names, patience)
        with kept.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(known[key])) + "\n")
        print(known[key].outcome, f"{known[key].seconds:.1f}", *key, flush=True)
    results = list(known.values()) if args.again else [known[k] for k in map(_key, plan)]
    _say(room, total, results)


def _key(mutant: Mutant) -> tuple[str, str, int]:
    return mutant.path, mutant.operator, mutant.occurrence


class _Tests:
    """The server of `benchmarks.warm_tests`, in the copy."""

    def __init__(self, python: Path, copy: Path) -> None:
        self._server = subprocess.Popen(
            [python, "-m", "benchmarks.warm_tests"], cwd=copy, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._server.stdout is not None
        assert self._server.stdin is not None
        self._answers, self._requests = self._server.stdout, self._server.stdin
        assert self._answers.readline() == "ready\n"

    def __enter__(self) -> _Tests:
        return self

    def __exit__(self, *wrong: object) -> None:
        self._requests.close()
        self._server.wait()

    def run(self, tests: Sequence[str], seconds: float) -> tuple[int | None, float]:
        self._requests.write(json.dumps({"tests": list(tests), "seconds": seconds}) + "\n")
        self._requests.flush()
        answer = json.loads(self._answers.readline())
        return answer["code"], answer["seconds"]

    def on(self, mutant: Mutant, copy: Path, tests: Sequence[str], seconds: float) -> Mutant:
        """The mutant with what became of it."""
        path = copy / mutant.path
        sound = path.read_text(encoding="utf-8")
        path.write_text(mutated(sound, mutant.operator, mutant.occurrence), encoding="utf-8")
        try:
            code, took = self.run(tests, seconds)
        finally:
            path.write_text(sound, encoding="utf-8")
        outcome = "survived" if code == 0 else "timeout" if code is None else "killed"
        return Mutant(**{**asdict(mutant), "outcome": outcome, "seconds": took})


def _copy(copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def _read(path: Path) -> list[Mutant]:
    """What the last runs found; of one mutant the newest result."""
    if not path.exists():
        return []
    found = [Mutant(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({_key(mutant): mutant for mutant in found}.values())


def _say(room: str, total: int, results: Sequence[Mutant]) -> None:
    alive = [each for each in results if each.outcome == "survived"]
    told = f"{total} mutants, " if total else ""
    print(f"\n{room}: {told}{len(results)} tried, {len(results) - len(alive)} killed")
    for each in alive:
        print(f"{each.path}:{each.line} {each.operator}\n{each.diff}")


if __name__ == "__main__":
    main()

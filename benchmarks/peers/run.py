"""Decoding speed beside what a user would pick instead, in one run, arms taking turns.

    python -m benchmarks.peers.run --model DIR --hf DIR --gguf Q4_1.gguf --peers PYTHON

``--model`` is a dcp checkpoint folder with gates, ``--hf`` its base as `transformers` loads it (the
same folder by default), ``--gguf`` the file it came from, ``--peers`` a Python that has what
requirements.txt says. Every arm is a process of its own that waits while
others are measured. A context of C means tokens C - n/2 to C + n/2 for the arms that go on from
turn to turn, and C for llama.cpp, which reads the same prompt's cache again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).parent
_WARM_UP = 2
_PEERS = ("xllamacpp", "gguf", "openvino-genai", "onnxruntime", "onnxruntime-genai")


@dataclass(frozen=True)
class Arm:
    """What is measured, and how its worker is started."""

    name: str
    python: str
    asked: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Milliseconds a token: median, 20th and 80th percentile over turns; processor time too."""

    arm: str
    context: int
    threads: int
    ms: float
    ms_p20: float
    ms_p80: float
    cpu_ms: float
    tokens_per_second: float


class Worker:
    """A running arm."""

    def __init__(self, arm: Arm, prompt: list[int]) -> None:
        self.arm = arm
        self._process = subprocess.Popen(
            [arm.python, str(_HERE / "worker.py"), json.dumps(arm.asked)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._say({"prompt": prompt})

    def ready(self) -> None:
        """Wait until the prompt is read."""
        self._answer()

    def steps(self, count: int) -> dict[str, float]:
        self._say({"steps": count})
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _say(self, said: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.arm.name} ended with status {self._process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found


def arms_of(args: argparse.Namespace, scratch: Path) -> list[Arm]:
    threads, most = args.threads, _WARM_UP + args.rounds * args.steps + 2
    common = {"threads": threads, "most": most}
    hf = str(args.hf or args.model)
    arms = [Arm("llama.cpp Q4_1", args.peers, {"kind": "llama", "model": str(args.gguf), **common})]
    for name, kind in (("Q8_0", "q8_0"), ("F16", "f16")):
        path = _made(scratch / f"{kind}.gguf", args.peers, "requant.py", str(args.gguf), kind)
        arms.append(
            Arm(f"llama.cpp {name}", args.peers, {"kind": "llama", "model": path, **common})
        )
    for kind in ("openvino-int8", "openvino-float32", "onnxruntime-int4", "onnxruntime-float32"):
        path = _made(scratch / kind, args.peers, "convert.py", hf, kind)
        tool, _, weights = kind.partition("-")
        asked = {"kind": tool, "model": path, "share": None, **common}
        arms.append(Arm(f"{tool} {weights}", args.peers, asked))
        if kind == "openvino-int8":
            name = f"{tool} {weights}, 80% evicted"
            arms.append(Arm(name, args.peers, asked | {"share": 0.2}))
    base = {"kind": "ours", "model": str(args.model), "impl": args.impl, **common}
    for weights in args.weights:
        for gates in args.gates:
            said = {"none": "dense", "kept": "0% dropped", "own": "own gates"}[gates]
            name = f"dcp {weights}, {said}"
            arms.append(Arm(name, sys.executable, base | {"weights": weights, "gates": gates}))
    if not args.no_transformers:
        asked = {"kind": "transformers", "model": hf, **common}
        arms.append(Arm("transformers float32", sys.executable, asked))
    return arms


def _made(path: Path, python: str, script: str, source: str, kind: str) -> str:
    """A peer's form of the model, written where it is not there yet."""
    if not path.exists():
        command = [python, str(_HERE / script), source, str(path), kind]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(path)


def measure(arms: list[Arm], ids: list[int], context: int, args: argparse.Namespace) -> list[Row]:
    grown = (_WARM_UP + args.rounds * args.steps) // 2
    workers = []
    for arm in arms:
        length = context if arm.asked["kind"] == "llama" else context - grown
        workers.append(Worker(arm, ids[:length]))
    # Prompts are read side by side: nothing is timed yet.
    for worker in workers:
        worker.ready()
        print(f"{worker.arm.name}: {context} tokens read", file=sys.stderr)
    for worker in workers:
        worker.steps(_WARM_UP)
    found: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in arms}
    for turn in range(args.rounds):
        for shift in range(len(workers)):
            worker = workers[(turn + shift) % len(workers)]
            found[worker.arm.name].append(worker.steps(args.steps))
    for worker in workers:
        worker.close()
    rows = []
    for name, turns in found.items():
        low, middle, high = np.percentile([t["ms"] for t in turns], [20, 50, 80]).tolist()
        cpu = float(np.median([t["cpu_ms"] for t in turns]))
        rows.append(Row(name, context, args.threads, middle, low, high, cpu, 1e3 / middle))
    return rows


def about(args: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this was measured."""
    code = f"from importlib.metadata import version as v; print(*map(v, {_PEERS}))"
    done = subprocess.run([args.peers, "-c", code], capture_output=True, text=True, check=True)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "versions": {
            **dict(zip(_PEERS, done.stdout.split(), strict=True)),
            **{name: version(name) for name in ("torch", "transformers")},
        },
        "command": " ".join(["python -m benchmarks.peers.run", *map(_nameless, sys.argv[1:])]),
    }


def _nameless(word: str) -> str:
    """A path without the folders of this machine."""
    return Path(word).name if word.startswith("/") else word


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.run", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--hf", type=Path)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--text", type=Path, default=Path("docs/log.md"), help="of the prompt")
    parser.add_argument(
        "--scratch", type=Path, default=Path("/tmp"), help="for the peers' forms of the model"
    )
    parser.add_argument("--context", type=int, nargs="+", default=[128, 1024, 4096])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--weights", nargs="+", default=["int8", "int4"])
    parser.add_argument("--gates", nargs="+", default=["none", "kept", "own"])
    parser.add_argument("--impl", default="native")
    parser.add_argument("--no-transformers", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str((args.hf or args.model) / "tokenizer.json"))
    ids = tokenizer.encode(args.text.read_text(encoding="utf-8")).ids
    if len(ids) < max(args.context):
        sys.exit(f"{args.text} has {len(ids)} tokens; give a longer text or smaller contexts")
    rows = []
    arms = arms_of(args, args.scratch)
    for context in args.context:
        rows += measure(arms, ids, context, args)
    for row in rows:
        print(
            f"{row.context:6} {row.arm:28} {row.ms:8.2f} ms [{row.ms_p20:.2f}, {row.ms_p80:.2f}]"
            f"  cpu {row.cpu_ms:7.2f}  {row.tokens_per_second:7.1f} tokens/s"
        )
    if args.out:
        found = {"about": about(args), "rows": [asdict(row) for row in rows]}
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

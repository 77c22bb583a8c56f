"""Every part of `make gpu` runs through on a CPU: tiny shapes, kernels interpreted, no graphs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton exists for Linux alone")

ROOT = Path(__file__).parent.parent.parent
PARTS = {
    "attention": ["attention"],
    "decode-gpt2-medium": ["decode", "gpt2-medium"],
    "decode-llama-1b": ["decode", "llama-1b"],
    "decode-smollm2-135m": ["decode", "smollm2-135m"],
    "decode-transformers": ["decode", "transformers"],
    "training": ["training"],
}


def rehearse(folder: Path, *part: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{part[0]}", *part[1:]],
        env=os.environ
        | {"TRITON_INTERPRET": "1", "DCP_REHEARSE": "1", "OUT": str(folder)}
        | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PARTS)
def test_a_part_runs_through_and_leaves_its_results(name: str, tmp_path: Path) -> None:
    rehearse(tmp_path, *PARTS[name])
    told = json.loads((tmp_path / f"{name}.json").read_text())
    assert "rehearsal" in told["machine"]["gpu"]
    assert told["rows"]
    assert not any("failed" in row or "skipped" in row for row in told["rows"])
    if name == "decode-gpt2-medium":
        # What the claims are read from.
        arms = {row.get("arm") for row in told["rows"]}
        assert {"dense", "pruned", "pruned over dense", "crossover"} <= arms
        rehearse(tmp_path, "plot")
        assert (tmp_path / "decode.svg").stat().st_size > 1000

"""Runs the tests of `interpreted/` where triton interprets: each file in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = sorted((HERE / "interpreted").glob("test_*.py"))

pytest.importorskip("triton", reason="triton exists for Linux alone")


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="this process runs the files itself"
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_kernels_hold_in_the_interpreter(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(path), "-p", "no:cacheprovider", "--no-header"],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

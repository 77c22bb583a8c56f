"""Every launch compiles for the cards we name and fits them: the committed table, and samples of it
compiled anew. Compiling needs no GPU, but a process that triton does not interpret in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="triton exists for Linux alone")

ROOT = Path(__file__).parent.parent.parent
TABLE = json.loads((ROOT / "docs" / "gpu" / "resources.json").read_text())
# Registers of a multiprocessor, and bytes of shared memory that one block can have.
REGISTERS = 65536
SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024}
# A few scalars put aside before a loop are no spill that costs anything.
SPILL = 32


def compile_launches(*arguments: str) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "dcp.kernels.triton.compile", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_the_table_names_every_launch() -> None:
    assert set(compile_launches("--list")["launches"]) == set(TABLE["launches"])


@pytest.mark.parametrize("arch", sorted(SHARED))
def test_every_launch_fits_the_card_and_none_spills(arch: str) -> None:
    for name, entry in TABLE["launches"].items():
        # The newest cards are named as far as the compiler takes them; the others must be there.
        if arch == "sm_100" and "registers" not in entry.get(arch, {}):
            continue
        needs = entry[arch]
        assert needs["spilled"] <= SPILL, name
        assert needs["shared"] <= SHARED[arch], name
        assert needs["registers"] * needs["threads"] <= REGISTERS, name


@pytest.mark.parametrize("part", ["single:llama-1b"])
def test_a_sample_compiled_anew_needs_what_the_table_says(part: str) -> None:
    for name, entry in compile_launches("--parts", part, "--arch", "90")["launches"].items():
        found, told = entry["sm_90"], TABLE["launches"][name]["sm_90"]
        assert found["spilled"] <= SPILL
        if TABLE["triton"] == triton.__version__:
            assert found == told, f"{name}: make the table again (see {TABLE['triton']})"

"""Compile kernels.c to kernels.wasm with the C compiler of the package ``ziglang``.

    pip install ziglang==0.17.1 && python assets/space/kernels/build.py [--check]

``--check`` builds elsewhere and compares: exit 1 if the committed binary is not what the source
gives. The result is the same on every machine for one version of the compiler.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPILER = "0.17.1"
FLAGS = (
    *("--target=wasm32-freestanding", "-msimd128", "-O3", "-nostdlib"),
    # Products and sums are rounded one by one: the same bits on every machine.
    "-ffp-contract=off",
    "-Wl,--no-entry,--import-memory,--strip-all,--export=__heap_base,-z,stack-size=16384",
)


def build(out: Path) -> None:
    """Write the module made from kernels.c to ``out``."""
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(out), "kernels.c"]
    subprocess.run(command, cwd=HERE, check=True)


def main() -> int:
    committed = HERE / "kernels.wasm"
    if "--check" not in sys.argv:
        build(committed)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "kernels.wasm"
        build(fresh)
        same = fresh.read_bytes() == committed.read_bytes()
    print("kernels.wasm is what kernels.c gives" if same else "kernels.wasm is not from kernels.c")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

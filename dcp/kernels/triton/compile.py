"""Compiles every kernel as it is launched, without a GPU, and reads what it needs of the card.

    python -m dcp.kernels.triton.compile --arch 80 90 100 --out docs/gpu/resources.json

Launches are caught on their way to the device: what is compiled is what would run, arguments
specialised as the runtime does (a 1 becomes a constant, a multiple of 16 says so). Must run in a
process that was not started with TRITON_INTERPRET=1. Reads registers, stack and shared memory off
the machine code with the cuobjdump that comes with triton.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

__all__ = ["Launch", "Resources", "caught", "compiled", "launches", "main"]

_TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
}
_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True, eq=False)
class Launch:
    """One kernel with the types and constants of one launch."""

    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    options: dict[str, int]

    @property
    def name(self) -> str:
        """Kernel, pointer types and constants: the same text for the same machine code."""
        kinds = "".join(t[1] + t[-2:] for t in self.signature.values() if t.startswith("*"))
        constants = ",".join(f"{k}={v}" for k, v in self.constants.items())
        plain = "".join("a" if name in self.aligned else "-" for name in self.signature)
        return f"{self.kernel.__name__}[{kinds};{constants};{plain}]"


@dataclass(frozen=True)
class Resources:
    """What one launch needs: registers a thread, bytes of spills a thread, of shared memory a
    block, and threads a block."""

    registers: int
    spilled: int
    shared: int
    threads: int


@contextmanager
def caught() -> Iterator[dict[str, Launch]]:
    """Within, launches reach no device: each lands under its name in the mapping given."""
    found: dict[str, Launch] = {}
    run = triton.JITFunction.run

    def catch(self: Any, *args: Any, grid: Any, warmup: bool = False, **options: Any) -> None:
        launch = _launch(self, args, options)
        found.setdefault(launch.name, launch)

    triton.JITFunction.run = catch
    try:
        yield found
    finally:
        triton.JITFunction.run = run


def _launch(kernel: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Launch:
    names = [p.name for p in kernel.params]
    constant = {p.name for p in kernel.params if p.is_constexpr}
    general = {p.name for p in kernel.params if p.do_not_specialize}
    values = dict(zip(names, args, strict=False)) | {k: v for k, v in options.items() if k in names}
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    aligned = []
    for name in names:
        value = values[name]
        if name in constant or (isinstance(value, int) and value == 1 and name not in general):
            signature[name] = "constexpr"
            constants[name] = value
        elif isinstance(value, Tensor):
            signature[name] = _TYPES[value.dtype]
            aligned.append(name)
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0 and name not in general:
                aligned.append(name)
    chosen = {k: v for k, v in options.items() if k in _OPTIONS}
    return Launch(kernel, signature, constants, tuple(aligned), chosen)


def compiled(launch: Launch, arch: int) -> Resources:
    """Compile for compute capability ``arch`` (80, 90, …) down to machine code."""
    names = list(launch.signature)
    source = ASTSource(
        launch.kernel,
        launch.signature,
        {(names.index(k),): v for k, v in launch.constants.items()},
        {(names.index(k),): [["tt.divisibility", 16]] for k in launch.aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=launch.options)
    usage = _usage(made.asm["cubin"])
    threads = 32 * made.metadata.num_warps
    return Resources(usage["REG"], usage["STACK"] + usage["LOCAL"], made.metadata.shared, threads)


def _usage(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", said)}


def launches(parts: list[str] | None = None) -> dict[str, Launch]:
    """Every launch of the catalogue, or of some of its parts, by name."""
    from dcp.kernels.triton.catalogue import CATALOGUE

    with caught() as found:
        for part, run in CATALOGUE.items():
            if parts is None or part in parts:
                run()
    return found


def _entry(launch: Launch, arch: int) -> dict[str, Any]:
    """Resources, or what the compiler said: it need not take every card."""
    try:
        return asdict(compiled(launch, arch))
    except Exception as wrong:
        return {"refused": str(wrong).strip().splitlines()[:1]}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m dcp.kernels.triton.compile")
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90, 100])
    parser.add_argument("--parts", nargs="+", default=None, help="of the catalogue, default all")
    parser.add_argument("--list", action="store_true", help="name the launches, compile nothing")
    parser.add_argument("--out", type=Path, default=None, help="default: standard output")
    options = parser.parse_args(arguments)
    found = launches(options.parts)
    table: dict[str, dict[str, Any]] = {name: {} for name in sorted(found)}
    if not options.list:
        for i, name in enumerate(table, 1):
            for arch in options.arch:
                table[name][f"sm_{arch}"] = _entry(found[name], arch)
            print(f"{i}/{len(table)} {name} {table[name]}", file=sys.stderr, flush=True)
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table.items())
    text = f'{{"triton": "{triton.__version__}", "launches": {{\n{rows}\n}}}}\n'
    if options.out:
        options.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

"""What the GPU benchmarks share: the device, arms that take turns, and the file that results go to.

With DCP_REHEARSE=1 (and TRITON_INTERPRET=1) the same programs run on a CPU with tiny shapes, graphs
replaced by plain calls: the numbers mean nothing, but no error is left for the lease of a GPU.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

__all__ = [
    "DEVICE", "HALF", "REHEARSAL", "Report", "copy_bandwidth", "graphed", "peak", "sized", "spread",
    "take_turns", "timed",
]  # fmt: skip

REHEARSAL = os.environ.get("DCP_REHEARSE") == "1"
DEVICE = torch.device("cpu" if REHEARSAL else "cuda")
# The interpreter computes bfloat16 wrongly.
HALF = torch.float32 if REHEARSAL else torch.bfloat16


T = TypeVar("T")
K = TypeVar("K")


def sized(real: T, rehearsed: T) -> T:
    """A size, or what stands for it in a rehearsal."""
    return rehearsed if REHEARSAL else real


def copy_bandwidth() -> float:
    """Bytes a second of a device copy, bytes read and written counted."""
    source = torch.empty(sized(2**32, 2**16), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), 20)["median"]
    return 2 * source.nbytes / seconds


def timed(run: Callable[[], Any], repeats: int, warm_up: int = 3) -> dict[str, float]:
    """Seconds of ``run`` on the device: median, p20 and p80 of ``repeats``."""
    return take_turns({"": run}, repeats, warm_up)[""]


def take_turns(
    arms: Mapping[K, Callable[[], Any]], repeats: int, warm_up: int = 3
) -> dict[K, dict[str, float]]:
    """`timed` of several arms, one run each in turn: all see the same state of the card."""
    for run in arms.values():
        for _ in range(sized(warm_up, 0)):
            run()
    seconds: dict[K, list[float]] = {name: [] for name in arms}
    for _ in range(sized(repeats, 1)):
        for name, run in arms.items():
            seconds[name].append(_once(run))
    return {name: spread(each) for name, each in seconds.items()}


def _once(run: Callable[[], Any]) -> float:
    if REHEARSAL:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started
    events: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
    start, stop = events
    torch.cuda.synchronize()
    start.record()
    run()
    stop.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(stop)) / 1000


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    n = len(ordered)
    return {
        "median": statistics.median(ordered),
        "p20": ordered[round(0.2 * (n - 1))],
        "p80": ordered[round(0.8 * (n - 1))],
    }


def graphed(run: Callable[[], Any]) -> Callable[[], Any]:
    """The same in one graph: what is small is otherwise launches alone."""
    if REHEARSAL:
        return run
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def peak(run: Callable[[], Any]) -> int:
    """Bytes of the card that ``run`` takes on top of what was taken before it."""
    if REHEARSAL:
        run()
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


class Report:
    """Rows of results, written to ``$OUT`` as they come: a run cut short keeps what it had.

    No cell begins after ``$MINUTES`` (8).
    """

    def __init__(self, name: str) -> None:
        folder = Path(os.environ.get("OUT") or "docs/gpu")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.json"
        self.rows: list[dict[str, Any]] = []
        self._machine = machine()
        self._end = time.monotonic() + 60 * float(os.environ.get("MINUTES") or 8)

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() > self._end

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        self.path.write_text(
            json.dumps({"machine": self._machine, "rows": self.rows}, indent=1) + "\n"
        )

    def attempt(self, label: dict[str, Any], run: Callable[[], dict[str, Any]]) -> None:
        """Add what ``run`` measures; a baseline that fails is told, not hidden."""
        if self.time_is_up:
            self.add(**label, skipped="the part's time was up")
            return
        try:
            self.add(**label, **run())
        except Exception as wrong:
            if REHEARSAL:
                raise
            self.add(**label, failed=f"{type(wrong).__name__}: {str(wrong).strip()[:300]}")
        if not REHEARSAL:
            torch.cuda.empty_cache()


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    import triton

    date = datetime.now(UTC).strftime("%Y-%m-%d")
    if REHEARSAL:
        return {"date": date, "gpu": "rehearsal: no GPU, no result", "torch": torch.__version__}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "date": date,
        "gpu": torch.cuda.get_device_name(),
        "driver": subprocess.run(query, capture_output=True, text=True).stdout.strip(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "triton": triton.__version__,
    }

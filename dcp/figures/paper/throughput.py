"""Speed and memory against context: kind "throughput", of one trace or of `dcp bench --json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import table
from dcp.figures.paper.style import drawing, figure

__all__ = ["throughput"]

_WINDOW = 16
_MIB = 2**20
# Contexts that lie further apart than this stand on a scale of doublings.
_FAR = 8
_NEEDS = ("context", "batch", "tokens_per_second", "ms_p20", "ms_p80")
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (8, 2)),
    (0, (2, 2)),
)
_MARKERS = "osD^vP"


def throughput(subject: Subject, options: Options, page: Page) -> Drawing:
    """Tokens per second (left) and bytes of the cache (right) against context.

    Raises RequestError for a trace with no timed step and for results of another command.
    """
    return _benchmark(subject, page) if subject.results else _run(subject, page)


def _run(subject: Subject, page: Page) -> Drawing:
    """One run by itself: what each generated step took, and what the deaths leave in memory."""
    trace = subject.trace
    seconds = trace.step_seconds[: trace.n_queries].astype(float)
    timed = np.flatnonzero(np.isfinite(seconds) & (seconds > 0))
    entry = trace.meta.memory.entry
    if len(timed) < 2:
        raise RequestError(
            "throughput needs a trace with generated tokens, or the results of a benchmark",
            remedy="results",
        )
    if entry is None:
        raise RequestError("throughput needs the bytes of an entry, which this trace does not tell")
    context = np.arange(1, trace.n_queries + 1)
    rate = 1 / seconds[timed]
    middle = _running_median(rate)
    live = trace.held().sum(0) * entry
    dense = context * trace.layers * entry
    with drawing(page):
        drawn, (left, right) = _panels(page, sharex=False)
        left.plot(
            context[timed], rate, ls="", marker=".", ms=2.2, color=page.palette.held, alpha=0.5,
            mew=0, label="one step",
        )  # fmt: skip
        left.plot(
            context[timed], middle, color=page.palette.ink, lw=1.1, label=f"median of {_WINDOW}"
        )
        left.set_ylim(0, float(np.quantile(rate, 0.98)) * 1.15)
        left.legend(loc="lower left")
        right.plot(
            context,
            dense / _MIB,
            color=page.palette.soft,
            ls=(0, (5, 2)),
            lw=0.9,
            label="dense",
        )
        right.fill_between(context, live / _MIB, color=page.palette.held, alpha=0.2, lw=0)
        right.plot(context, live / _MIB, color=page.palette.held, lw=1.1, label="live")
        right.set_ylim(bottom=0)
        right.legend(loc="upper left")
    speed = np.full(trace.n_queries, np.nan)
    speed[timed] = rate
    data = pd.DataFrame(
        {
            "context": context,
            "tokens_per_second": speed,
            "kv_bytes_live": live,
            "kv_bytes_dense": dense,
        }
    )
    words = caption(
        subject,
        "Left: tokens per second of each generated step, measured, with a running median of "
        f"{_WINDOW} steps (median of all {float(np.median(rate)):.0f}). Right: live bytes of "
        "keys and values, computed from the deaths and the bytes of an entry, beside those of a "
        "dense model.",
        f"Device {trace.meta.device}, implementation {trace.meta.impl}. One run alone is no "
        "comparison of speed: for that, draw it from the results of a benchmark.",
    )
    return Drawing("throughput", page, drawn, data, words)


def _benchmark(subject: Subject, page: Page) -> Drawing:
    """Arms of a benchmark at the batch size that has most contexts."""
    found = table(subject.results, _NEEDS, "throughput", "those of a benchmark")
    groups = found.groupby(["model", "batch"])["context"].nunique()
    model, batch = groups.sort_values(kind="stable").index[-1]
    data = found[(found["model"] == model) & (found["batch"] == batch)].reset_index(drop=True)
    kinds = list(dict.fromkeys(data["weights"]))
    data["name"] = [
        str(arm).removesuffix(f" {kind}")
        for arm, kind in zip(data["arm"], data["weights"], strict=True)
    ]
    # A colour and mark per arm; six at most can be told apart.
    names = dict.fromkeys(data["name"])
    looks = dict(zip(names, zip(page.palette.lines, _DASHES, _MARKERS, strict=True), strict=False))
    if len(names) > len(looks):
        raise RequestError(f"throughput shows up to {len(looks)} arms, not {len(names)}")
    with drawing(page):
        drawn, grid = _panels(page, len(kinds))
        pairs = np.reshape(grid, (len(kinds), 2))
        for kind, (left, right) in zip(kinds, pairs, strict=True):
            arms = data[data["weights"] == kind]
            for name, part in arms.groupby("name", sort=False):
                colour, dashes, marker = looks[str(name)]
                part = part.sort_values("context")
                look: dict[str, Any] = {
                    "color": colour,
                    "ls": dashes,
                    "marker": marker,
                    "ms": 3.2,
                    "lw": 1.1,
                    "mec": "white",
                    "mew": 0.4,
                }
                speed = part["tokens_per_second"].to_numpy(float)
                ends = [1e3 * batch / part["ms_p80"], 1e3 * batch / part["ms_p20"]]
                reach = [np.maximum(speed - ends[0], 0), np.maximum(ends[1] - speed, 0)]
                left.errorbar(part["context"], speed, reach, elinewidth=0.8, label=name, **look)
                held = part["kv_bytes_held"].astype(float) / _MIB
                right.plot(part["context"], held, **look)
            left.set_ylim(bottom=0)
            right.set_ylim(bottom=0)
            left.set_title(str(kind), loc="left")
            contexts = sorted(int(context) for context in data["context"].unique())
            for axes in (left, right):
                if contexts[-1] >= _FAR * contexts[0]:
                    axes.set_xscale("log", base=2)
                    axes.minorticks_off()
                axes.set_xticks(contexts, [f"{context:,}" for context in contexts])
        handles, labels = pairs[0][0].get_legend_handles_labels()
        drawn.legend(
            handles, labels, loc="outside upper center", ncols=3 if page.width > 4.5 else 2,
            handlelength=2,
        )  # fmt: skip
    threads = sorted({int(n) for n in data["threads"]}) if "threads" in data else []
    words = caption(
        subject,
        f"Decoding with {model}, batch {batch}. Left: tokens per second, median of turns taken by "
        "the arms in one process, bars from the 20th to the 80th percentile. Right: bytes "
        "allocated for the cache at the last step (none for transformers, which does not tell).",
        f"Threads: {', '.join(map(str, threads))}." if threads else "",
        "Other models and batch sizes of the file are left out." if len(groups) > 1 else "",
    )
    return Drawing("throughput", page, drawn, data, words)


def _panels(page: Page, rows: int = 1, sharex: bool = True) -> Any:
    drawn = figure(page, rows * (1.75 if page.width > 4.5 else 1.5) + (0.35 if rows > 1 else 0.15))
    grid = drawn.subplots(rows, 2, sharex=sharex)
    for left, right in np.reshape(grid, (rows, 2)):
        left.set_ylabel("tokens per second")
        right.set_ylabel("cache (MiB)")
    for axes in np.reshape(grid, (rows, 2))[-1]:
        axes.set_xlabel("context (tokens)")
    return drawn, grid


def _running_median(values: np.ndarray) -> np.ndarray:
    """Median of the ``_WINDOW`` values around each, at the ends of at least half of them: one slow
    first step is no trend."""
    half = _WINDOW // 2
    return np.array([np.median(values[max(0, i - half) : i + half]) for i in range(len(values))])

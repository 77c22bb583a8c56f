"""What training costs by the length of a window: kind "training", of `benchmarks.training_cost`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import one_model, table
from dcp.figures.paper.style import DASHES, drawing, figure

__all__ = ["training"]

_NEEDS = ("length", "ms", "ms_p20", "ms_p80", "peak_bytes")
_TITLES = {"attention": "attention of one layer", "step": "a whole step"}
_MARKERS = "osD"


def training(subject: Subject, options: Options, page: Page) -> Drawing:
    """Milliseconds and memory a token against length, attention alone above the whole step.

    Raises RequestError for results of another command.
    """
    data = table(subject.results, _NEEDS, "training", "those of `benchmarks.training_cost`")
    one_model(data, "training")
    arms = list(dict.fromkeys(str(arm) for arm in data.get("arm", ())))
    parts = [part for part in _TITLES if part in set(data.get("part", ()))]
    if not parts or not 0 < len(arms) <= len(_MARKERS):
        raise RequestError(
            f"training shows {' and '.join(_TITLES)} of up to {len(_MARKERS)} arms",
            remedy="results",
        )
    lengths = sorted({int(length) for length in data["length"]})
    with drawing(page):
        drawn = figure(page, len(parts) * (1.6 if page.width > 4.5 else 1.45) + 0.35)
        grid = np.reshape(drawn.subplots(len(parts), 2, sharex=True), (len(parts), 2))
        for part, (left, right) in zip(parts, grid, strict=True):
            for i, arm in enumerate(arms):
                mine = data[(data["part"] == part) & (data["arm"] == arm)].sort_values("length")
                at = mine["length"].to_numpy(float)
                look: dict[str, Any] = {
                    "color": page.palette.lines[i], "ls": DASHES[i], "marker": _MARKERS[i],
                    "ms": 3.2, "lw": 1.1, "mec": "white", "mew": 0.4,
                }  # fmt: skip
                low, ms, high = (mine[name].to_numpy(float) for name in ("ms_p20", "ms", "ms_p80"))
                reach = [np.maximum(ms - low, 0) / at, np.maximum(high - ms, 0) / at]
                left.errorbar(at, ms / at, reach, elinewidth=0.8, label=arm, **look)
                right.plot(at, mine["peak_bytes"].to_numpy(float) / at / 1024, **look)
            left.set_title(_TITLES[part], loc="left")
            left.set_ylabel("ms a token")
            right.set_ylabel("KiB a token")
            for axes in (left, right):
                axes.set_xscale("log", base=2)
                axes.minorticks_off()
                axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
                axes.set_ylim(bottom=0)
        for axes in grid[-1]:
            axes.set_xlabel("length of a window (tokens)")
        handles, labels = grid[0][0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=3, handlelength=2)
    threads = sorted({int(n) for n in data["threads"]}) if "threads" in data else []
    words = caption(
        subject,
        "Training with soft and hard gates beside dense, forward and backward of one window. Left: "
        "milliseconds a token, median of turns taken by the arms in one process, bars from the "
        "20th to the 80th percentile. Right: the most memory that the process took beyond the "
        "model, over the tokens.",
        f"Threads: {', '.join(map(str, threads))}." if threads else "",
    )
    return Drawing("training", page, drawn, data, words)

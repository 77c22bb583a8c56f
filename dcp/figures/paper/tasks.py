"""Zero-shot accuracy against what is dropped: kind "tasks", from `dcp eval --task … --json`."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import one_model, table
from dcp.figures.paper.style import drawing, figure

__all__ = ["tasks"]


def tasks(subject: Subject, options: Options, page: Page) -> Drawing:
    """Zero-shot accuracy against sparsity with intervals and chance, one panel per task.

    Raises RequestError for results of another command.
    """
    data = table(
        subject.results,
        ("sparsity", "accuracy", "ci_low", "ci_high", "n", "chance"),
        "tasks",
        "what eval wrote of tasks",
    )
    one_model(data, "tasks")
    if "task" not in data:
        raise RequestError("tasks needs task: give what eval wrote of tasks", remedy="results")
    data["task"] = data["task"].astype(str)
    names = list(dict.fromkeys(data["task"]))
    # The twin has no gates to shift: its rows say null.
    shift = data["gate_shift"] if "gate_shift" in data else pd.Series(0.0, data.index)
    data["twin"] = shift.isna()
    # An adapter's is its base, by the adapter's name.
    named = data.loc[data["twin"], "model"].dropna().astype(str) if "model" in data else ()
    twin = "dense twin" if set(named) <= {"dense twin"} else "baseline"
    even = data["n"].nunique() == 1
    columns = min(len(names), 4 if page.width > 4.5 else 2)
    rows = -(-len(names) // columns)
    with drawing(page):
        drawn = figure(page, rows * (1.45 if page.width > 4.5 else 1.35) + 0.6)
        grid = drawn.subplots(rows, columns, squeeze=False, sharex=True)
        for name, axes in zip(names, grid.flat, strict=False):
            part = data[data["task"] == name].sort_values("sparsity")
            axes.axhline(
                float(part["chance"].iloc[0]), color=page.palette.soft, lw=0.8, ls=(0, (4, 2)),
                label="chance",
            )  # fmt: skip
            _points(axes, part[~part["twin"]], page.palette.held, "pruned", "o", "-")
            if part["twin"].any():
                _points(axes, part[part["twin"]], page.palette.ink, twin, "D", "")
            n = int(part["n"].max())
            axes.set_title(name if even else f"{name}, n = {n:,}", loc="left", fontsize=page.small)
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.grid(axis="y", lw=0.3, color="#dddddd")
            axes.set_axisbelow(True)
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            # Whole percents only: 52.5 % would be labelled 52 %.
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        handles, labels = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        drawn.supxlabel("tokens dropped, mean over steps and layers", fontsize=page.size)
        drawn.supylabel("accuracy", fontsize=page.size)
    words = caption(
        subject,
        "Zero-shot accuracy against the dropped share of the previous tokens (mean over steps and "
        "layers), hard gates; bars: the intervals of the results file, dashed: chance."
        + (f" The {twin} drops nothing." if data["twin"].any() else ""),
        f"{counted(len(names), 'task')}, {counted(int(data['n'].max()), 'example')} at most each.",
    )
    return Drawing("tasks", page, drawn, data, words)


def _points(
    axes: Axes, part: pd.DataFrame, colour: str, label: str, marker: str, line: str
) -> None:
    x, y, low, high = (part[n].to_numpy() for n in ("sparsity", "accuracy", "ci_low", "ci_high"))
    axes.errorbar(
        x, y, [(y - low).clip(0), (high - y).clip(0)],
        color=colour, marker=marker, ms=3.5, ls=line, lw=1.1, elinewidth=0.8,
        mec="white", mew=0.4, label=label,
    )  # fmt: skip

"""Arms of `dcp bench --json` against context (kind "throughput") or batch (kind "batch")."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import table
from dcp.figures.paper.style import DASHES, drawing, figure
from dcp.trace.amounts import size

__all__ = ["against_context", "batch", "panels"]

_MIB = 2**20
# What lies further apart than this stands on a scale of doublings.
_FAR = 8
_BYTES = {"context": "kv_bytes_held", "batch": "kv_bytes_peak"}
_NEEDS = ("context", "batch", "tokens_per_second", "ms_p20", "ms_p80")
_MARKERS = "osD^vP"


def against_context(subject: Subject, page: Page) -> Drawing:
    """Tokens per second and bytes of the cache at the batch size that has most contexts."""
    data, others = _rows(subject, "throughput", "context", "batch")
    at = int(data["batch"].iloc[0])
    drawn = _drawn(data, page, "context", "context (tokens)")
    words = caption(
        subject,
        f"Decoding with {data['model'].iloc[0]}, batch {at}. Left: tokens per second, {_HOW}",
        _tails(data),
        "Right: bytes allocated for the cache at the last step (none for transformers, which does "
        "not tell).",
        _threads(data),
        "Other models and batch sizes of the file are left out." if others else "",
    )
    return Drawing("throughput", page, drawn, data, words)


def batch(subject: Subject, options: Options, page: Page) -> Drawing:
    """The same against the rows decoded at once, and what fits into a budget of cache.

    Raises RequestError for results of another command.
    """
    data, others = _rows(subject, "batch", "batch", "context")
    drawn = _drawn(data, page, "batch", "rows at once")
    at = f"{int(data['context'].iloc[0]):,}"
    fits = data[data["budget_bytes"].notna()]
    told = "; ".join(
        f"{row.arm} {row.batch} row{'s' * (row.batch != 1)}, {row.tokens_per_second:.0f} tokens/s"
        for row in fits.itertuples()
    )
    budget = size(float(fits["budget_bytes"].iloc[0])) if len(fits) else ""
    words = caption(
        subject,
        f"Decoding with {data['model'].iloc[0]} at context {at}, all rows of it together. Left: "
        f"tokens per second, {_HOW}",
        "Right: the most that was allocated for the cache.",
        f"Large marks: as many rows as fit into {budget} of cache (the rule): {told}."
        if budget
        else "",
        _threads(data),
        "Other models, contexts and budgets of the file are left out." if others else "",
    )
    return Drawing("batch", page, drawn, data, words)


_HOW = (
    "median of turns taken by the arms in one process, bars from the 20th to the 80th percentile."
)


def _rows(subject: Subject, kind: str, axis: str, fixed: str) -> tuple[pd.DataFrame, bool]:
    """The rows at the value of ``fixed`` that has most of ``axis``, and whether others were left.

    Of rows in a budget, those of the one that has most, and for "batch" alone.
    """
    found = table(subject.results, _NEEDS, kind, "those of a benchmark")
    for name in ("budget_bytes", *_BYTES.values()):
        if name not in found:
            found[name] = np.nan
    fitted = found["budget_bytes"].notna()
    whole = found[~fitted] if (~fitted).any() else found
    groups = whole.groupby(["model", fixed])[axis].nunique()
    model, at = groups.sort_values(kind="stable").index[-1]
    mine = (found["model"] == model) & (found[fixed] == at)
    budgets = found["budget_bytes"][mine].mode()
    chosen = found["budget_bytes"] == (budgets.iloc[-1] if len(budgets) else np.nan)
    keep = mine & (~fitted | (chosen & (kind == "batch")))
    data = found[keep].reset_index(drop=True)
    data["name"] = [
        str(arm).removesuffix(f" {weights}")
        for arm, weights in zip(data["arm"], data["weights"], strict=True)
    ]
    return data, bool((~keep & ~(fitted & (kind != "batch"))).any())


def _drawn(data: pd.DataFrame, page: Page, axis: str, label: str) -> Any:
    kinds = list(dict.fromkeys(data["weights"]))
    # A colour and mark per arm; six at most can be told apart.
    names = dict.fromkeys(data["name"])
    looks = dict(zip(names, zip(page.palette.lines, DASHES, _MARKERS, strict=True), strict=False))
    if len(names) > len(looks):
        raise RequestError(f"this figure shows up to {len(looks)} arms, not {len(names)}")
    with drawing(page):
        drawn, grid = panels(page, len(kinds), label=label)
        pairs = np.reshape(grid, (len(kinds), 2))
        for kind, (left, right) in zip(kinds, pairs, strict=True):
            arms = data[data["weights"] == kind]
            for name, part in arms.groupby("name", sort=False):
                colour, dashes, marker = looks[str(name)]
                look = {"color": colour, "ls": dashes, "marker": marker}
                _line(left, right, part.sort_values(axis), axis, str(name), look)
            left.set_title(str(kind), loc="left")
            ticks = sorted({int(at) for at in data[axis][data["budget_bytes"].isna()]})
            ticks = ticks or sorted({int(at) for at in data[axis]})
            for axes in (left, right):
                if ticks[-1] >= _FAR * ticks[0]:
                    axes.set_xscale("log", base=2)
                    axes.minorticks_off()
                axes.set_xticks(ticks, [f"{at:,}" for at in ticks])
                axes.set_ylim(bottom=0)
            budget = arms["budget_bytes"].dropna()
            if len(budget):
                rule = float(budget.iloc[0]) / _MIB
                right.axhline(rule, color=page.palette.soft, lw=0.8, ls=(0, (4, 3)), zorder=0)
                # Batches beyond the budget would flatten all that is of interest.
                right.set_ylim(0, 1.6 * rule)
        handles, labels = pairs[0][0].get_legend_handles_labels()
        drawn.legend(
            handles, labels, loc="outside upper center", ncols=3 if page.width > 4.5 else 2,
            handlelength=2,
        )  # fmt: skip
    return drawn


def _line(
    left: Axes, right: Axes, part: pd.DataFrame, axis: str, name: str, look: dict[str, Any]
) -> None:
    """One arm: speed with its spread, and bytes; what fills a budget stands by itself, larger."""
    fits = part["budget_bytes"].notna()
    for some, more in (
        (part[~fits], {"ms": 3.2, "label": name}),
        (part[fits], {"ms": 6, "ls": "", "zorder": 3}),
    ):
        at, speed = some[axis].to_numpy(), some["tokens_per_second"].to_numpy(float)
        each = 1e3 * some["batch"].to_numpy(float)
        slow, fast = (each / some[name].to_numpy(float) for name in ("ms_p80", "ms_p20"))
        reach = [np.maximum(speed - slow, 0), np.maximum(fast - speed, 0)]
        drawn_as: dict[str, Any] = {**look, "lw": 1.1, "mec": "white", "mew": 0.4, **more}
        left.errorbar(at, speed, reach, elinewidth=0.8, **drawn_as)
        if axis == "context" and "ms_step_p99" in some:
            tail = each / some["ms_step_p99"].to_numpy(float)
            left.plot(at, tail, ls="", marker="_", ms=4, color=look["color"])
        right.plot(at, some[_BYTES[axis]].to_numpy(float) / _MIB, **drawn_as)


def _tails(data: pd.DataFrame) -> str:
    if "ms_step_p99" not in data:
        return ""
    return "Dashes under them: the speed of the slowest hundredth of single steps (p99)."


def _threads(data: pd.DataFrame) -> str:
    threads = sorted({int(n) for n in data["threads"]}) if "threads" in data else []
    return f"Threads: {', '.join(map(str, threads))}." if threads else ""


def panels(page: Page, rows: int = 1, sharex: bool = True, label: str = "context (tokens)") -> Any:
    """A figure with ``rows`` pairs of axes: tokens per second, and MiB of cache."""
    drawn = figure(page, rows * (1.75 if page.width > 4.5 else 1.5) + (0.35 if rows > 1 else 0.15))
    grid = drawn.subplots(rows, 2, sharex=sharex)
    for left, right in np.reshape(grid, (rows, 2)):
        left.set_ylabel("tokens per second")
        right.set_ylabel("cache (MiB)")
    for axes in np.reshape(grid, (rows, 2))[-1]:
        axes.set_xlabel(label)
    return drawn, grid

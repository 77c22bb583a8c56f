"""Policies and gates at equal budgets of entries. Kind "policies", from `dcp eval --budget`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, differ
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import table
from dcp.figures.paper.style import drawing, figure
from dcp.policies.registry import POLICIES

__all__ = ["policies"]

_PANELS = (
    ("ppl_over_dense", "perplexity ratio"),
    ("kl", "KL (nats)"),
    ("agreement", "same top token"),
)
_MARKS = "osD^vP<>Xhd*p"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1)))
_CONTEXTS, _MODELS = 2, 3


def policies(subject: Subject, options: Options, page: Page) -> Drawing:
    """Perplexity ratio, KL and top-token agreement against entries held.

    Of one model the two longest contexts are drawn, a row each; of several models the longest of
    each. Raises RequestError for results of another command.
    """
    data = table(
        subject.results,
        ("context", "budget", "held", "held_ratio", *(name for name, _ in _PANELS)),
        "policies",
        "those of an evaluation at budgets",
    )
    if "policy" not in data or not data["policy"].map(lambda name: isinstance(name, str)).all():
        raise RequestError("policies needs the name of a policy in every row", remedy="results")
    data["model"] = data["model"].astype(str) if "model" in data else ""
    data["title"] = [_title(name) for name in data["policy"]]
    data = data.sort_values(["model", "context", "policy", "budget"], ignore_index=True)
    rows = _rows(data)
    names = _ordered(data["policy"].unique())
    looks = dict(
        zip(names, zip(cycle(page.palette.lines), cycle(_MARKS), cycle(_DASHES)), strict=False)
    )
    with drawing(page):
        legend_rows = -(-len(names) // (5 if page.width > 4.5 else 3))
        drawn = figure(page, 1.55 * len(rows) + 0.35 + 0.15 * legend_rows)
        grid = drawn.subplots(len(rows), len(_PANELS), squeeze=False, sharex="row")
        several = len({model for model, _ in rows}) > 1
        for row, (model, context) in zip(grid, rows, strict=True):
            part = data[(data["model"] == model) & (data["context"] == context)]
            for axes, (name, label) in zip(row, _PANELS, strict=True):
                _panel(axes, part, name, looks)
                if axes in grid[0]:
                    axes.set_title(label, loc="left")
                if name == "agreement":
                    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            row[0].set_ylabel(f"{model[:18]}, {context:,}" if several else f"context {context:,}")
        drawn.supxlabel("entries held per layer, mean over steps", fontsize=page.size)
        handles, labels = _legend(grid)
        drawn.legend(
            handles, labels, loc="outside upper center", handlelength=2.2,
            ncols=5 if page.width > 4.5 else 3,
        )  # fmt: skip
    apart = data[
        (data["held_ratio"] - 1).abs() > data.get("tolerance", pd.Series(0.01, data.index))
    ]
    cut = sorted(
        {
            _title(far)
            for model, context in rows
            for name, _ in _PANELS
            for far in _far_off(data[(data["model"] == model) & (data["context"] == context)], name)
        }
    )
    listed = ", ".join(f"{row.title} at {row.budget}" for row in apart.itertuples())
    words = caption(
        subject,
        "Quality under a budget of entries a layer, gates and untrained policies on the same "
        "windows. Left: perplexity over the dense model's. Middle: KL(dense ‖ policy) a token. "
        "Right: share of tokens at which the most likely token is the dense model's.",
        "Budgets are such that all hold the same in the mean over steps and layers, to 1 %"
        + (f"; farther off, and drawn at what they held: {listed}." if listed else "."),
        f"Cut off, being far worse: {', '.join(cut)}." if cut else "",
        differ(data["policy"].unique()),
        "Bars: 95 % intervals, documents resampled."
        if "kl_low" in data and data["kl_low"].notna().any()
        else "No intervals: there are too few documents to resample.",
        f"{counted(int(data.get('tokens', pd.Series([0])).max()), 'scored token')} at each point.",
    )
    return Drawing("policies", page, drawn, data, words)


def _rows(data: pd.DataFrame) -> list[tuple[str, int]]:
    """Model and context of each row of panels."""
    longest = data.groupby("model")["context"].max()
    if len(longest) > 1:
        return [(str(model), int(context)) for model, context in longest.items()][:_MODELS]
    contexts = sorted(data["context"].unique())[-_CONTEXTS:]
    return [(str(longest.index[0]), int(context)) for context in contexts]


def _panel(axes: Axes, data: pd.DataFrame, name: str, looks: dict[str, Any]) -> None:
    far = _far_off(data, name)
    for policy, (colour, marker, dashes) in looks.items():
        part = data[data["policy"] == policy].sort_values("held")
        if part.empty:
            continue
        x, y = part["held"].to_numpy(float), part[name].to_numpy(float)
        mine = policy.startswith("gates")
        axes.plot(
            x, y, color=colour, ls=dashes, marker=marker, ms=3.4 if mine else 2.6,
            lw=1.5 if mine else 0.9, label=part["title"].iloc[0], zorder=3 if mine else 2,
        )  # fmt: skip
        if f"{name}_low" in part and policy not in far:
            low = part[f"{name}_low"].to_numpy(float)
            high = part[f"{name}_high"].to_numpy(float)
            told = np.isfinite(low) & np.isfinite(high)
            axes.vlines(x[told], low[told], high[told], color=colour, lw=0.6, zorder=1)
    if far:
        near = data[~data["policy"].isin(far)]
        ends = [column for column in (name, f"{name}_low", f"{name}_high") if column in near]
        low, high = np.nanmin(near[ends].to_numpy(float)), np.nanmax(near[ends].to_numpy(float))
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(data["held"].to_numpy(float))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _far_off(data: pd.DataFrame, name: str) -> list[str]:
    """The policies that would press all others flat: from the first that is three times as far from
    dense as the one before it, where at least two stay."""
    ideal = 0.0 if name == "kl" else 1.0
    off = (data[name] - ideal).abs().groupby(data["policy"]).mean().sort_values()
    for kept in range(2, len(off)):
        if off.iloc[kept] > 3 * off.iloc[kept - 1]:
            return [str(policy) for policy in off.index[kept:]]
    return []


def _ticks(held: np.ndarray) -> list[float]:
    """Powers of two, or the ends where fewer than two of them are within."""
    powers = 2.0 ** np.arange(1, 24)
    within = powers[(powers >= held.min() * 0.98) & (powers <= held.max() * 1.02)]
    return (
        [*within]
        if len(within) > 1
        else sorted({round(float(x)) for x in (held.min(), held.max())})
    )


def _legend(grid: np.ndarray) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return [*found.values()], [*found]


def _ordered(names: np.ndarray) -> list[str]:
    """As the registry has them; what it does not know comes last."""
    known = ["gates-shift", *POLICIES]
    known.insert(0, known.pop(known.index("gates")))
    return sorted(names, key=lambda n: (known.index(n) if n in known else len(known), n))


def _title(name: str) -> str:
    if name == "gates-shift":
        return "Gates, shifted"
    return POLICIES[name].title if name in POLICIES else name[:28]

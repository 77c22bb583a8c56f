"""Policies and gates at equal budgets of entries. Kind "policies", from `dcp eval --budget`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, ScalarFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import table
from dcp.figures.paper.style import drawing, figure
from dcp.policies.registry import POLICIES

__all__ = ["policies"]

_PANELS = (
    ("ppl_over_dense", "perplexity, over dense"),
    ("kl", "KL to dense (nats)"),
    ("agreement", "same top token"),
)
_MARKS = "osD^vP<>Xhd*p"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1)))
_SHOWN = 2


def policies(subject: Subject, options: Options, page: Page) -> Drawing:
    """Perplexity ratio, KL and top-token agreement against entries held, a row a context.

    The two longest contexts are drawn. Raises RequestError for results of another command.
    """
    data = table(
        subject.results,
        ("context", "budget", "held", "held_ratio", *(name for name, _ in _PANELS)),
        "policies",
        "those of an evaluation at budgets",
    )
    if "policy" not in data or not data["policy"].map(lambda name: isinstance(name, str)).all():
        raise RequestError("policies needs the name of a policy in every row", remedy="results")
    if len({row.get("model") for row in data.to_dict("records")}) > 1:
        raise RequestError("policies shows one model: give results of one", remedy="results")
    data["title"] = [_title(name) for name in data["policy"]]
    data = data.sort_values(["context", "policy", "budget"], ignore_index=True)
    contexts = sorted(data["context"].unique())[-_SHOWN:]
    names = _ordered(data["policy"].unique())
    looks = dict(
        zip(names, zip(cycle(page.palette.lines), cycle(_MARKS), cycle(_DASHES)), strict=False)
    )
    with drawing(page):
        legend_rows = -(-len(names) // (5 if page.width > 4.5 else 3))
        drawn = figure(page, 1.55 * len(contexts) + 0.35 + 0.15 * legend_rows)
        grid = drawn.subplots(len(contexts), len(_PANELS), squeeze=False, sharex="row")
        for row, context in zip(grid, contexts, strict=True):
            part = data[data["context"] == context]
            for axes, (name, label) in zip(row, _PANELS, strict=True):
                _panel(axes, part, name, looks)
                axes.set_title(label, loc="left")
                if name == "agreement":
                    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            row[0].set_ylabel(f"context {context:,}")
        drawn.supxlabel("entries held per layer, mean over steps", fontsize=page.size)
        handles, labels = _legend(grid)
        drawn.legend(
            handles, labels, loc="outside upper center", handlelength=2.2,
            ncols=5 if page.width > 4.5 else 3,
        )  # fmt: skip
    apart = data[
        (data["held_ratio"] - 1).abs() > data.get("tolerance", pd.Series(0.01, data.index))
    ]
    listed = ", ".join(f"{row.title} at {row.budget}" for row in apart.itertuples())
    words = caption(
        subject,
        "Quality under a budget of entries a layer, gates and untrained policies on the same "
        "windows. Left: perplexity over the dense model's. Middle: KL(dense ‖ policy) a token. "
        "Right: share of tokens at which the most likely token is the dense model's.",
        "Budgets are such that all hold the same in the mean over steps and layers, to 1 %"
        + (f"; farther off, and drawn at what they held: {listed}." if listed else "."),
        "Bars: 95 % intervals, documents resampled."
        if "kl_low" in data and data["kl_low"].notna().any()
        else "No intervals: there are too few documents to resample.",
        f"{counted(int(data.get('tokens', pd.Series([0])).max()), 'scored token')} at each point.",
    )
    return Drawing("policies", page, drawn, data, words)


def _panel(axes: Axes, data: pd.DataFrame, name: str, looks: dict[str, Any]) -> None:
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
        if f"{name}_low" in part:
            low = part[f"{name}_low"].to_numpy(float)
            high = part[f"{name}_high"].to_numpy(float)
            told = np.isfinite(low) & np.isfinite(high)
            axes.vlines(x[told], low[told], high[told], color=colour, lw=0.6, zorder=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(data["held"].to_numpy(float))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _ticks(held: np.ndarray) -> list[float]:
    low, high = np.floor(np.log2(held.min())), np.ceil(np.log2(held.max()))
    return [float(2**n) for n in np.arange(low, high + 1)]


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

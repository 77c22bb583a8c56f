"""What is lost against what is dropped: kind "perplexity", from `dcp eval --json`."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted
from dcp.figures.paper.marks import logarithmic
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import number, one_model, table
from dcp.figures.paper.style import drawing, figure
from dcp.policies.registry import POLICIES

__all__ = ["perplexity"]

_FIXED = {
    "window": "local window", "local": "local window", "strided": "strided",
    "sink": "sink + window", "h2o": "H2O", "tova": "TOVA", "snapkv": "SnapKV",
    "keynorm": "key norm", "citrus": "CItruS", "random": "random", "oldest": "oldest first",
}  # fmt: skip
# Perplexities that span more than this many times stand on a logarithmic axis.
_WIDE = 3
_MARKS: dict[str, tuple[str, Any]] = {
    "pruned": ("o", "-"),
    "local window": ("s", (0, (5, 1.5))),
    "strided": ("^", (0, (3, 1, 1, 1))),
    "sink + window": ("D", (0, (1, 1))),
    "H2O": ("v", (0, (6, 1, 1, 1))),
    "TOVA": ("P", (0, (4, 2))),
    "SnapKV": ("X", (0, (2, 1))),
    "key norm": ("<", (0, (1, 2))),
    "CItruS": (">", (0, (5, 1, 1, 1, 1, 1))),
    "random": ("*", (0, (1, 3))),
    "oldest first": ("h", (0, (3, 3))),
    "gates off": ("", (0, (2, 2))),
}
_ANOTHER: tuple[str, Any] = ("p", (0, (2, 2)))
_DENSE = "dense twin"
# Of an adapter the twin is what it changes: one level in place of two.
_BASE = "gates off: the base"
_SIZED = ", sized per layer"


def perplexity(subject: Subject, options: Options, page: Page) -> Drawing:
    """Perplexity against entries held (or pairs dropped), one panel per context length.

    Raises RequestError for results of another command.
    """
    found = table(
        subject.results,
        ("context", "held_entries", "ppl_pruned", "ppl_gates_off"),
        "perplexity",
        "what eval wrote of a text",
    )
    one_model(found, "perplexity")
    if not found["context"].between(1, 2**31).all():
        raise RequestError(
            "perplexity needs contexts of whole tokens, from 1 on: give what eval wrote of a text",
            remedy="results",
        )
    data = pd.concat(
        [_series(row) for row in found.to_dict("records")], ignore_index=True
    ).drop_duplicates(ignore_index=True)
    data = data.sort_values(["context", "series", "entries_per_step"], ignore_index=True)
    contexts = sorted(data["context"].unique())[:4]
    by_share = options.axis == "sparsity"
    x = "pairs_dropped" if by_share else "entries_per_step"
    columns = min(len(contexts), 3 if page.width > 4.5 and len(contexts) != 4 else 2)
    rows = -(-len(contexts) // columns)
    with drawing(page):
        tall = 2.0 if page.width > 4.5 else 1.75
        drawn = figure(page, rows * tall + 0.45)
        grid = drawn.subplots(rows, columns, squeeze=False, sharey=True)
        for context, axes in zip(contexts, grid.flat, strict=False):
            _panel(axes, data[data["context"] == context], x, page)
            axes.set_title(f"context {context:,}", loc="left")
            if by_share:
                axes.xaxis.set_major_formatter(PercentFormatter(1))
        for axes in grid.flat[len(contexts) :]:
            axes.set_axis_off()
        # One height for all panels, so after the last of them.
        shown = data.loc[data["context"].isin(contexts), "perplexity"]
        if shown.max() > _WIDE * shown.min() > 0:
            logarithmic(grid[0, 0], shown.min(), shown.max())
        drawn.supxlabel(
            "pairs of key and query dropped"
            if by_share
            else "entries held per layer, mean over steps",
            fontsize=page.size,
        )
        grid[0, 0].set_ylabel("perplexity")
        every = [axes.get_legend_handles_labels() for axes in grid.flat]
        named = {
            name: line for lines, names in every for line, name in zip(lines, names, strict=True)
        }
        drawn.legend(
            list(named.values()), list(named), loc="outside upper center", handlelength=2,
            ncols=len(named) if page.width > 4.5 else 3,
        )  # fmt: skip
    tokens = [n for each in found.get("tokens", []) if (n := number(each)) is not None]
    words = caption(
        subject,
        "Perplexity against "
        + ("the share of pairs dropped" if by_share else "entries held in a layer at a step")
        + f", mean over layers, steps and windows; hard gates. {_levels(set(data['series']))}",
        "Evictions without training run on the dense model at equal entries."
        if set(_FIXED.values()) & set(data["series"])
        else "",
        f"{counted(len(found), 'setting')}{_scored(tokens)}; no interval is given.",
    )
    return Drawing("perplexity", page, drawn, data, words)


def _series(row: dict[str, Any]) -> pd.DataFrame:
    """One setting of the dial as points: what held how much, and how well it predicted."""
    context = int(row["context"])
    every = context * (context + 1) / 2
    points: list[tuple[str, Any, Any, Any]] = [
        ("pruned", row["held_entries"], row["ppl_pruned"], row.get("bits_per_byte_pruned")),
        ("gates off", every, row["ppl_gates_off"], row.get("bits_per_byte_gates_off")),
    ]
    twin = number(row.get("ppl_dense_finetuned"))
    if twin is not None and math.isclose(twin, row["ppl_gates_off"], rel_tol=1e-9):
        points[-1] = (_BASE, *points[-1][1:])
    else:
        points.append((_DENSE, every, twin, row.get("bits_per_byte_dense_finetuned")))
    policies = row.get("policies")
    for policy in policies if isinstance(policies, list) else ():
        if isinstance(policy, dict) and (name := _name_of(policy.get("policy"))):
            if policy.get("layers") == "as gates":
                name += _SIZED
            held, ppl = policy.get("held_entries"), policy.get("ppl")
            points.append((name, held, ppl, policy.get("bits_per_byte")))
    return pd.DataFrame(
        [
            {
                "series": name,
                "context": context,
                "entries_per_step": holds / context,
                "pairs_dropped": (every - holds) / max(every - context, 1),
                "perplexity": ppl,
                "bits_per_byte": number(bits),
            }
            for name, held, said, bits in points
            if (ppl := number(said)) is not None and (holds := number(held)) is not None
        ]
    )


def _levels(series: set[str]) -> str:
    dense = _DENSE if _DENSE in series else "no dense twin was given"
    if _BASE in series:
        dense = "the base model, which is what the gates leave when they are off"
    dotted = "; dotted level: the pruned weights with gates off, a diagnostic"
    return f"Dashed level: {dense}{dotted if 'gates off' in series else ''}."


def _scored(tokens: list[float]) -> str:
    if not tokens:
        return ""
    least = "" if min(tokens) == max(tokens) else f"{min(tokens):,.0f} to "
    return f", {least}{counted(int(max(tokens)), 'scored token')} each"


def _name_of(policy: Any) -> str:
    """As the legend has it: a policy that this module does not name goes by its title."""
    if not isinstance(policy, str):
        return ""
    if policy in _FIXED:
        return _FIXED[policy]
    return POLICIES[policy].title if policy in POLICIES else ""


def _panel(axes: Axes, data: pd.DataFrame, x: str, page: Page) -> None:
    drawn = dict.fromkeys(str(name).removesuffix(_SIZED) for name in data["series"])
    marks = _MARKS | {name: _ANOTHER for name in drawn if name not in (*_MARKS, _DENSE, _BASE)}
    colours = dict(zip(marks, cycle(page.palette.lines)))
    for name in [known + size for known in marks for size in ("", _SIZED)]:
        part = data[data["series"] == name].sort_values(x)
        if part.empty:
            continue
        (marker, dashes), colour = (
            marks[name.removesuffix(_SIZED)],
            colours[name.removesuffix(_SIZED)],
        )
        if name == "gates off":
            axes.axhline(
                part["perplexity"].iloc[0], color=page.palette.soft, ls=dashes, lw=0.8, label=name
            )
        else:
            axes.plot(
                part[x], part["perplexity"], color=colour, marker=marker, ms=3.5, ls=dashes, lw=1.1,
                mfc="white" if name.endswith(_SIZED) else colour,
                mec=colour if name.endswith(_SIZED) else "white", mew=0.4, label=name,
            )  # fmt: skip
    for name in (_DENSE, _BASE):
        level = data.loc[data["series"] == name, "perplexity"]
        if not level.empty:
            axes.axhline(level.iloc[0], color=page.palette.ink, ls=(0, (6, 2)), lw=0.9, label=name)
    axes.grid(axis="y", lw=0.3, color="#dddddd")
    axes.set_axisbelow(True)

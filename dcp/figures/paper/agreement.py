"""Where policies hold the same entries: by layer and step, and pair by pair. Kind "agreement"."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcp.figures.paper.caption import caption, differ
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import table
from dcp.figures.paper.style import drawing, figure, ramp
from dcp.policies.registry import POLICIES

__all__ = ["agreement"]


def agreement(subject: Subject, options: Options, page: Page) -> Drawing:
    """Left: Jaccard of what all hold, layers by steps. Right: its mean for each pair.

    Raises RequestError for results of another command.
    """
    data = table(
        subject.results,
        ("layer", "first", "last", "jaccard", "chance"),
        "agreement",
        "what policies agreed on",
    )
    data = data[["file", "a", "b", "layer", "first", "last", "jaccard", "chance"]]
    every = data[data["a"] == "all"]
    pairs = data[data["a"] != "all"].groupby(["a", "b"], sort=False)[["jaccard", "chance"]].mean()
    names = list(dict.fromkeys([*(a for a, _ in pairs.index), *(b for _, b in pairs.index)]))
    with drawing(page):
        tall = max(1.7, 0.24 * len(names) + 0.9)
        drawn = figure(page, tall)
        left, right = drawn.subplots(1, 2, width_ratios=(1.25, 1))
        grid = every.pivot_table(index="layer", columns="first", values="jaccard")
        edges = [*grid.columns, int(every["last"].max()) + 1]
        rows = np.append(grid.index.to_numpy(), grid.index.max() + 1) - 0.5
        image = left.pcolormesh(edges, rows, grid.to_numpy(), cmap=ramp(page), vmin=0, vmax=1)
        image.set_rasterized(True)
        left.invert_yaxis()
        left.set_xlabel("step")
        left.set_ylabel("layer")
        left.set_title("held by all, over held by any", loc="left")
        square = np.full((len(names), len(names)), np.nan)
        for (a, b), row in pairs.iterrows():
            i, j = names.index(a), names.index(b)
            square[max(i, j), min(i, j)] = row["jaccard"]
        right.imshow(square, cmap=ramp(page), vmin=0, vmax=1, aspect="auto")
        for (a, b), row in pairs.iterrows():
            i, j = names.index(a), names.index(b)
            dark = row["jaccard"] > 0.55
            right.text(
                min(i, j), max(i, j), f"{row['jaccard']:.2f}", ha="center", va="center",
                fontsize=page.small, color="#ffffff" if dark else page.palette.ink,
            )  # fmt: skip
        titles = [_title(name) for name in names]
        right.set_xticks(range(len(names) - 1), titles[:-1], rotation=40, ha="right")
        right.set_yticks(range(1, len(names)), titles[1:])
        right.set_xlim(-0.5, len(names) - 1.5)
        right.set_ylim(len(names) - 0.5, 0.5)
        right.set_title("pairs, mean", loc="left")
        drawn.colorbar(image, ax=[left, right], label="Jaccard", shrink=0.8, pad=0.01)
    words = caption(
        subject,
        f"Jaccard index of the entries that {len(names)} policies hold of one text, the step's own "
        "token apart. Left: held by all over held by any, by layer and step. Right: pairs, mean "
        "over layers and steps at which anything had been dropped. Random sets as large as those "
        f"held would agree in {every['chance'].mean():.2f} (left) and "
        f"{pairs['chance'].mean():.2f} (right) in the mean.",
        differ(name.partition(" ")[0] for name in names),
    )
    return Drawing("agreement", page, drawn, pd.DataFrame(data), words)


def _title(name: str) -> str:
    policy, _, rest = name.partition(" ")
    known = POLICIES.get(policy)
    return f"{known.title if known else policy}{' ' + rest if rest else ''}"[:28]

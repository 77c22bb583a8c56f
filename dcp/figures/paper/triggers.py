"""What is being read when others are dropped, by part of speech. Kind "triggers"."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, intervals, tagged
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.speech import rows
from dcp.figures.paper.style import drawing, figure
from dcp.figures.paper.survival import too_few
from dcp.stats import trigger_table
from dcp.stats.groups import SPACES, By
from dcp.stats.survival import MIN_WORDS

__all__ = ["triggers"]

_ENOUGH = 3
"""With fewer parts of speech to show, the five groups are shown in their place."""


def triggers(subject: Subject, options: Options, page: Page) -> Drawing:
    """Drops per query over the mean query, by what is read, with interval and null.

    Raises RequestError where no part of speech has enough queries or nothing is dropped.
    """
    data = _table(subject, options, "pos")
    coarse = _enough(data) < _ENOUGH
    if coarse:
        data = _table(subject, options, "group")
    if not _enough(data):
        raise RequestError(too_few("triggers", subject, options, "queries"), remedy="source")
    if not data["ratio"].notna().any():
        raise RequestError("triggers: nothing is dropped in the steps asked for")
    with drawing(page):
        drawn = figure(page, len(data) * page.size * 1.75 / 72 + 0.75)
        axes = drawn.subplots()
        for y, row in enumerate(data.to_dict("records")):
            if np.isfinite(row["null_low"]):
                axes.barh(
                    y,
                    row["null_high"] - row["null_low"],
                    0.62,
                    row["null_low"],
                    color=page.palette.gone,
                )
        axes.axvline(1, color=page.palette.soft, lw=0.6, zorder=1)
        rows(axes, data, "ratio", page, "queries")
        axes.set_xlim(left=0)
        axes.set_xlabel("drops per query, over the mean")
        handles = [
            Line2D([], [], marker="o", ms=3.6, lw=1, color=page.palette.ink, label="when read"),
            Patch(color=page.palette.gone, label="shuffled labels (95 %)"),
        ]
        axes.legend(
            handles=handles, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), handletextpad=0.4
        )
    where = {
        "prompt": "in the prompt",
        "generated": "in the continuation",
        "both": "in prompt and continuation pooled",
    }[options.source]
    layer = "mean of layers" if options.layer is None else f"layer {options.layer}"
    words = caption(
        subject,
        f"Entries dropped when a token is read, over those of the mean of all queries ({layer}; "
        f"queries {where}; every token counts, white space too); 1 is an ordinary query. Bars: "
        "95 % of the same when the labels are shuffled among the queries of a text.",
        f"{counted(int(data['queries'].sum()), 'query').replace('querys', 'queries')}; "
        f"{'groups of ' if coarse else ''}kinds of token with under {MIN_WORDS} queries stay "
        "blank. "
        + ("In groups: too few parts of speech have as many. " if coarse else "")
        + "A word dropped when another is read "
        "need not be dropped because of it.",
        intervals(data[data["ratio"].notna()], options),
        tagged(subject),
    )
    return Drawing("triggers", page, drawn, data, words)


def _enough(data: pd.DataFrame) -> int:
    """How many parts of speech, or groups of them, have queries enough: white space is none."""
    return int(((data["queries"] >= MIN_WORDS) & ~data["group"].isin(SPACES)).sum())


def _table(subject: Subject, options: Options, by: By) -> pd.DataFrame:
    return trigger_table(
        subject.samples,
        by,
        source=options.source,
        layer=options.layer,
        seed=options.seed,
        n_boot=options.n_boot,
    )

"""What is dropped within a horizon, by part of speech: kinds "pos" and "pos-depth"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, intervals, of_source, tagged
from dcp.figures.paper.marks import cells, layer_ticks
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import GROUP_MARKERS, drawing, figure, group_colour, ramp
from dcp.figures.paper.survival import too_few
from dcp.speech.tagger import GROUPS, group_of
from dcp.stats import drop_table, drop_table_with_controls
from dcp.stats.groups import group_label
from dcp.stats.survival import MIN_WORDS

__all__ = ["pos", "pos_depth", "rows"]

_CONTROLS = {"random": ("o", -0.27), "oldest": ("x", 0.27)}


def pos(subject: Subject, options: Options, page: Page) -> Drawing:
    """Drop rate by part of speech with its interval, beside random and oldest-first eviction.

    Raises RequestError where no part of speech has enough words.
    """
    data = drop_table_with_controls(
        subject.samples,
        "pos",
        horizon=options.horizon,
        source=options.source,
        layer=options.layer,
        seed=options.seed,
        n_boot=options.n_boot,
    )
    gates = data[data["arm"] == "gates"].reset_index(drop=True)
    if not gates["drop_rate"].notna().any():
        raise RequestError(too_few("pos", subject, options), remedy="source")
    with drawing(page):
        drawn = figure(page, len(gates) * page.size * 1.75 / 72 + 0.75)
        axes = drawn.subplots()
        place = {tag: y for y, tag in enumerate(gates["group"])}
        for arm, (marker, shift) in _CONTROLS.items():
            found = data[(data["arm"] == arm) & data["drop_rate"].notna()]
            axes.plot(
                found["drop_rate"], found["group"].map(place) + shift, ls="", marker=marker,
                ms=2.6, mfc="white", mec=page.palette.soft, mew=0.6,
            )  # fmt: skip
        rows(axes, gates, "drop_rate", page)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(f"dropped within {options.horizon} steps")
        handles = [
            Line2D([], [], ls="", marker="o", ms=3.6, color=page.palette.ink, label="gates"),
            *(
                Line2D(
                    [],
                    [],
                    ls="",
                    marker=marker,
                    ms=3,
                    mfc="white",
                    mec=page.palette.soft,
                    mew=0.6,
                    label=arm,
                )
                for arm, (marker, _) in _CONTROLS.items()
            ),
        ]
        axes.legend(
            handles=handles, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), handletextpad=0.1
        )
    shown = gates[gates["drop_rate"].notna()]
    where = "all layers" if options.layer is None else f"layer {options.layer}"
    words = caption(
        subject,
        f"Share of single-token words {of_source(options)} dropped within {options.horizon} steps "
        f"of being read, {where} (1 - Kaplan-Meier, words held at the end are censored). "
        "Hollow circle and cross: as many drops per layer and step, chosen at random or oldest "
        "first.",
        _counts(shown),
        intervals(shown, options),
        tagged(subject),
    )
    return Drawing("pos", page, drawn, data, words)


def rows(axes: Axes, table: pd.DataFrame, value: str, page: Page, counts: str = "words") -> None:
    """One row per group of ``table``: ``value``, its interval, its count; blank where it is nan."""
    place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center"}
    for y, row in enumerate(table.to_dict("records")):
        name = str(row["group"])
        group = name if name in GROUPS else group_of(name)
        blank = not np.isfinite(row[value])
        if not blank:
            colour = group_colour(group, page)
            if np.isfinite(row["ci_low"]):
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=1)
            axes.plot(
                [row[value]], [y], ls="", marker=GROUP_MARKERS[group], ms=4.2, color=colour,
                mec="white", mew=0.4,
            )  # fmt: skip
        axes.annotate(
            f"{row[counts]:,}", (1, y), xytext=(20, 0), textcoords="offset points", ha="right",
            fontsize=page.small, color=page.palette.soft if blank else page.palette.ink, **place,
        )  # fmt: skip
        if blank:
            axes.annotate(
                f"fewer than {MIN_WORDS}" if row[counts] < MIN_WORDS else "not observed so long",
                (0.5, y), fontsize=page.small - 1, color=page.palette.soft, style="italic",
                ha="center", **place,
            )  # fmt: skip
    axes.annotate(
        counts, (1, -0.6), xytext=(20, 3), textcoords="offset points", ha="right",
        fontsize=page.small, color=page.palette.soft, **{**place, "va": "bottom"},
    )  # fmt: skip
    axes.set_yticks(range(len(table)), [group_label(str(name)) for name in table["group"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", lw=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    groups = [name if name in GROUPS else group_of(name) for name in map(str, table["group"])]
    for y in range(1, len(groups)):
        if groups[y] != groups[y - 1]:
            axes.axhline(y - 0.5, color="#c9ccd1", lw=0.4)


def pos_depth(subject: Subject, options: Options, page: Page) -> Drawing:
    """Drop rate by part of speech and layer; the last row is all words.

    Raises RequestError where no part of speech has enough words.
    """
    layers = subject.trace.layers
    shared: dict[str, Any] = {"horizon": options.horizon, "source": options.source, "n_boot": 1}
    parts = [
        drop_table(subject.samples, "pos", layer=layer, **shared).assign(layer=layer)
        for layer in range(layers)
    ]
    every = drop_table(subject.samples, "layer", pieces="single", **shared)
    parts.append(every.assign(layer=every["group"].astype(int), group="all"))
    # One resample is no interval.
    data = pd.concat(parts, ignore_index=True).drop(columns=["ci_low", "ci_high", "interval"])
    known = data[data["drop_rate"].notna()]
    tags = [tag for names in GROUPS.values() for tag in names if tag in set(known["group"])]
    if not tags:
        raise RequestError(too_few("pos-depth", subject, options), remedy="source")
    table = known.pivot(index="group", columns="layer", values="drop_rate")
    table = table.reindex(index=[*tags, "all"], columns=range(layers))
    counts = data.groupby("group")["words"].max()
    with drawing(page):
        tall = len(table) * page.size * 1.75 / 72
        drawn = figure(page, tall + 0.62)
        axes = drawn.subplots()
        values = table.to_numpy()
        image = cells(axes, np.ma.masked_invalid(values), cmap=ramp(page), limits=(0, 1))
        room = (page.width - 1.3) * 72 / layers
        if room > page.small * 1.6:
            _print_cells(axes, values, page)
        axes.axhline(len(tags) - 0.5, color=page.palette.ink, lw=0.8)
        axes.set_yticks(range(len(table)), [f"{tag} {counts[tag]:,}" for tag in table.index])
        layer_ticks(axes, layers, (page.width - 1.3) * 0.9, page, "x")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlabel("layer")
        bar = drawn.colorbar(image, ax=axes, aspect=25, pad=0.015, format=PercentFormatter(1))
        # Beside few rows the bar is shorter than what it stands for; the caption says it in full.
        bar.set_label(f"dropped within {options.horizon} steps" if len(table) > 6 else "dropped")
        bar.outline.set_visible(False)
    words = caption(
        subject,
        f"Per cent of single-token words {of_source(options)} dropped within {options.horizon} "
        "steps of being read, by layer (1 - Kaplan-Meier, words held at the end are censored). "
        "Numbers beside the names: words.",
        _counts(known[known["group"] != "all"]),
        "No intervals: see the kind pos.",
        tagged(subject),
    )
    return Drawing("pos-depth", page, drawn, data, words)


def _print_cells(axes: Axes, values: np.ndarray, page: Page) -> None:
    for (row, column), share in np.ndenumerate(values):
        if np.isfinite(share):
            axes.text(
                column, row, f"{share * 100:.0f}", ha="center", va="center",
                fontsize=page.small - 0.5, color="white" if share > 0.5 else page.palette.ink,
            )  # fmt: skip


def _counts(table: pd.DataFrame) -> str:
    words = int(table.groupby("group")["words"].max().sum())
    return (
        f"{counted(words, 'word')}, {counted(int(table['events'].sum()), 'drop')} within the "
        f"horizon; parts of speech with under {MIN_WORDS} words stay blank."
    )

"""How old tokens are when a layer drops them, with those it never dropped taken into account."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, of_source
from dcp.figures.paper.marks import layer_ticks, row_height
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing, figure
from dcp.speech.words import Word
from dcp.stats import drop_curve
from dcp.stats.estimate import MIN_AT_RISK
from dcp.trace import Trace

__all__ = ["SHARES", "ages"]

SHARES = (10, 25, 50, 75, 90)
"""Per cent of tokens dropped, of which the figure shows the age."""


def ages(subject: Subject, options: Options, page: Page) -> Drawing:
    """Per layer the age by which 10, 25, 50, 75, 90 % of tokens are dropped (Kaplan-Meier)."""
    longest = max(trace.n_queries for trace in subject.traces)
    curve = drop_curve(
        [(trace, _each_token(trace)) for trace in subject.traces],
        "layer",
        ages=max(longest - 1, 1),
        source=options.source,
        n_boot=1,
    )
    if curve.empty:
        raise RequestError(
            f"too few tokens {of_source(options)}: ages need 20; give a longer text, more traces"
            + ("" if options.source == "both" else ", or tokens of both sources"),
            remedy="source",
        )
    data = pd.DataFrame([_row(int(layer), part) for layer, part in curve.groupby("group")])
    layers = subject.trace.layers
    with drawing(page):
        tall = row_height(layers, page)
        drawn = figure(page, tall + 0.75)
        axes = drawn.subplots()
        edge = float(max(data["longest"].max(), 2))
        ends = data[[f"age_{share}" for share in SHARES]].fillna(edge * 1.25)
        thick = float(np.clip(tall / layers * 72 * 0.42, 0.8, 4.5))
        axes.hlines(
            data["layer"], ends["age_10"], ends["age_90"], color=page.palette.held, lw=thick / 4
        )
        axes.hlines(
            data["layer"], ends["age_25"], ends["age_75"], color=page.palette.held, lw=thick
        )
        known = data["age_50"].notna()
        axes.plot(
            data["age_50"][known], data["layer"][known], ls="", marker="D", ms=thick * 0.95 + 1,
            mfc="white", mec=page.palette.ink, mew=0.7,
        )  # fmt: skip
        late = data["age_50"].isna()
        if late.any():
            # Half of these tokens outlived what was seen: a hollow arrow at the edge says so.
            axes.plot(
                np.full(int(late.sum()), edge * 1.16), data["layer"][late], ls="", marker=">",
                ms=thick * 0.95 + 1, mfc="white", mec=page.palette.ink, mew=0.7, clip_on=False,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(0.9, edge * 1.25)
        axes.set_ylim(layers - 0.5, -0.5)
        ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if tick <= edge]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(axis="x", lw=0.3, color="#dddddd")
        axes.set_axisbelow(True)
        axes.set_xlabel("age when dropped (steps since it was read)")
        axes.set_ylabel("layer")
        named = layer_ticks(axes, layers, tall, page)
        axes.tick_params(axis="y", length=0)
        place: dict[str, Any] = {
            "xycoords": axes.get_yaxis_transform(),
            "textcoords": "offset points",
        }
        for layer, rest in zip(data["layer"], data["never"], strict=True):
            if layer in named:
                axes.annotate(
                    f"{rest:.0%}", (1, layer), xytext=(3, 0), va="center",
                    fontsize=page.small, **place,
                )  # fmt: skip
        axes.annotate(
            "held",
            (1, -0.5),
            xytext=(3, 2),
            va="bottom",
            fontsize=page.small,
            color=page.palette.soft,
            **place,
        )
    words = caption(
        subject,
        "Age at which tokens are dropped, by layer: 10 to 90 % (thin), 25 to 75 % (thick) and half "
        f"of the tokens (diamond) {of_source(options)}"
        + ("; arrow: half were not dropped by the largest age used." if late.any() else "."),
        "Kaplan-Meier: tokens still held at the end are censored, not counted as dropped; a "
        f"bar that reaches the right edge is not known to end. Ages with under {MIN_AT_RISK} "
        "tokens at risk are not used. At the right: share still held at the largest age used.",
        f"{counted(int(data['tokens'].max()), 'token')}, {int(data['events'].sum()):,} drops; "
        "layers are not independent, and no interval is given.",
    )
    return Drawing("ages", page, drawn, data, words)


def _each_token(trace: Trace) -> list[Word]:
    """Every token as a word of its own, so that the statistics of words are those of tokens."""
    return [
        Word(
            start=int(start),
            end=int(end),
            text=trace.text[start:end],
            pos="",
            first=j,
            last=j,
            source="prompt" if j < trace.prompt_tokens else "generated",
            complete=True,
        )
        for j, (start, end) in enumerate(trace.offsets.tolist())
    ]


def _row(layer: int, curve: pd.DataFrame) -> dict[str, float | int]:
    usable = curve[curve["at_risk"] >= MIN_AT_RISK]
    found: dict[str, float | int] = {
        "layer": layer,
        "tokens": int(curve["words"].iloc[0]),
        "events": int(curve["events"].sum()),
    }
    for share in SHARES:
        # A hair of slack: the product of many factors misses a round share by rounding.
        reached = usable["age"][usable["survival"] <= 1 - share / 100 + 1e-9]
        found[f"age_{share}"] = float(reached.iloc[0]) if len(reached) else np.nan
    found["never"] = float(usable["survival"].iloc[-1]) if len(usable) else np.nan
    found["longest"] = int(usable["age"].iloc[-1]) if len(usable) else 1
    return found

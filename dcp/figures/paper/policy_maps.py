"""One text under several policies: a small map of layers by tokens each. Kind "policy-maps"."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption, counted, differ
from dcp.figures.paper.marks import cells, layer_ticks, pooled, whole_ticks
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.states import step_of
from dcp.figures.paper.style import drawing, figure, state_colours
from dcp.stats.policies import title_of
from dcp.trace import Trace

__all__ = ["policy_maps"]


def policy_maps(subject: Subject, options: Options, page: Page) -> Drawing:
    """What each policy holds of one text at a step, with the entries it held and its KL.

    Raises RequestError unless there are two traces or more, all of the same tokens.
    """
    traces = subject.traces
    first = traces[0]
    if len(traces) < 2:
        raise RequestError(
            "policy-maps needs one text under two policies or more: Compare reads it so",
            remedy="policies",
        )
    for trace in traces:
        same = np.array_equal(trace.token_ids, first.token_ids)
        if not same or trace.n_queries != first.n_queries:
            raise RequestError(
                "policy-maps compares the same tokens: these traces are of other texts"
            )
    at = step_of(first, options.step)
    rows = [_row(trace) for trace in traces]
    columns = 3 if page.width > 6 else 2 if page.width > 4.5 else 1
    lines = -(-len(traces) // columns)
    with drawing(page):
        tall = float(np.clip(first.layers * 0.05, 0.35, 0.9))
        drawn = figure(page, lines * (tall + 0.24) + 0.42)
        grid = drawn.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, trace, row in zip(grid.flat, traces, rows, strict=False):
            read = np.arange(trace.tokens) <= at
            state = np.where(read, np.where(trace.death > at, 2, 1), 0).astype(np.uint8)
            cells(axes, state, cmap=state_colours(page), limits=(-0.5, 3.5))
            axes.set_title(_title(row), loc="left", fontsize=page.small, pad=2)
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            layer_ticks(axes, trace.layers, tall * 0.7, page)
        for axes in grid.flat[len(traces) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            whole_ticks(axes)
        drawn.supxlabel("token (position)", fontsize=page.size)
        drawn.supylabel("layer", fontsize=page.size)
    data = pd.DataFrame(rows)
    dropping = data[data["policy"] != "none"]["held"]
    apart = dropping.max() / max(dropping.min(), 1e-9) - 1
    matched = f"Entries held, mean over steps and layers, differ by {apart:.1%} at most" + (
        ", the run that drops nothing apart." if len(dropping) < len(data) else "."
    )
    words = caption(
        subject,
        f"One text under {counted(len(traces), 'policy').replace('policys', 'policies')} when step "
        f"{at} has been read: blue, the layer (row) holds the token (column); grey, dropped.",
        "Beside each name the entries that a layer holds, mean over steps and layers, and the "
        "KL divergence of its predictions from those with the gates off and nothing dropped (nats "
        "a token).",
        matched,
        differ(data["policy"]),
        "The gates were trained to drop, the others were not.",
        pooled(first.tokens),
    )
    return Drawing("policy-maps", page, drawn, data, words)


def _row(trace: Trace) -> dict[str, object]:
    name = trace.meta.policy or ("none" if trace.meta.gates_off else "gates")
    kl = (
        np.nan if trace.kl is None else float(np.nanmean(trace.kl[1:])) if trace.tokens > 1 else 0.0
    )
    return {
        "policy": name,
        "title": title_of(name),
        "budget": trace.meta.budget,
        "held": float(trace.held().mean()),
        "kl": kl,
    }


def _title(row: dict[str, object]) -> str:
    kl = row["kl"]
    said = f"{row['title']}: {row['held']:.1f} held"
    return f"{said}, KL {kl:.3f}" if isinstance(kl, float) and np.isfinite(kl) else said

"""What pruning costs at each step: kind "cost", of a trace with a gates-off run beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.marks import cells, layer_ticks, pooled, row_height, seam, whole_ticks
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing, figure, ramp

__all__ = ["cost"]

_SMOOTH = 16


def cost(subject: Subject, options: Options, page: Page) -> Drawing:
    """KL divergence, change in log-probability and lost attention, step by step.

    Raises RequestError for a trace that has no gates-off run.
    """
    trace = subject.trace
    kl, off, lost = trace.kl, trace.gates_off_logprob, trace.lost_attention
    if kl is None or off is None or lost is None:
        raise RequestError(
            "cost needs a trace with a gates-off run of the same tokens: add one to it",
            remedy="gates_off",
        )
    step = np.arange(trace.tokens)
    change = trace.logprob.astype(float) - off
    with drawing(page):
        tall = row_height(trace.layers, page)
        drawn = figure(page, tall + 2.35)
        top, middle, below = drawn.subplots(
            3, 1, sharex=True, height_ratios=[0.85, 0.85, tall], gridspec_kw={"hspace": 0.08}
        )
        for axes, values in ((top, kl.astype(float)), (middle, change)):
            axes.plot(
                step, values, ls="", marker=".", ms=2, color=page.palette.held, alpha=0.5, mew=0
            )
            axes.plot(step, _running_mean(values), color=page.palette.ink, lw=1)
            axes.axhline(0, color=page.palette.soft, lw=0.4)
        top.set_ylim(bottom=0)
        top.set_ylabel("KL (nats)")
        middle.set_ylabel("Δ log-prob.")
        most = float(np.nanmax(lost)) if np.isfinite(lost).any() else 1.0
        image = cells(
            below, np.ma.masked_invalid(lost), cmap=ramp(page), limits=(0, max(most, 1e-6))
        )
        below.set_ylabel("layer")
        below.set_xlabel("step")
        whole_ticks(below)
        layer_ticks(below, trace.layers, tall, page)
        below.tick_params(axis="y", length=0)
        bar = drawn.colorbar(image, ax=below, aspect=18, pad=0.015)
        bar.set_label("attention lost")
        bar.outline.set_visible(False)
        for axes in (top, middle, below):
            seam(axes, trace, page, named=axes is top)
        drawn.align_ylabels([top, middle, below])
    layers = {f"lost_attention_{layer}": lost[layer] for layer in range(trace.layers)}
    data = pd.DataFrame({"step": step, "kl": kl, "logprob_change": change, **layers})
    words = caption(
        subject,
        "What pruning costs, against a run of the same tokens with the gates off. "
        "Above: KL(off ‖ pruned) of the next token, in nats. Middle: log-probability of the actual "
        "token, pruned minus gates off. Below: share of the gates-off attention that lay on "
        "dropped tokens, by layer.",
        f"Dots are steps, lines a running mean of {_SMOOTH}. Mean KL "
        f"{float(np.nanmean(kl)):.3f} nats, mean change {float(np.nanmean(change)):+.3f} nats."
        if np.isfinite(kl).any() and np.isfinite(change).any()
        else "",
        pooled(trace.tokens),
        "Gates off on pruned weights is a diagnostic, not a dense baseline.",
    )
    return Drawing("cost", page, drawn, data, words)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the last ``_SMOOTH`` known values; nan where there is none."""
    known = np.isfinite(values)
    total = np.cumsum(np.insert(np.where(known, values, 0.0), 0, 0))
    count = np.cumsum(np.insert(known.astype(float), 0, 0))
    first = np.maximum(np.arange(1, len(values) + 1) - _SMOOTH, 0)
    last = np.arange(1, len(values) + 1)
    many = count[last] - count[first]
    with np.errstate(invalid="ignore"):
        return np.asarray((total[last] - total[first]) / np.where(many > 0, many, np.nan))

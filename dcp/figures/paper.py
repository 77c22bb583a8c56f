"""Figures for print, made with matplotlib from a Trace. Pure: the same trace gives the same bytes.

Text and axes are vectors with embedded fonts; the cells of a heatmap are one image without
smoothing, at print resolution. No user text is drawn.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dcp.errors import RequestError
from dcp.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "overview", "render"]

Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = ("pdf", "svg", "png")

_INK, _SOFT, _HELD, _DROP, _GONE = "#1c2430", "#5b6675", "#2c5f9b", "#d55e00", "#dcd9d3"
_STYLE: Any = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "dcp",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.edgecolor": _SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "legend.fontsize": 7,
    "legend.frameon": False,
}


def overview(trace: Trace, step: int | None = None, width: float = 5.5) -> Figure:
    """Layer x token at ``step`` (default: the last) above the entries held at every step.

    width: inches. Raises RequestError for a step that is not in the trace.
    """
    from matplotlib import rc_context
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    last = trace.n_queries - 1
    at = last if step is None else step
    if not 0 <= at <= last:
        raise RequestError(f"step {at} is not in this trace: steps are 0 to {last}")
    with rc_context(_STYLE):
        tall = 0.5 + 0.16 * trace.layers
        figure = Figure(figsize=(width, tall + 1.75), layout="constrained")
        cells, memory = figure.subplots(2, 1, sharex=True, height_ratios=[tall, 1.25])
        state = _states(trace, at)
        cells.imshow(
            state,
            aspect="auto",
            interpolation="nearest",
            cmap=ListedColormap(["#ffffff", _GONE, _HELD, _DROP]),
            vmin=-0.5,
            vmax=3.5,
            extent=(-0.5, trace.tokens - 0.5, trace.layers - 0.5, -0.5),
        )
        cells.set_ylabel("layer")
        cells.set_yticks(range(0, trace.layers, 1 if trace.layers <= 12 else 4))
        cells.tick_params(length=2)
        names = {2: "held", 3: "dropped at this step", 1: "dropped earlier"}
        colours = {2: _HELD, 3: _DROP, 1: _GONE}
        handles = [Patch(color=colours[k], label=name) for k, name in names.items()]
        cells.legend(handles=handles, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
        cells.set_title(f"step {at}", loc="left")
        _held(memory, trace, at)
        if 0 < trace.prompt_tokens < trace.tokens:
            for axes in (cells, memory):
                axes.axvline(trace.prompt_tokens - 0.5, color=_INK, lw=0.7)
            for side, name in (("right", "you wrote  "), ("left", "  the model wrote")):
                at_seam = (trace.prompt_tokens - 0.5, 1.02)
                where = memory.get_xaxis_transform()
                memory.text(*at_seam, name, transform=where, ha=side, fontsize=6.5, color=_SOFT)
        memory.set_xlim(-0.5, trace.tokens - 0.5)
    return figure


def _states(trace: Trace, at: int) -> np.ndarray:
    """[L, T] uint8: 0 not read yet, 1 dropped earlier, 2 held, 3 dropped at this step."""
    read = np.arange(trace.tokens) <= at
    state = np.where(trace.death > at, 2, np.where(trace.death == at, 3, 1))
    return np.where(read, state, 0).astype(np.uint8)


def _held(axes: Any, trace: Trace, at: int) -> None:
    steps = np.arange(trace.n_queries)
    held = trace.held().sum(0)
    axes.plot(steps, trace.layers * (steps + 1), color=_SOFT, lw=0.8, label="nothing dropped")
    axes.fill_between(steps, held, color=_HELD, alpha=0.25, lw=0)
    axes.plot(steps, held, color=_HELD, lw=1.1, label="held")
    axes.axvline(at, color=_SOFT, lw=0.6, ls=(0, (3, 3)))
    axes.set_ylabel("entries, all layers")
    axes.set_xlabel("step (position of the token that is read)")
    axes.set_ylim(bottom=0)
    axes.tick_params(length=2)
    axes.legend(loc="upper left")


def render(figure: Figure, kind: Format) -> bytes:
    """The figure as a file. Deterministic: no dates, no random ids. Raises RequestError."""
    from matplotlib import rc_context

    if kind not in FORMATS:
        raise RequestError(f"format {kind!r} is unknown: choose one of {', '.join(FORMATS)}")
    # A date or a version would make equal figures differ.
    metadata: dict[Format, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "Producer": "dcp", "Creator": "dcp"},
        "svg": {"Date": None, "Creator": "dcp"},
        "png": {"Software": "dcp"},
    }
    out = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(out, format=kind, dpi=300, metadata=metadata[kind])
    return out.getvalue()

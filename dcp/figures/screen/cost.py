"""The pictures of the Cost page, as plain plotly figures in dicts. Pure: no page, no clock.

The names in a legend say what was computed from deaths and what was measured by a clock or counted
by a cache. A dense run that was only computed is dashed, so the two sides are apart in grey too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.figures.screen.theme import LEGEND, OVERHEAD, REFERENCE, RUN, faded
from dcp.stats.cost import SMOOTHING, Computed, Measured, running_median, timed_steps
from dcp.trace import Trace

__all__ = ["layer_chart", "memory_chart", "time_chart"]

_COLOURS = {"pruned": RUN, "kept": OVERHEAD, "dense": REFERENCE}
_NAMES = {"pruned": "pruned", "kept": "gates asked, nothing dropped", "dense": "dense"}
_MIB = 2**20
# At most this many points; each is then the mean of its share of the steps.
_MOST_POINTS = 700

Values = npt.NDArray[Any]


def memory_chart(
    cost: Computed, *, prompt: int, planned: int, step: int, measured: Measured | None = None
) -> dict[str, Any]:
    """Live bytes of all layers at each step under the dense ones; allocated where measured.

    ``planned`` steps fix the axis of a run that is still going on; ``step`` is marked.
    """
    scale, unit = (_MIB, "MiB") if cost.entry_bytes else (1, "entries")
    live, dense = cost.live().sum(axis=0) / scale, cost.dense() / scale
    at = np.arange(len(live))
    hover = f"%{{y:,.2f}} {unit}"
    lines = [
        _line(at, dense, "dense (computed)", REFERENCE, hover, dash="dash"),
        _line(at, live, "live (computed)", RUN, hover, fill="tozeroy"),
    ]
    if measured is not None:
        when = measured.context - 1
        for arm in ("dense", "pruned"):
            held = measured.held[arm] / scale
            name, colour = f"allocated, {_NAMES[arm]} (measured)", _COLOURS[arm]
            lines.append(_line(when, held, name, colour, hover))
    top = float(dense[-1]) * max(1.0, planned / len(live))
    if measured is not None:
        top = max(top, float(measured.held["dense"].max()) / scale)
    return _figure(lines, f"keys and values, {unit}", planned, prompt, 1.06 * top, step=step)


def layer_chart(cost: Computed, step: int) -> dict[str, Any]:
    """Live bytes of every layer at ``step``, under what it would hold had it dropped nothing."""
    scale, unit = (1024, "KiB") if cost.entry_bytes else (1, "entries")
    live, whole = cost.live()[:, step] / scale, (step + 1) * cost.unit / scale
    names = [f"layer {i}" for i in range(len(live))]
    share = [f"{100 * value / whole:.0f} %" for value in live]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": [whole] * len(live),
            "name": "dense (computed)",
            "marker": {"color": faded(REFERENCE, 0.14), "line": {"color": REFERENCE, "width": 1}},
            "hovertemplate": f"dense: %{{x:,.1f}} {unit}<extra></extra>",
        },
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": live.tolist(),
            "name": "live (computed)",
            "marker": {"color": RUN},
            "text": share,
            # Bars of many layers are too thin for words: those are in the hover text.
            "textposition": "auto" if len(live) <= 16 else "none",
            "insidetextanchor": "end",
            "hovertemplate": f"%{{y}}: %{{x:,.1f}} {unit} live, %{{text}} of dense<extra></extra>",
        },
    ]
    return {
        "data": bars,
        "layout": {
            "height": 96 + max(11, min(24, 560 // len(live))) * len(live),
            "barmode": "overlay",
            "bargap": 0.22,
            "margin": {"l": 70, "r": 12, "t": 34, "b": 44},
            "legend": _LEGEND,
            "uirevision": "layers",
            "xaxis": {
                "title": {"text": f"keys and values at step {step}, {unit}"},
                "rangemode": "tozero",
            },
            "yaxis": {"autorange": "reversed", "type": "category", "fixedrange": True},
        },
    }


def time_chart(
    trace: Trace, *, planned: int, measured: Measured | None = None, crossover: int | None = None
) -> dict[str, Any]:
    """Milliseconds of each step: of the run itself, or of the arms of a measurement, smoothed.

    Bands reach from the 20th to the 80th percentile over rounds; faint points are single steps.
    """
    lines: list[dict[str, Any]] = []
    hover = "%{y:.2f} ms"
    shown: list[Values] = []
    first = 0.0
    if measured is None:
        own = np.asarray(trace.step_seconds, np.float64)[: trace.tokens] * 1e3
        timed = timed_steps(trace)
        lines.append(_points(timed, own[timed], "single steps (measured in the run)"))
        smooth = running_median(own[timed])
        lines.append(_line(timed, smooth, f"pruned, median of {SMOOTHING} steps", RUN, hover))
        shown = [smooth]
        # A run times the steps that it wrote: its prompt is as wide as its name here.
        first = max(0.0, trace.prompt_tokens - 0.15 * max(planned - trace.prompt_tokens, 1))
    else:
        at = measured.context - 1
        for arm in ("dense", "kept", "pruned"):
            low, middle, high = (part * 1e3 for part in measured.percentiles(arm))
            lines += _band(at, low, high, _COLOURS[arm])
            lines.append(_line(at, middle, f"{_NAMES[arm]} (measured)", _COLOURS[arm], hover))
            shown += [middle, high]
    top = max((float(values.max()) for values in shown if len(values)), default=1.0)
    return _figure(
        lines, "milliseconds a step", planned, trace.prompt_tokens, 1.25 * top,
        first=first, cross=crossover,
    )  # fmt: skip


_LEGEND = LEGEND | {"font": {"size": 12}}


def _figure(
    lines: Sequence[dict[str, Any]],
    title: str,
    planned: int,
    prompt: int,
    top: float,
    *,
    first: float = 0.0,
    step: int | None = None,
    cross: int | None = None,
) -> dict[str, Any]:
    marks, notes = [], []
    if 0 < prompt < planned:
        marks.append(_upright(prompt - 0.5, REFERENCE, "solid", 1))
        for text, anchor in (("you wrote ", "right"), (" the model wrote", "left")):
            notes.append(_note(prompt - 0.5, text, anchor))
    if step is not None:
        marks.append(_upright(step, RUN, "dot", 1.5))
    if cross is not None:
        marks.append(_upright(cross - 1, RUN, "solid", 2))
        notes.append(_note(cross - 1, f" faster from {cross} tokens on", "left", y=0.9))
    return {
        "data": list(lines),
        "layout": {
            "height": 330,
            "margin": {"l": 58, "r": 12, "t": 34, "b": 44},
            "legend": _LEGEND,
            "hovermode": "x unified",
            "uirevision": title,
            "shapes": marks,
            "annotations": notes,
            "xaxis": {"title": {"text": "step"}, "range": [first - 0.5, max(planned - 0.5, 1)]},
            "yaxis": {"title": {"text": title}, "range": [0, top or 1.0]},
        },
    }


def _line(
    x: Values, y: Values, name: str, colour: str, hover: str, *, dash: str = "solid", fill: str = ""
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": _thin(x),
        "y": _thin(y),
        "name": name,
        "line": {"color": colour, "width": 2, "dash": dash},
        "hovertemplate": hover + f"<extra>{name}</extra>",
    }
    if fill:
        found |= {"fill": fill, "fillcolor": faded(RUN)}
    return found


def _points(x: Values, y: Values, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _thin(x),
        "y": _thin(y),
        "name": name,
        "marker": {"color": REFERENCE, "size": 4, "opacity": 0.45, "symbol": "circle-open"},
        "hoverinfo": "skip",
    }


def _band(x: Values, low: Values, high: Values, colour: str) -> list[dict[str, Any]]:
    common = {
        "type": "scatter",
        "mode": "lines",
        "x": _thin(x),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    shade = {"fill": "tonexty", "fillcolor": faded(colour)}
    return [common | {"y": _thin(low)}, common | shade | {"y": _thin(high)}]


def _thin(values: Values) -> list[float]:
    """At most `_MOST_POINTS` numbers, each the mean of its neighbours: nothing is skipped."""
    if len(values) <= _MOST_POINTS:
        return [float(value) for value in values]
    return [float(part.mean()) for part in np.array_split(values, _MOST_POINTS)]


def _upright(x: float, colour: str, dash: str, width: float) -> dict[str, Any]:
    line = {"color": colour, "width": width, "dash": dash}
    ends = {"x0": x, "x1": x, "y0": 0, "y1": 1}
    return {"type": "line", "yref": "paper", "layer": "below", "line": line} | ends


def _note(x: float, text: str, anchor: str, y: float = 1.0) -> dict[str, Any]:
    return {
        "x": x,
        "y": y,
        "yref": "paper",
        "yanchor": "top",
        "xanchor": anchor,
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": REFERENCE},
    }

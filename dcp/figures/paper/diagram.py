"""How a drop works, on a few real tokens: who sees whom, and the rows of memory. Kind "diagram"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from dcp.errors import RequestError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.lifelines import typical_layer
from dcp.figures.paper.marks import readable
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.states import span_of
from dcp.figures.paper.style import drawing, figure
from dcp.method import CacheStep, cache_steps
from dcp.trace import Trace

__all__ = ["diagram"]

_STEPS = 12
_MOST = 24
_LONGEST = 12


def diagram(subject: Subject, options: Options, page: Page) -> Drawing:
    """The mask of a short span beside the rows of memory that its tokens take, step by step.

    Raises RequestError for a span of more than 24 tokens.
    """
    trace = subject.trace
    layer, first, last = _place(trace, options)
    if last - first >= _MOST:
        raise RequestError(
            f"diagram shows up to {_MOST} tokens: choose a shorter span", remedy="span"
        )
    death = trace.death[layer]
    n = last - first + 1
    steps = cache_steps(death[first : last + 1].astype(np.int64) - first, n)
    beside = page.width > 4.5
    with drawing(page):
        names = [_name(trace, j, page) for j in range(first, last + 1)]
        line = max(page.small * 1.5 / 72, 0.15)
        height = (n * line + 0.55) * (1 if beside else 2) + 0.35
        drawn = figure(page, height)
        shape = (1, 2) if beside else (2, 1)
        mask, memory = drawn.subplots(*shape, sharey=beside)
        _mask(mask, death, first, n, page)
        _memory(memory, steps, page)
        labels = [f"{name}  {i}" for i, name in enumerate(names, 1)]
        for axes, named in ((mask, True), (memory, not beside)):
            axes.set_xlim(-0.5, n - 0.5)
            axes.set_ylim(n - 0.5, -0.5)
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.tick_params(length=0, labeltop=True, labelbottom=False, labelleft=named)
            axes.set_xticks(range(n), [str(i + 1) for i in range(n)])
            axes.xaxis.set_label_position("top")
            if named:
                axes.set_yticks(range(n), labels)
        mask.set_xlabel("token attended to")
        memory.set_xlabel("row of memory")
        handles = [
            Patch(fc=page.palette.held, label="held"),
            Patch(fc=page.palette.drop, label="dropped at this step (×)"),
            Patch(fc=page.palette.gone, label="dropped before"),
            Patch(fc="white", ec=page.palette.drop, lw=1.2, label="written into a freed row"),
        ]
        if any(step.moves for step in steps):
            handles.append(
                Patch(fc="white", ec=page.palette.soft, hatch="////", lw=0.4, label="moved up")
            )
        drawn.legend(
            handles=handles, loc="outside lower center", ncols=5 if beside else 2,
            columnspacing=0.9, handletextpad=0.4,
        )  # fmt: skip
    rows = [
        {"step": first + s, "row": row, "token": first + token, "how": _how(step, row, token == s)}
        for s, step in enumerate(steps)
        for row, token in enumerate(step.rows)
    ]
    data = pd.DataFrame(rows)
    data["text"] = [trace.pieces()[token] for token in data["token"]]
    dropped = sum(death[j] <= last for j in range(first, last + 1))
    chosen = (
        ""
        if options.span
        else f" The span: {n} steps with drops near half, where a sentence begins if one does."
    )
    words = caption(
        subject,
        f"How tokens are dropped in layer {layer}, tokens {first} to {last}. Each line is a step "
        "that reads the token named at its left. Left: the tokens that it can attend to; a token "
        "dropped at a step (cross) is out of reach of it and of every later one. Right: the rows "
        "of memory; the token that is read takes a row freed at the same step, further holes are "
        "filled from the end, and the dashed stairs are the rows of a dense model.",
        f"{dropped} of {n} tokens are dropped within the span. Tokens before it are left out."
        + chosen,
    )
    return Drawing("diagram", page, drawn, data, words)


def _place(trace: Trace, options: Options) -> tuple[int, int, int]:
    """Layer, first and last token."""
    layers = range(trace.layers) if options.layer is None else [options.layer]
    if options.span is not None:
        first, last = span_of(trace, options.span)
        last = min(last, trace.n_queries - 1)
        if first > last:
            raise RequestError(f"token {first} was not read: there is no step to show")
        return (typical_layer(trace) if options.layer is None else options.layer, first, last)
    n = min(_STEPS, trace.n_queries)
    clumsy = _clumsy(trace, n)
    best = (float("inf"), layers[0], 0)
    for layer in layers:
        death = trace.death[layer, : trace.n_queries]
        for first in range(trace.n_queries - n + 1):
            ends = death[first : first + n]
            ends = ends[ends <= first + n - 1]
            # Drops one by one say more than all at once, and a sentence more than its pieces.
            score = abs(len(ends) - n / 2) - 0.25 * len(set(ends.tolist())) + clumsy[first]
            best = min(best, (score, layer, first))
    return best[1], best[2], best[2] + n - 1


def _clumsy(trace: Trace, n: int) -> list[float]:
    """How ill each token suits as the first of ``n``: 0 where a sentence of whole words begins."""
    pieces = trace.pieces()
    inside = [
        j > 0 and p[:1].isalnum() and pieces[j - 1][-1:].isalnum() for j, p in enumerate(pieces)
    ]
    found = []
    for first in range(len(pieces)):
        before = pieces[first - 1].rstrip(" ") if first else "."
        opens = before.endswith((".", "!", "?", "\n")) and pieces[first].strip()[:1].isalnum()
        cut = sum(inside[first : first + n])
        found.append((0.0 if opens else 4.0) + 0.8 * cut)
    return found


def _how(step: CacheStep, row: int, new: bool) -> str:
    """How the token of a row came to be in it at this step."""
    if new:
        return "reused" if step.dropped else "added"
    return "moved" if row in {hole for _, hole in step.moves} else "kept"


def _name(trace: Trace, j: int, page: Page) -> str:
    piece = trace.pieces()[j]
    name = readable(piece.strip() or piece, page)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _cell(axes: Axes, x: int, y: int, **look: Any) -> None:
    axes.add_patch(Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, **{"lw": 0, **look}))


def _mask(axes: Axes, death: np.ndarray, first: int, n: int, page: Page) -> None:
    for step in range(n):
        for key in range(step + 1):
            ends = death[first + key]
            now = ends == first + step
            held = ends > first + step
            palette = page.palette
            _cell(
                axes, key, step, fc=palette.held if held else palette.drop if now else palette.gone
            )
            if now:
                axes.plot(key, step, marker="x", ms=3.2, mew=0.8, color="white")


def _memory(axes: Axes, steps: list[CacheStep], page: Page) -> None:
    palette = page.palette
    looks: dict[str, dict[str, Any]] = {
        "added": {"fc": palette.held},
        "reused": {"fc": "white", "ec": palette.drop, "lw": 1.2},
        "moved": {"fc": "white", "ec": palette.soft, "hatch": "//////", "lw": 0.4},
        "kept": {"fc": palette.held, "alpha": 0.22},
    }
    for s, step in enumerate(steps):
        for row, token in enumerate(step.rows):
            how = _how(step, row, token == s)
            _cell(axes, row, s, **looks[how])
            axes.text(
                row, s, str(token + 1), ha="center", va="center_baseline",
                fontsize=page.small - 1.5, color="white" if how == "added" else palette.ink,
                bbox={"fc": "white", "ec": "none", "pad": 0.6} if how == "moved" else None,
            )  # fmt: skip
    corner = np.arange(len(steps) + 1)
    dashed: dict[str, Any] = {"color": palette.soft, "lw": 0.7, "ls": (0, (3, 2))}
    axes.step(corner + 0.5, corner - 0.5, where="pre", **dashed)

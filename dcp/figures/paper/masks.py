"""The learned mask of one layer beside fixed ones that hold as many entries. Kind "masks"."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dcp.figures.paper.caption import caption
from dcp.figures.paper.lifelines import block_of, shares_in_reach, typical_layer
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.style import drawing, figure, reach
from dcp.policies.windows import fitted_windows, held_entries, policy_deaths
from dcp.trace import ALIVE

__all__ = ["masks"]

_FIXED = {"local": "local window", "strided": "strided", "sink": "sink + window"}


def masks(subject: Subject, options: Options, page: Page) -> Drawing:
    """Adaptive, dense, local, strided and sink masks; all but dense at equal entries held.

    A fixed mask gets the smallest window that holds at least as many entries as the layer did.
    """
    trace = subject.trace
    layer = typical_layer(trace) if options.layer is None else options.layer
    n = trace.n_queries
    adaptive = trace.death[layer, :n]
    entries = held_entries(adaptive)
    shown: dict[str, tuple[str, npt.NDArray[np.int32]]] = {
        "adaptive": (f"adaptive (layer {layer})", adaptive),
        "dense": ("dense", np.full(n, ALIVE, np.int32)),
    }
    for name, label in _FIXED.items():
        window = min(fitted_windows(name, n, entries))
        shown[name] = (f"{label} {window}", policy_deaths(name, n, window))
    columns = len(shown) if page.width > 4.5 else 3
    rows = -(-len(shown) // columns)
    side = (page.width - 0.5) / columns
    with drawing(page):
        drawn = figure(page, rows * (side + 0.3) + 0.42)
        grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        end = n - 0.5
        for (label, death), axes in zip(shown.values(), grid.flat, strict=False):
            look: dict[str, Any] = {"cmap": reach(page), "vmin": 0, "vmax": 1, "aspect": "equal"}
            axes.imshow(
                shares_in_reach(death),
                interpolation="nearest",
                extent=(-0.5, end, end, -0.5),
                **look,
            )
            share = held_entries(death) / (n * (n + 1) / 2)
            axes.set_title(f"{label}\n{share:.0%} of pairs", fontsize=page.small, pad=2)
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.locator_params(nbins=3, integer=True)
        drawn.supxlabel("key (token attended to)", fontsize=page.size)
        drawn.supylabel("query (step)", fontsize=page.size)
        spare = grid.flat[len(shown) :]
        for axes in spare:
            axes.set_axis_off()
        for axes in grid[-2, columns - len(spare) :] if rows > 1 else ():
            axes.tick_params(labelbottom=True)
        if len(spare):
            spare[0].legend(
                handles=[
                    Patch(color=page.palette.held, label="held"),
                    Patch(color=page.palette.gone, label="out of reach"),
                    Line2D([], [], ls="", label="white: not read yet"),
                ],
                loc="center",
            )
    data = pd.DataFrame(
        [
            {
                "mask": name,
                "layer": layer if name == "adaptive" else -1,
                "token": token,
                "death": None if last == ALIVE else last,
                "held_entries": held_entries(death),
            }
            for name, (_, death) in shown.items()
            for token, last in enumerate(death.tolist())
        ]
    ).astype({"death": "Int64"})
    block = block_of(n)
    words = caption(
        subject,
        f"The attention mask that layer {layer} chose for this text, beside masks that are fixed "
        "in advance: blue, the key is held for the query; grey, it is not; white, it is not "
        "read yet.",
        f"The layer holds {entries:,} pairs of key and query"
        + (" (the layer of median sparsity)" if options.layer is None else "")
        + "; the local window, the strided one and the first four tokens plus a window hold at "
        "least as many, and hardly more.",
        f"A cell is a block of {block} × {block} pairs." if block > 1 else "",
    )
    return Drawing("masks", page, drawn, data, words)

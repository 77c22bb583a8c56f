"""The data of the five pictures of the method, and the component that draws them.

Numbers come from `dcp.method` and the bundled sample; sliders and drags stay in the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import streamlit as st

from dcp.errors import DcpError
from dcp.method import (
    GateLogits,
    alpha_logit,
    alpha_sigmoid,
    alpha_slope,
    cache_steps,
    interaction,
    progress_at,
)
from dcp.resources import asset
from dcp.trace import Trace
from dcp.ui.samples import FOLDER, load_sample, sample_names

__all__ = ["PICTURES", "draw", "picture"]

_ASSETS = asset("method")
_SHOWN = 96
_SOFT = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)

Data = dict[str, Any]


def draw(name: str) -> None:
    """Put the picture ``name`` of PICTURES on the page, or one line that says why it is not."""
    data = picture(name)
    if data is None:
        st.caption("This picture draws the bundled sample run, which is not here.")
        return
    _component()(data=data, key=f"method-{name}")


@cache
def picture(name: str) -> Data | None:
    """What the picture draws, as JSON; None where it needs the sample and there is none."""
    return PICTURES[name]()


@cache
def _component() -> Callable[..., Any]:
    script, style = ((_ASSETS / f"method.{kind}").read_text("utf-8") for kind in ("js", "css"))
    made: Callable[..., Any] = st.components.v2.component("dcp_method", js=script, css=style)
    return made


def _sample() -> tuple[Trace, GateLogits] | None:
    names = sample_names()
    try:
        return (
            load_sample(names[0])[0],
            GateLogits.load(FOLDER / f"{names[0]}.gates.json"),
        )
    except (IndexError, DcpError):
        return None


def _keeps() -> Data | None:
    found = _sample()
    if found is None:
        return None
    trace, _ = found
    pieces = trace.pieces()
    first = next((j for j, piece in enumerate(pieces[:24]) if piece.strip() == "."), 23)
    return {
        "picture": "keeps",
        "pieces": pieces[: first + 1],
        "layers": trace.layers,
        "entry": trace.meta.memory.entry,
        "start": first * 2 // 3,
    }


def _gate() -> Data:
    return {"picture": "gate", "q": [1.6, 1.2], "k": [-1.7, -0.4], "beta": 1.0}


def _sigmoid() -> Data:
    alphas = [round(1 + 0.1 * i, 1) for i in range(71)]
    # Dense towards 0 and 1, where the curves meet the edge of the band.
    p = (1 + np.tanh(np.linspace(-4, 4, 61)) / np.tanh(4)) / 2
    inner = p[1:-1]
    return {
        "picture": "sigmoid",
        "alphas": alphas,
        "p": _short(inner),
        "z": [_short(alpha_logit(inner, alpha)) for alpha in alphas],
        "slope": [_short(alpha_slope(inner, alpha)) for alpha in alphas],
        "progress": _short(np.array([progress_at(alpha) for alpha in alphas])),
        "family": [0, 5, 10, 30, 70],
        "start": 20,
    }


def _product() -> Data | None:
    found = _sample()
    if found is None:
        return None
    trace, gates = found
    reopened = gates.reopened()
    # The layer and word whose gates reopen most: dropped tokens stay dropped all the same.
    layer = int(reopened.sum(axis=1).argmax())
    pieces = trace.pieces()[: gates.z.shape[1]]
    whole = [piece.startswith(" ") and len(piece) > 3 for piece in pieces]
    token = int(np.where(whole, reopened[layer], -1).argmax())
    z = np.nan_to_num(gates.z[layer].astype(np.float64))
    p = [alpha_sigmoid(z, alpha) for alpha in _SOFT]
    return {
        "picture": "product",
        "pieces": pieces,
        "layer": layer,
        "token": token,
        "z": [_short(row) for row in z],
        "alphas": list(_SOFT),
        "gates": [[_short(row) for row in table] for table in p],
        "soft": [[_short(row) for row in interaction(table)] for table in p],
        "start": 2,
    }


def _cache() -> Data | None:
    found = _sample()
    if found is None:
        return None
    trace, _ = found
    shown = min(_SHOWN, trace.n_queries)
    held = trace.held()[:, :shown]
    # The smallest cache in which a row moves, which is what the picture shows.
    for layer in map(int, held.max(axis=1).argsort(kind="stable")):
        steps = cache_steps(trace.death[layer], shown)
        if any(step.moves for step in steps):
            break
    memory = trace.meta.memory
    return {
        "picture": "cache",
        "pieces": trace.pieces()[:shown],
        "layer": layer,
        "entry": memory.entry,
        "row_bytes": memory.row,
        "most": max(step.capacity for step in steps),
        "start": next((t for t, step in enumerate(steps) if step.moves), shown - 1),
        "steps": [
            {
                "rows": step.rows,
                "dropped": step.dropped,
                "written": step.written,
                "moves": step.moves,
                "capacity": step.capacity,
            }
            for step in steps
        ],
    }


def _short(values: np.ndarray) -> list[float]:
    """Rounded to five digits, to keep the page small."""
    return [float(f"{x:.5g}") for x in values]


PICTURES: dict[str, Callable[[], Data | None]] = {
    "keeps": _keeps,
    "gate": _gate,
    "sigmoid": _sigmoid,
    "product": _product,
    "cache": _cache,
}

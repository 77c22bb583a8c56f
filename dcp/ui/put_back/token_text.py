"""A trace's running text as a component: tokens to choose from, or coloured by a change.

Knows no model. The browser shows its strings as plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from dcp.figures.screen.theme import quoted
from dcp.resources import asset
from dcp.trace import ALIVE, Trace
from dcp.ui.links import whole

__all__ = ["coloured", "leaned", "selectable", "token_text"]

_FOLDER = asset("put_back")
_LARGEST = 5
"""So many tokens of each sign carry an arrow."""
_FAINT = 0.04
"""Below this share of full colour a change is not coloured at all."""


def token_text(data: dict[str, Any], key: str, on_token: Callable[[int], None]) -> None:
    """Show what `selectable` or `coloured` made; ``on_token`` is called with a token chosen."""

    def chosen() -> None:
        token = whole(st.session_state[key].get("token"))
        if token is not None:
            on_token(token)

    _component()(data=data, key=key, on_token_change=chosen)


def selectable(
    shown: str, trace: Trace, can: npt.NDArray[np.bool_], token: int | None
) -> dict[str, Any]:
    """The text with each token struck by the share of layers that dropped it.

    can [T] bool: which tokens can be chosen. ``shown`` names the trace.
    """
    gone = (trace.death != ALIVE).sum(axis=0)
    notes = [
        f"{quoted(piece)}: dropped in {n} of {trace.layers} layers"
        for piece, n in zip(trace.pieces(), gone, strict=True)
    ]
    return {
        **_base(shown, trace, token, notes),
        "label": "Your text: choose a token with a click, or with the arrow keys and Enter.",
        "can": can.tolist(),
        "gone": np.round(gone / trace.layers, 3).tolist(),
    }


def coloured(
    shown: str,
    trace: Trace,
    change: npt.NDArray[np.float32],
    token: int,
    ordinary: npt.NDArray[np.float32] | None = None,
) -> dict[str, Any]:
    """The text with each token coloured by ``change`` [T] (nats, nan where nothing can change).

    Full colour is the 98th percentile of the sizes, at least 0.05 nats. What lies in the band
    ``ordinary`` [T, 2] has no colour and no mark: any drop does as much.
    """
    known = np.isfinite(change)
    scale = max(float(np.quantile(np.abs(change[known]), 0.98)) if known.any() else 0.0, 0.05)
    size = np.clip(change / scale, -1, 1)
    size[np.abs(size) < _FAINT] = 0
    within = np.zeros(trace.tokens, np.bool_)
    if ordinary is not None:
        with np.errstate(invalid="ignore"):
            within = (change >= ordinary[:, 0]) & (change <= ordinary[:, 1])
    size[within] = 0
    shown_change = np.where(within, 0, np.nan_to_num(change))
    marks = np.zeros(trace.tokens, int)
    for sign in (1, -1):
        order = np.argsort(np.where(known, -sign * shown_change, np.inf), kind="stable")[:_LARGEST]
        marks[order[sign * shown_change[order] > scale / 5]] = sign
    notes = [
        f"{quoted(piece)}: {amount:+.3f} nats, {'more' if amount > 0 else 'less'} likely"
        + (", as after any drop" if usual else "")
        if finite
        else f"{quoted(piece)}: read before anything changed"
        for piece, amount, finite, usual in zip(trace.pieces(), change, known, within, strict=True)
    ]
    shares: Sequence[float | None] = [
        round(float(s), 3) if finite else None for s, finite in zip(size, known, strict=True)
    ]
    return {
        **_base(f"{shown}-change", trace, token, notes),
        "label": "The text, each later token coloured by its change in log-probability.",
        "can": [False] * trace.tokens,
        "gone": [0] * trace.tokens,
        "change": shares,
        "marks": marks.tolist(),
    }


def leaned(
    shown: str, trace: Trace, lean: npt.NDArray[np.float64], one: str, other: str
) -> dict[str, Any]:
    """The text with each token coloured by ``lean`` [T]: the share of layers that hold it under
    ``one``, less that under ``other``; nan for what was not read. Names are plain text."""
    known = np.isfinite(lean)
    order = np.argsort(-np.abs(np.nan_to_num(lean)), kind="stable")[: 2 * _LARGEST]
    marks = np.zeros(trace.tokens, int)
    marks[order] = np.sign(np.nan_to_num(lean[order])).astype(int)
    notes = [
        f"{quoted(piece)}: {round(abs(amount) * trace.layers)} of {trace.layers} layers more "
        f"hold it under {one if amount > 0 else other}"
        if finite and amount
        else f"{quoted(piece)}: " + ("as many layers hold it" if finite else "not read by then")
        for piece, amount, finite in zip(trace.pieces(), lean, known, strict=True)
    ]
    return {
        **_base(f"{shown}-lean", trace, None, notes),
        "label": f"The text, each token coloured by who holds it in more layers: {one} or {other}.",
        "can": [False] * trace.tokens,
        "gone": [0] * trace.tokens,
        "change": [round(float(x), 3) if f else None for x, f in zip(lean, known, strict=True)],
        "marks": marks.tolist(),
    }


def _base(shown: str, trace: Trace, token: int | None, notes: list[str]) -> dict[str, Any]:
    return {
        "id": shown,
        "fragments": trace.fragments(),
        "prompt": trace.prompt_tokens,
        "chosen": token,
        "notes": notes,
        "change": None,
        "marks": [0] * trace.tokens,
    }


@cache
def _component() -> Callable[..., Any]:
    made: Callable[..., Any] = st.components.v2.component(
        "dcp_token_text",
        js=(_FOLDER / "words.js").read_text(encoding="utf-8"),
        css=(_FOLDER / "words.css").read_text(encoding="utf-8"),
    )
    return made

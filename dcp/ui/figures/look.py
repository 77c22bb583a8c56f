"""The choices above the gallery: venue, width, palette, options, grey."""

from __future__ import annotations

from dataclasses import dataclass, fields

import streamlit as st

from dcp.figures.paper.presets import PALETTES, VENUES, Width
from dcp.figures.paper.request import Options
from dcp.stats.lives import Phase
from dcp.trace import Trace
from dcp.ui.session import Session

__all__ = ["Look", "look"]

_NAMES = {
    "neurips": "NeurIPS",
    "icml": "ICML",
    "iclr": "ICLR",
    "acl": "ACL",
    "cvpr": "CVPR",
    "screen": "Screen",
}
# One text has few words: both parts of it together, which every caption says.
_SOURCES: dict[str, Phase] = {"both": "both", "prompt": "prompt", "written": "generated"}
_FIRST = Options(source="both")


@dataclass(frozen=True)
class Look:
    """What was chosen. ``grey``: show previews by luminance alone."""

    style: str
    width: Width | None
    palette: str
    options: Options
    grey: bool

    def shown(self, png: bytes) -> bytes:
        """The preview as the page shows it."""
        return _grey(png) if self.grey else png


@st.cache_data(max_entries=64, show_spinner=False, scope="session")
def _grey(png: bytes) -> bytes:
    from dcp.figures.paper.style import grey

    return grey(png)


def look(session: Session, trace: Trace) -> Look:
    """The row of choices above the gallery."""
    one, two, three, four, five = st.columns([1.3, 1.5, 1.4, 1.2, 1.2], vertical_alignment="bottom")
    style = one.selectbox(
        "Venue",
        list(_NAMES),
        format_func=_NAMES.__getitem__,
        key="figures_style",
        persist_state="session",
    )
    venue = VENUES[style]
    width: Width | None = None
    if venue.column is None:
        two.selectbox("Width", [f"one column, {venue.text:g} in"], key="figures_one")
    else:
        inches = {"column": f"column, {venue.column:g} in", "text": f"text, {venue.text:g} in"}
        widths: list[Width] = ["column", "text"]
        width = two.selectbox(
            "Width",
            widths,
            format_func=inches.__getitem__,
            key="figures_width",
            persist_state="session",
        )
    palette = three.selectbox(
        "Palette", list(PALETTES), key="figures_palette", persist_state="session",
        help="All are told apart with any colour vision; “grey” is for print without colour.",
    )  # fmt: skip
    with four.popover("Options", width="stretch"):
        options = _options(session, trace)
    grey = five.toggle(
        "In grey", key="figures_grey", persist_state="session",
        help="How the figures look by their luminance alone.",
    )  # fmt: skip
    changed = [
        f"{field.name} {getattr(options, field.name)}"
        for field in fields(Options)
        if getattr(options, field.name) != getattr(_FIRST, field.name)
    ]
    if changed:
        st.caption(f"Where a figure reads them: {', '.join(changed)}.")
    return Look(style, width, palette, options, grey)


def _options(session: Session, trace: Trace) -> Options:
    """The options popover; each figure reads those that concern it."""
    last = max(trace.n_queries - 1, 0)
    step, layer = session.place.step, session.place.layer
    at = st.number_input(
        "Step (overview, heatmap, text)", 0, last,
        step if session.has("step", step) and step is not None and step <= last else last,
        key=f"figures_step_{last}",
    )  # fmt: skip
    layers = [None, *range(trace.layers)]
    which = st.selectbox(
        "Layer", layers, index=layers.index(layer) if session.has("layer", layer) else 0,
        format_func=lambda i: "all, or the typical one" if i is None else f"layer {i}",
        key=f"figures_layer_{trace.layers}",
    )  # fmt: skip
    first, end = st.slider(
        "Tokens (heatmap, text, diagram)", 0, max(trace.tokens - 1, 1), (0, trace.tokens - 1),
        key=f"figures_span_{trace.tokens}",
    )  # fmt: skip
    whole = (first, end) == (0, trace.tokens - 1)
    horizon = st.number_input("Horizon of drop rates (steps)", 1, 512, 32, key="figures_horizon")
    born = st.radio(
        "Words of", list(_SOURCES), key="figures_source", horizontal=True,
        format_func={"prompt": "the prompt", "written": "the model", "both": "both"}.__getitem__,
    )  # fmt: skip
    seed = st.number_input("Seed of resamples", 0, 2**31 - 1, 0, key="figures_resample_seed")
    return Options(
        step=None if at == last else int(at),
        layer=which,
        span=None if whole else (int(first), min(int(end), trace.tokens - 1)),
        horizon=int(horizon),
        source=_SOURCES[born],
        seed=int(seed),
    )

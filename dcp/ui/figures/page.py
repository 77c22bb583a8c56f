"""The gallery: every figure of a run as a thumbnail, one look for all, one opened at a time."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import numpy as np
import streamlit as st

from dcp.figures.paper.catalogue import KINDS
from dcp.figures.paper.figure_set import FigureSet
from dcp.trace import Trace
from dcp.ui.asked import last_asked
from dcp.ui.compare.ready import ready
from dcp.ui.figures.look import Look, look
from dcp.ui.figures.opened import opened_figure, zip_section
from dcp.ui.figures.previews import Preview, PreviewCache, draw_preview
from dcp.ui.figures.rounds import Rounds, Seat
from dcp.ui.figures.source import OWN, fingerprint, results, source
from dcp.ui.follow import follow_run
from dcp.ui.look import hinted
from dcp.ui.presence import left
from dcp.ui.session import Session

__all__ = ["gallery"]

_COLUMNS = 4
_HINTS = {
    "results": "results above",
    "source": "“words of” above",
    "span": "“tokens” above",
    "policies": "Compare, “other policies”",
    "gates_off": "the command line makes one: dcp trace --gates-off",
}
_AGAIN = 0.6
# White paper in the dark theme too; thumbnails keep their size while they are drawn.
_CSS = """
<style>
[class*="st-key-figures_paper_"] { background: #fff; border-radius: 4px; padding: 6px; }
[class*="st-key-figures_paper_"]:not(.st-key-figures_paper_opened) { height: 152px;
  align-items: center; justify-content: center; overflow: hidden; }
[class*="st-key-figures_paper_"]:not(.st-key-figures_paper_opened) img { height: 140px;
  object-fit: contain; }
[class*="st-key-figures_paper_"] p { color: #555b66; }
[class*="st-key-figures_thumb_"] [data-testid="stCaptionContainer"] p { line-height: 1.3;
  min-height: 2.6em; text-align: center; text-wrap: balance; }
[class*="st-key-figures_thumb_"] { gap: 0.25rem; position: relative; }
/* The whole card opens its figure: the button's own area is the card's. */
[class*="st-key-figures_open_"], [class*="st-key-figures_open_"] * { position: static; }
[class*="st-key-figures_open_"] button:not(:disabled)::after { content: ""; position: absolute;
  inset: 0; cursor: pointer; }
[class*="st-key-figures_open_"] button:focus-visible::after { outline: 2px solid #1f5a99;
  border-radius: 8px; }
[class*="st-key-figures_thumb_"]:hover { border-color: #1f5a99; }
.st-key-figures_opened [data-testid="stCode"] pre { max-height: 21rem; }
.st-key-figures_opened .stDownloadButton button { padding-inline: 0.2rem; }
@media (max-width: 640px) {
  [data-testid="stColumn"]:has([class*="st-key-figures_thumb_"]) { flex: 1 1 calc(50% - 1rem);
    min-width: calc(50% - 1rem); width: calc(50% - 1rem); }
}
.st-key-figures_what p, .st-key-figures_not p { white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
"""


@st.cache_resource(show_spinner=False)
def _thread() -> Rounds:
    """The server's one thread for figures."""
    return Rounds()


@st.cache_resource(show_spinner=False)
def _samples() -> PreviewCache:
    """Previews of bundled texts, shared by all sessions."""
    return PreviewCache(_thread().seat("samples"), most=240)


def _seat(session: Session) -> Seat:
    return _thread().seat(session.owner, partial(left, session.owner))


def gallery(session: Session) -> None:
    """Draw the page."""
    st.html(_CSS)
    if session.work.job is not None:
        st.fragment(_wait, run_every=0.5)(session)
    found = source(session)
    if found is None:
        st.info("No run yet and no sample: record one on the first page, or open a saved trace.")
        return
    chosen = look(session, found.trace)
    with st.expander("Figures from measurements: of a bundled model, or give your own results"):
        files, given = results(found.trace.meta.model)
    figures = FigureSet(
        found.trace,
        found.words,
        found.name,
        found.chosen,
        _beside(session, found.trace),
        files,
        chosen.style,
        chosen.width,
        chosen.palette,
        chosen.options,
    )
    own = found.name == OWN or given
    cache = _samples()
    if own:
        cache = st.session_state.setdefault("figures_previews", PreviewCache(_seat(session)))
    same = (
        *(fingerprint(trace) for trace in (found.trace, *figures.beside.values())),
        found.chosen,
        *(hash(str(file)) for file in files),
    )
    keys: dict[str, Hashable] = {
        kind: (kind, *same, chosen.style, chosen.width, chosen.palette, figures.options_of(kind))
        for kind in KINDS
    }
    if own:
        cache.only(set(keys.values()))
    previews = _previews(figures, cache, keys)
    waiting = [kind for kind, preview in previews.items() if preview is None]
    st.fragment(_grid, run_every=_AGAIN if waiting else None)(
        figures, cache, keys, chosen, len(waiting)
    )
    zip_section(figures, _seat(session), (fingerprint(found.trace), str(keys)))


def _beside(session: Session, trace: Trace) -> dict[str, Trace]:
    """The run and its tokens under other policies, each with what it cost: measured beforehand, or
    read in Compare."""
    asked = last_asked("policies")
    found = ready(trace)
    if found is None and asked is not None and not asked.waiting:
        found = asked.task.status().result
        if found is not None and not np.array_equal(found.first.death, trace.death):
            found = None
    if found is None:
        return {}
    return dict(found.runs)


def _wait(session: Session) -> None:
    """The line while a run is on."""
    status = follow_run(session)
    read = status.trace.tokens if status.trace is not None else 0
    st.caption(
        f"A run is on ({read} tokens so far): its figures are here when it has ended. Until then "
        "these are of what was shown before."
    )


def _previews(
    figures: FigureSet, cache: PreviewCache, keys: dict[str, Hashable]
) -> dict[str, Preview | None]:
    return {
        kind: cache.get(key, partial(draw_preview, figures, kind)) for kind, key in keys.items()
    }


def _grid(
    figures: FigureSet, cache: PreviewCache, keys: dict[str, Hashable], chosen: Look, before: int
) -> None:
    previews = _previews(figures, cache, keys)
    waiting = sum(preview is None for preview in previews.values())
    if before and not waiting:
        # All are drawn: run once more, without the timer.
        st.rerun()
    drawn = {
        kind: found for kind, found in previews.items() if found is None or found.error is None
    }
    without = {kind: preview for kind, preview in previews.items() if kind not in drawn}
    opened = st.session_state.setdefault("figures_open", next(iter(drawn), ""))
    with st.container(key="figures_progress"):
        st.caption(f"Drawing: {waiting} to go." if waiting else f"{len(drawn)} figures.")
    kinds = list(drawn)
    for first in range(0, len(kinds), _COLUMNS):
        row = kinds[first : first + _COLUMNS]
        for column, kind in zip(st.columns(_COLUMNS), row, strict=False):
            with column:
                _thumbnail(kind, drawn[kind], chosen, kind == opened)
        preview = drawn.get(opened) if opened in row else None
        if preview is not None:
            opened_figure(figures, opened, preview, chosen)
    reasons = [
        f"{kind}: {hinted(preview.error, _HINTS).removeprefix(f'{kind} ')}."
        for kind, preview in without.items()
        if preview is not None and preview.error is not None
    ]
    if reasons:
        with st.container(key="figures_not"):
            st.markdown("**Not drawn from this run**")
            st.text("\n".join(reasons))


def _thumbnail(kind: str, preview: Preview | None, chosen: Look, opened: bool) -> None:
    about = KINDS[kind].about
    with st.container(key=f"figures_thumb_{kind}", border=True):
        with st.container(key=f"figures_paper_{kind}"):
            if preview is None:
                st.caption("drawing…")
            else:
                st.image(chosen.shown(preview.png), alt=preview.alt, width="stretch")
        st.button(
            kind,
            key=f"figures_open_{kind}",
            type="primary" if opened else "tertiary",
            width="stretch",
            disabled=preview is None,
            on_click=_open,
            args=("" if opened else kind,),
        )
        st.caption(about[0].upper() + about[1:])


def _open(kind: str) -> None:
    st.session_state["figures_open"] = kind

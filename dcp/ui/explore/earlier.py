"""Runs to open with a click: those that come with the app, and those that this window made before.

Each that comes with the app says what to look at, and two numbers of its own trace. Those of the
model that a new window begins with stand first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import streamlit as st

from dcp.speech.words import Word
from dcp.stats.policies import policy_said
from dcp.trace import ALIVE, Trace
from dcp.trace.amounts import kept_in, percent
from dcp.ui.home import home_name
from dcp.ui.samples import load_sample, sample_names
from dcp.ui.session import Session, Shown

__all__ = ["RUNS", "earlier", "open_named", "shown_name"]

RUNS = {
    "sample": (
        "A lighthouse",
        "A story with a name and two years: what is still there at the end?",
    ),
    "gallery/biography": ("A botanist", "Dates, places and one surname that comes back."),
    "gallery/news": ("A closed bridge", "Quotation marks and long sentences, as news has them."),
    "gallery/conversation": ("A lost key", "Line breaks end a turn: see what goes with them."),
    "gallery/recipe": ("Pancakes", "Orders and amounts, a sentence a step."),
    "gallery/list": ("The same word again", "One word returns: which layers keep the first?"),
    "heldout-1": ("An article", "Held-out text, which the model was not trained on."),
    "heldout-2": ("A second article", "Longer: memory grows far slower than the text."),
    "heldout-3": ("A third article", "Zoom in: what do the deepest layers keep?"),
    "heldout-4": ("A fourth article", "Try “every layer”: the eight triangles differ."),
    "smollm2-135m/sample": (
        "A lighthouse",
        "Thirty layers: those that keep nearly all stand beside those that keep a few.",
    ),
    "smollm2-135m/gallery/chat": (
        "A question, answered",
        "A chat message: the marks of its turns are tokens too. Who keeps them?",
    ),
    "smollm2-135m/gallery/biography": (
        "A botanist",
        "Dates, places and one surname that comes back.",
    ),
    "smollm2-135m/gallery/conversation": (
        "A lost key",
        "Line breaks end a turn: see what goes with them.",
    ),
    "smollm2-135m/gallery/list": (
        "The same word again",
        "One word returns: which layers keep the first?",
    ),
    "smollm2-135m/heldout-1": ("An article", "Text that its gates were not trained on."),
    "smollm2-135m/heldout-2": ("A second article", "Longer: which layers grow with the text?"),
}
"""Name of a bundled run -> its title, and what to look at in it."""

_KEPT, _NAMES, _MOST = "runs of this window", "names of shown runs", 8
_GALLERY, _HISTORY = "ten runs", "your runs"


@dataclass(frozen=True, eq=False)
class _Run:
    trace: Trace
    words: Sequence[Word]
    fact: str


@cache
def _run(name: str) -> _Run:
    trace, words = load_sample(name)
    steps = trace.death[(trace.death != ALIVE) & (trace.death < trace.n_queries)]
    counts = np.bincount(steps, minlength=1)
    most = int(counts.argmax())
    fact = (
        f"{trace.tokens} tokens, {percent(trace.sparsity_at_end())} dropped; "
        f"the most at one step: {int(counts[most])} entries."
    )
    return _Run(trace, words, fact)


def earlier(session: Session) -> None:
    """The two lists, each behind a button."""
    _note(session)
    busy = session.work.job is not None
    with st.popover("Sample runs", key=_GALLERY, on_change="rerun", disabled=busy):
        if st.session_state.get(_GALLERY):
            first = home_name()
            for model in sorted(set(map(_model_of, RUNS)), key=lambda name: name != first):
                _list(session, model)
    runs: list[Shown] = st.session_state.get(_KEPT, [])
    # Always there: a button that appears would shift its neighbours.
    with st.popover("Your runs", key=_HISTORY, on_change="rerun", disabled=busy or not runs):
        if st.session_state.get(_HISTORY):
            for run in reversed(runs):
                st.button(
                    _title(run),
                    key=f"open {run.key}",
                    on_click=_reopen,
                    args=(session, run),
                    width="stretch",
                    disabled=run.key == session.shown.key,
                )


def _model_of(name: str) -> str:
    """The model that made a bundled run."""
    return _run(name).trace.meta.model


def _list(session: Session, model: str) -> None:
    st.caption(f"**Runs of {model}**")
    for name, (title, look) in RUNS.items():
        if _model_of(name) == model:
            st.button(
                title, key=f"open {name}", on_click=_open, args=(session, name), width="stretch"
            )
            st.caption(f"{look} {_run(name).fact}")


def _note(session: Session) -> None:
    """Keep the run on screen in this window's list, if it was made here."""
    runs: list[Shown] = st.session_state.setdefault(_KEPT, [])
    shown = session.shown
    if session.work.job is not None or shown.origin != "run" or shown.trace is None:
        return
    if shown.key not in {run.key for run in runs}:
        runs[:] = [*runs, shown][-_MOST:]


def open_named(session: Session) -> None:
    """Open the bundled run that the address names, once; what is not there is a quiet note."""
    asked = st.query_params.get("run")
    if asked is None or st.session_state.get("run asked") == asked:
        return
    st.session_state["run asked"] = asked
    if asked in RUNS:
        _open(session, asked)
    else:
        del st.query_params["run"]
        st.toast("There is no such run: the link was followed in part.")


def shown_name(session: Session) -> str:
    """The name in `RUNS` of what is shown; "" for all else."""
    names: dict[str, str] = st.session_state.get(_NAMES, {})
    if session.shown.origin == "sample" and session.shown.key not in names:
        # The first one of this window: elsewhere a window may begin with another model's.
        return next(iter(sample_names(home_name())), "")
    return names.get(session.shown.key, "")


def _open(session: Session, name: str) -> None:
    run = _run(name)
    title, look = RUNS[name]
    session.show(run.trace, run.words, "sample", f"{title}. {look}")
    st.session_state[_NAMES] = {session.shown.key: name}
    st.session_state[_GALLERY] = False


def _reopen(session: Session, run: Shown) -> None:
    session.shown, session.error = run, ""
    session.place.layer = session.place.step = session.place.token = None
    st.session_state[_HISTORY] = False


def _title(run: Shown) -> str:
    """A run by its first words, as plain text: a label is markup."""
    assert run.trace is not None
    words = " ".join(run.trace.text[:200].split())[:44]
    plain = _plain(words)
    meta = run.trace.meta
    said = [policy_said(meta)[:60], kept_in(meta.kv_dtype)]
    more = "".join(f" · {part}" for part in said if part)
    return f"{plain}… · {percent(run.trace.sparsity_at_end())} dropped{_plain(more)}"


def _plain(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~:$" else c for c in text)

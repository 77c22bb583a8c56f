"""Which run the figures show: this session's, a held-out text drawn by a seed, or the sample."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import streamlit as st

from dcp.errors import DcpError
from dcp.figures.paper.results import Results, parse_results, read_results
from dcp.speech.words import Word
from dcp.trace import Trace
from dcp.trace.amounts import percent
from dcp.ui.home import home_name
from dcp.ui.look import problem
from dcp.ui.samples import FOLDER, held_out, load_sample, sample_names
from dcp.ui.session import Session

__all__ = ["MEASURED", "OWN", "Source", "drawn", "fingerprint", "results", "source"]

MEASURED = FOLDER.parent / "results"
"""What `dcp eval --json` said of the bundled models."""
OWN = "run.safetensors"
"""What the trace of this session is called."""
_MINI = "dcp-mini"
_OWN, _DRAWN, _TYPED = "What Explore shows", "A held-out text", "The sample"
_SAMPLE = "the bundled sample, typed for the app"
_CHOSEN = {"run": "typed by a user of the app", "upload": "an uploaded trace, picked by its owner"}


@dataclass(frozen=True, eq=False)
class Source:
    """A trace, what its file is called, and how its text came to be shown."""

    trace: Trace
    words: tuple[Word, ...]
    name: str
    chosen: str


def drawn(names: list[str], seed: int) -> int:
    """Which of ``names`` the seed draws."""
    return int(np.random.default_rng(seed).integers(len(names)))


def source(session: Session) -> Source | None:
    """Ask what to draw and say what it is; None where there is nothing."""
    own = session.shown.trace is not None
    # Of the model at hand, where it has texts of its own.
    names = sample_names(session.shown.trace.meta.model if session.shown.trace else home_name())
    if not own and not names:
        return None
    left, right = st.columns([3, 2], vertical_alignment="center")
    held = [name for name in names if held_out(name)]
    typed = [name for name in names if not held_out(name)]
    # What Explore shows comes first; the typed sample again only where that is something else.
    other = typed if session.shown.origin != "sample" else []
    kinds = [kind for kind, any_ in ((_OWN, own), (_DRAWN, held), (_TYPED, other)) if any_]
    chosen = kinds[0]
    if len(kinds) > 1:
        chosen = (
            left.segmented_control(
                "Figures of",
                kinds,
                default=kinds[0],
                key="figures_of",
                label_visibility="collapsed",
                required=True,
            )
            or kinds[0]
        )
    if chosen == _OWN:
        shown = session.shown
        assert shown.trace is not None
        if shown.origin == "sample":
            name = _name_of(shown.trace, names)
            how = "a bundled held-out text" if held_out(name) else _SAMPLE
            _describe(shown.trace, "What Explore shows")
            return Source(shown.trace, tuple(shown.words), f"{name}.safetensors", how)
        found = Source(shown.trace, tuple(shown.words), OWN, _CHOSEN[shown.origin])
        _describe(found.trace, "Your run")
        return found
    if chosen == _TYPED:
        return _bundled(typed[0], _SAMPLE)
    seed = int(st.session_state.setdefault("figures_seed", 0))
    at = drawn(held, seed)
    if len(held) > 1:
        right.button(
            "Another at random",
            icon=":material/casino:",
            key="figures_another",
            help="Draws another held-out text with the next seed.",
            on_click=_another,
            args=(held, seed),
        )
    return _bundled(held[at], f"seeded draw {at + 1} of {len(held)} held-out texts, seed {seed}")


def _bundled(name: str, chosen: str) -> Source | None:
    """A bundled trace; None, with a message, where it cannot be read."""
    try:
        trace, words = load_sample(name)
    except DcpError as error:
        problem(str(error))
        return None
    _describe(trace, chosen[0].upper() + chosen[1:])
    return Source(trace, tuple(words), f"{name}.safetensors", chosen)


def _name_of(trace: Trace, names: list[str]) -> str:
    """What the file of a bundled trace is called; "sample" where it is none of them."""
    for name in names:
        try:
            if load_sample(name)[0] == trace:
                return name
        except DcpError:
            continue
    return "sample"


def _another(names: list[str], seed: int) -> None:
    """Go to the next seed that draws another text."""
    now, following = drawn(names, seed), seed + 1
    while drawn(names, following) == now:
        following += 1
    st.session_state["figures_seed"] = following


def _describe(trace: Trace, which: str) -> None:
    opening = " ".join(trace.text.split())
    opening = opening if len(opening) <= 110 else opening[:109] + "…"
    given = trace.prompt_tokens
    with st.container(key="figures_what"):
        st.text(
            f"{which}: “{opening}”\n{given:,} token{'' if given == 1 else 's'} read, "
            f"{trace.tokens - given} written, {trace.layers} layers, "
            f"{percent(trace.sparsity_at_end())} dropped at the end."
        )


def results(model: str) -> tuple[tuple[Results, ...], bool]:
    """Files of results for the figures that are drawn from them, and whether a user gave them.

    Without any, those measured of ``model``, or of dcp-mini where it was not.
    """
    whose, measured = _measured(model)
    files = st.file_uploader(
        f"Results of `dcp eval --json` or `dcp bench --json`, in place of {whose}'s",
        type=["json"],
        key="figures_results",
        accept_multiple_files=True,
        max_upload_size=4,
        help="For perplexity, tasks and throughput: these need a measurement, not a run.",
    )
    found = []
    for file in files[:8]:
        try:
            found.append(parse_results(re.sub(r"[^\w.-]", "_", file.name)[-80:], file.getvalue()))
        except DcpError as error:
            problem(str(error))
    return (tuple(found), True) if found else (measured, False)


def _measured(model: str) -> tuple[str, tuple[Results, ...]]:
    every = [read_results(path) for path in sorted(MEASURED.glob("*.json"))]
    if not any(model in part.models for part in every):
        model = _MINI
    return model, tuple(part for part in every if not part.models or model in part.models)


def fingerprint(trace: Trace) -> str:
    """A key that is equal for equal traces."""
    return hashlib.sha256(trace.to_bytes()).hexdigest()[:24]

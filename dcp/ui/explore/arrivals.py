"""A run that a link names: what is in the link, and the run that it asks for.

The link carries the text itself in the address's fragment, which browsers keep to themselves: the
server sees it only because this page asks for it. It may say anything, so every value is checked;
what makes no sense is left at its default with a quiet note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from dcp.trace import Trace
from dcp.ui.explore.count_line import named
from dcp.ui.explore.earlier import shown_name
from dcp.ui.explore.kept import take_kept
from dcp.ui.explore.policy_link import policy_of_link, shift_in_link, take_policy
from dcp.ui.links import PLACE, number, point
from dcp.ui.services import models
from dcp.ui.session import Session
from dcp.ui.settings import Settings

__all__ = ["arrive", "go_to_place", "link_of", "not_followed"]

_PLACE, _IGNORED = "link place", "link ignored"
_HOTTEST = 1.5


def link_of(session: Session, trace: Trace) -> dict[str, str] | None:
    """What a link to the run on screen says; None where an address cannot make it again.

    A bundled run needs no text, only its name.
    """
    if session.shown.origin == "sample":
        name = shown_name(session)
        return {"run": name} if name else {}
    meta = trace.meta
    who = policy_of_link(meta)
    if session.shown.origin != "run" or who is None:
        return None
    said = {
        "text": trace.text[: int(trace.offsets[trace.prompt_tokens - 1, 1])],
        "model": meta.model,
        "new": str(trace.tokens - trace.prompt_tokens),
        "temperature": f"{meta.sampling.temperature or 0:g}",
        "seed": str(meta.seed),
        "shift": f"{meta.gate_shift:g}",
        **who,
        **({"vocabulary": "seen"} if meta.vocabulary is not None else {}),
        **({"kv_dtype": meta.kv_dtype} if meta.kv_dtype is not None else {}),
    }
    if not shift_in_link(meta):
        del said["shift"]
    return said


def arrive(
    session: Session, limits: Settings, link: Mapping[str, Any], generate: Callable[[], None]
) -> None:
    """Fill the form with what ``link`` says, press ``generate``, and go to its place at the end."""
    state = st.session_state
    said = {key: value for key, value in link.items() if isinstance(value, str)}
    text = said.get("text", "")
    if not text.strip() or session.work.job is not None:
        return
    state["text"] = state["latest"] = text[: limits.characters + 1]
    ignored: list[str] = []
    info = named(models(), said.get("model")) if "model" in said else None
    if info is not None:
        state["model"] = info.name
    elif "model" in said:
        ignored.append("model")
    info = info or named(models(), state.get("model"))
    state["seen"] = said.get("vocabulary") == "seen"
    if said.get("vocabulary", "seen") != "seen":
        ignored.append("vocabulary")
    ignored += take_kept(said)
    ignored += take_policy(said, info.context if info else limits.characters, limits)
    room = min(limits.new_tokens, info.context - 1) if info else limits.new_tokens
    for key, name, most in (("new_tokens", "new", room), ("seed", "seed", 2**31 - 1)):
        found = number(said.get(name, ""))
        if found is not None and found <= most:
            state[key] = found
        elif name in said:
            ignored.append(name)
    known = {p.delta for p in info.calibration} if info else set()
    temperature, shift = _real(said.get("temperature", "")), _real(said.get("shift", ""))
    if temperature is not None and 0 <= temperature <= _HOTTEST:
        state["temperature"] = temperature
    elif "temperature" in said:
        ignored.append("temperature")
    if shift in known:
        state["gate_shift"] = shift
    elif said.get("shift", "0") != "0":
        ignored.append("shift")
    state[_PLACE] = {name: number(said.get(name, "")) for name in PLACE}
    generate()
    # By the run's key, not as a toast: the page begins anew at once, which would take a toast away.
    state[_IGNORED] = (session.shown.key, ignored)


def not_followed(session: Session) -> str:
    """What of the link that made the run on screen could not be used; "" for all other runs."""
    key, ignored = st.session_state.get(_IGNORED, ("", []))
    if not ignored or key != session.shown.key:
        return ""
    return f"This link's {' and '.join(ignored)} cannot be used here: the run has its own."


def go_to_place(session: Session) -> None:
    """Go where the link pointed, once its run is there."""
    place = st.session_state.pop(_PLACE, None)
    if place:
        point(session, **place)


def _real(text: str) -> float | None:
    """A plain decimal number; None for all else."""
    digits = text.removeprefix("-").replace(".", "", 1)
    plain = len(text) <= 12 and digits.isascii() and digits.isdigit()
    return float(text) if plain else None

"""Deep links: the address names page, layer, step and token, and an example by its name.

Pages and examples are bound by Streamlit itself. Layer, step and token belong to all pages, so they
live in the session's `Place` and are written to the address here; no widget may be bound to their
names. Never a word of the user's text: three numbers and nothing else (a link that its reader
copies may hold the text, in the fragment: `dcp.ui.explore.arrivals`). An address may ask for
anything: what the run does not have is ignored with a quiet note.
"""

from __future__ import annotations

import streamlit as st

from dcp.ui.session import Session

__all__ = ["PLACE", "number", "open_link", "point", "whole"]

PLACE = ("layer", "step", "token")
"""What of a trace a link can name, as address parameters and as fields of a `Place`."""


def open_link(session: Session) -> None:
    """Go where the address points, once per page run, and write the place back to the address.

    A page switch drops the parameters, so they are written on every page.
    """
    asked = {name: st.query_params[name] for name in PLACE if name in st.query_params}
    if asked and asked != session.place.address:
        found = {name: number(value) for name, value in asked.items()}
        missing = [name for name in asked if not session.has(name, found[name])]
        for name in asked:
            if name not in missing:
                setattr(session.place, name, found[name])
        if missing:
            st.toast(f"This run has no such {' or '.join(missing)}: the link was followed in part.")
    _publish(session)


def point(
    session: Session, *, layer: int | None = None, step: int | None = None, token: int | None = None
) -> None:
    """Move the place on every page; None leaves a part as it is.

    What the run does not have is ignored.
    """
    for name, value in (("layer", layer), ("step", step), ("token", token)):
        if value is not None and session.has(name, value):
            setattr(session.place, name, value)
    _publish(session)


def whole(said: object) -> int | None:
    """A whole number that a browser said, if it can be a place in a trace; None for all else."""
    return said if type(said) is int and 0 <= said < 2**31 else None


def _publish(session: Session) -> None:
    values = {name: getattr(session.place, name) for name in PLACE}
    now = {name: str(value) for name, value in values.items() if value is not None}
    for name in PLACE:
        if name in now and st.query_params.get(name) != now[name]:
            st.query_params[name] = now[name]
        elif name not in now and name in st.query_params:
            del st.query_params[name]
    session.place.address = now


def number(text: str) -> int | None:
    """The number that a parameter spells in plain digits; None for all else."""
    return int(text) if len(text) <= 9 and text.isascii() and text.isdigit() else None

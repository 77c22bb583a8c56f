"""The last line of all pages: the paper, its authors' code, how to cite, the model's card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import streamlit as st

from dcp import __version__, cite
from dcp.ui.look import to_page
from dcp.ui.services import models
from dcp.ui.session import Session

__all__ = ["footer"]

PAPER = "https://arxiv.org/abs/2305.15805"
AUTHORS_CODE = "https://github.com/sanagno/adaptively_sparse_attention"
_LONGEST = 20_000


def footer(session: Session, pages: Mapping[str, str]) -> None:
    """Draw it; once per page run, after the page. ``pages``: file of each page -> its title."""
    with st.container(horizontal=True, key="pages", gap="small", wrap=True):
        for name, title in pages.items():
            to_page(name, title)
    with st.container(
        horizontal=True, key="footer", vertical_alignment="center", gap="small", wrap=True
    ):
        st.markdown(f"[Paper]({PAPER})", width="content")
        st.markdown(f"[Authors’ code]({AUTHORS_CODE})", width="content")
        with st.popover("How to cite", type="tertiary", key="cite"):
            st.code(cite.BIBTEX, language=None, wrap_lines=True)
        card = _card(session)
        if card:
            with st.popover("Model card", type="tertiary", key="card"), st.container(height=460):
                st.markdown(card)
        st.caption(f"dcp {__version__} · Apache-2.0", width="content")


def _card(session: Session) -> str:
    """The card of the bundled model that made what is shown; "" where there is none.

    A trace may call its model anything: the name only chooses among the bundled ones.
    """
    name = session.shown.trace.meta.model if session.shown.trace is not None else None
    found = next((model for model in models() if model.name == name), None)
    return _read(Path(found.path)) if found is not None else ""


@cache
def _read(folder: Path) -> str:
    """The README of a bundled model, its front matter left out."""
    file = folder / "README.md"
    if not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8")[:_LONGEST]
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)

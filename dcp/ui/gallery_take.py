"""One figure opened: preview, files, caption, command, references. And all of them as one zip."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dcp.errors import DcpError
from dcp.figures.paper.bundle import bundle
from dcp.figures.paper.catalogue import KINDS
from dcp.figures.paper.cite import BIBTEX
from dcp.figures.paper.exhibit import Exhibit, Form
from dcp.figures.paper.provenance import command
from dcp.ui.gallery_look import Look
from dcp.ui.gallery_press import Plate
from dcp.ui.look import problem

__all__ = ["take", "take_all"]

_FORMS: dict[Form, tuple[str, str, str, str]] = {
    "pdf": ("PDF", "pdf", "application/pdf", "Vectors, fonts embedded, caption in the metadata."),
    "svg": ("SVG", "svg", "image/svg+xml", "Vectors; text stays text."),
    "png": ("PNG", "png", "image/png", "300 dots per inch."),
    "csv": ("CSV", "csv", "text/csv", "The numbers in the figure."),
    "pgf": ("PGF", "pgf.zip", "application/zip", "For LaTeX, in the font of the paper."),
}
_CAPTION, _COMMAND, _BIBTEX = "Caption", "Command", "BibTeX"


def take(exhibit: Exhibit, kind: str, plate: Plate, chosen: Look) -> None:
    """The opened figure, below its row of thumbnails."""
    with st.container(key="figures_opened", border=True):
        picture, words = st.columns([1.55, 1])
        with picture, st.container(key="figures_paper_opened"):
            st.image(chosen.shown(plate.png), alt=plate.alt, width="stretch")
        with words:
            st.markdown(f"**{kind}** · {KINDS[kind].about}")
            width, height = plate.inches
            st.caption(f"{width:g} × {height:.2f} in, {plate.rows:,} rows of data.")
            for column, (form, parts) in zip(st.columns(len(_FORMS)), _FORMS.items(), strict=True):
                name, ending, mime, about = parts
                column.download_button(
                    name,
                    partial(exhibit.file, kind, form),
                    f"{kind}.{ending}",
                    mime,
                    key=f"figures_take_{form}",
                    help=about,
                    on_click="ignore",
                    width="stretch",
                )
            caption, made, cited = st.tabs([_CAPTION, _COMMAND, _BIBTEX])
            with caption:
                st.code(plate.caption, language=None, wrap_lines=True)
            with made:
                st.code(
                    command(exhibit.order(kind), f"{kind}.pdf"), language="bash", wrap_lines=True
                )
                if exhibit.order(kind).traces:
                    st.caption(f"`{exhibit.name}` is the trace: it is in the zip below.")
            with cited:
                st.code(BIBTEX, language="bibtex", wrap_lines=True)


@st.fragment
def take_all(exhibit: Exhibit, same: tuple[str, str]) -> None:
    """Everything as one zip: made when asked for, offered until something changes."""
    st.subheader("All figures of this run")
    st.caption(
        "One zip: every figure as PDF, SVG, PNG and PGF, its data, all captions, the commands, the "
        "references and the trace itself."
    )
    left, right = st.columns([1, 2], vertical_alignment="center")
    if left.button("Make the zip", key="figures_zip", width="stretch"):
        bar = right.progress(0.0)

        def say(done: int, kind: str) -> None:
            bar.progress(done / len(KINDS), f"Drawing {kind}")

        try:
            made = bundle(
                exhibit,
                ("pdf", "svg", "png", "pgf"),
                say=say,
            )
        except DcpError as error:
            problem(str(error))
            return
        bar.empty()
        st.session_state["figures_made"] = (same, made)
    kept = st.session_state.get("figures_made")
    if kept is not None and kept[0] == same:
        right.download_button(
            f"Download ({len(kept[1]) / 2**20:.1f} MiB)",
            kept[1],
            "figures.zip",
            "application/zip",
            key="figures_zip_take",
            on_click="ignore",
        )

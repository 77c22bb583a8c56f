"""One figure opened: preview, files, caption, command, references. And all of them as one zip."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from dcp.cite import BIBTEX
from dcp.errors import DcpError, RequestError
from dcp.figures.paper.bundle import bundle
from dcp.figures.paper.catalogue import KINDS
from dcp.figures.paper.figure_set import FigureSet, Form
from dcp.figures.paper.provenance import command
from dcp.figures.paper.request import first_sentence
from dcp.ui.figures.look import Look
from dcp.ui.figures.previews import Preview
from dcp.ui.figures.rounds import Left, Seat
from dcp.ui.look import problem

__all__ = ["ZipJob", "opened_figure", "zip_section"]

_FORMS: dict[Form, tuple[str, str, str, str]] = {
    "pdf": ("PDF", "pdf", "application/pdf", "Vectors, fonts embedded, caption in the metadata."),
    "svg": ("SVG", "svg", "image/svg+xml", "Vectors; text stays text."),
    "png": ("PNG", "png", "image/png", "300 dots per inch."),
    "csv": ("CSV", "csv", "text/csv", "The numbers in the figure."),
    "pgf": ("PGF", "pgf.zip", "application/zip", "For LaTeX, in the font of the paper."),
}
_CAPTION, _COMMAND, _BIBTEX = "Caption", "Command", "BibTeX"


def opened_figure(figures: FigureSet, kind: str, preview: Preview, chosen: Look) -> None:
    """The opened figure, below its row of thumbnails."""
    with st.container(key="figures_opened", border=True):
        picture, words = st.columns([1.55, 1])
        with picture, st.container(key="figures_paper_opened"):
            st.image(chosen.shown(preview.png), alt=preview.alt, width="stretch")
        with words:
            st.markdown(f"**{kind}** · {KINDS[kind].about}")
            width, height = preview.inches
            st.caption(f"{width:g} × {height:.2f} in, {preview.rows:,} rows of data.")
            files = st.container(horizontal=True, gap="small")
            for form, (name, ending, mime, about) in _FORMS.items():
                files.download_button(
                    name,
                    partial(figures.file, kind, form),
                    f"{figures.stem(kind)}.{ending}",
                    mime,
                    key=f"figures_take_{form}",
                    help=about,
                    on_click="ignore",
                    width="stretch",
                )
            caption, made, cited = st.tabs([_CAPTION, _COMMAND, _BIBTEX])
            with caption:
                st.caption("Short")
                st.code(first_sentence(preview.caption), language=None, wrap_lines=True)
                st.caption("In full")
                st.code(preview.caption, language=None, wrap_lines=True)
            with made:
                st.code(
                    command(figures.order(kind), f"{kind}.pdf"), language="bash", wrap_lines=True
                )
                if figures.order(kind).traces:
                    st.caption(f"`{figures.name}` is the trace: it is in the zip below.")
            with cited:
                st.code(BIBTEX, language="bibtex", wrap_lines=True)


@dataclass
class ZipJob:
    """A zip being made. ``same`` identifies its content."""

    same: tuple[str, str]
    done: int = 0
    kind: str = ""
    stopped: bool = False
    future: Future[bytes] | None = None

    def say(self, done: int, kind: str) -> None:
        """Progress, from the thread that makes it; RequestError once it is not wanted."""
        self.done, self.kind = done, kind
        if self.stopped:
            raise RequestError("stopped")


def zip_section(figures: FigureSet, executor: Seat, same: tuple[str, str]) -> None:
    """The zip: made in the background on request, offered until its content would differ."""
    st.header("All figures of this run")
    st.caption(
        "One zip: every figure as PDF, SVG, PNG and PGF, its data, all captions, the commands, the "
        "references and the trace itself."
    )
    job: ZipJob | None = st.session_state.get("figures_zip_job")
    if job is not None and job.same != same:
        job.stopped = True
        job = st.session_state["figures_zip_job"] = None
    making = job is not None and job.future is not None and not job.future.done()
    st.fragment(_zip, run_every=0.5 if making else None)(figures, executor, same, making)


def _zip(figures: FigureSet, executor: Seat, same: tuple[str, str], making: bool) -> None:
    job: ZipJob | None = st.session_state.get("figures_zip_job")
    left, right = st.columns([1, 2], vertical_alignment="center")
    if job is None or job.future is None:
        if left.button("Make the zip", key="figures_zip", width="stretch"):
            job = st.session_state["figures_zip_job"] = ZipJob(same)
            forms: tuple[Form, ...] = ("pdf", "svg", "png", "pgf")
            seat = replace(executor, figures=len(forms) * len(KINDS))
            job.future = seat.submit(bundle, figures, forms, tuple(KINDS), job.say)
            st.rerun()
        return
    if not job.future.done():
        left.button("Make the zip", key="figures_zip", width="stretch", disabled=True)
        line = f"Drawing {job.kind}" if job.kind else "Waiting for the previews"
        right.progress(job.done / len(KINDS), line)
        return
    if making:
        st.rerun()
    try:
        made = job.future.result()
    except Left:
        st.session_state["figures_zip_job"] = None
        st.rerun()
    except DcpError as error:
        problem(str(error))
        return
    left.download_button(
        f"Download the zip ({len(made) / 2**20:.1f} MiB)",
        made,
        "figures.zip",
        "application/zip",
        key="figures_zip_take",
        on_click="ignore",
        width="stretch",
    )

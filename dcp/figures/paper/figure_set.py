"""All figures of one run in one style: drawn, as files, with the command of each.

Behind the gallery and its zip. Knows no page and no thread.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dcp.figures.paper.catalogue import KINDS, draw
from dcp.figures.paper.presets import Page, Width, page
from dcp.figures.paper.provenance import Order, about, command
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import Results
from dcp.speech.words import Word, words_of
from dcp.text.table import to_csv
from dcp.trace import Trace
from dcp.trace.naming import slug, stem

if TYPE_CHECKING:
    from dcp.speech.tagger import Tagger

__all__ = ["FigureSet", "Form", "zipped"]

Form = Literal["pdf", "svg", "png", "pgf", "csv"]


def _bundled() -> Tagger:
    from dcp.speech.tagger import load_tagger

    return load_tagger()


@dataclass(frozen=True, eq=False)
class FigureSet:
    """A run (None: none), files of results, and one look for all figures.

    name    what the trace's file is called in commands
    words   of the trace; empty: tagged when a kind needs them
    chosen  how the text came to be shown, for the captions
    beside  the trace first, with what its drops cost, and its tokens under other policies, by name,
            for the kind that shows several
    """

    trace: Trace | None = None
    words: Sequence[Word] = ()
    name: str = "run.safetensors"
    chosen: str = ""
    beside: Mapping[str, Trace] = field(default_factory=dict)
    results: Sequence[Results] = ()
    style: str = "neurips"
    width: Width | None = None
    palette: str = "okabe-ito"
    options: Options = field(default_factory=Options)
    tagger: Callable[[], Tagger] = _bundled

    @property
    def page(self) -> Page:
        return page(self.style, self.width, self.palette)

    def options_of(self, kind: str) -> Options:
        """Those of the options that ``kind`` reads."""
        return Options(**{name: getattr(self.options, name) for name in KINDS[kind].options})

    def order(self, kind: str) -> Order:
        """The arguments of the command that makes the figure."""
        traces, results = self._sources(kind)
        return Order(
            kind=kind,
            traces=[self.name, *(f"{each}.safetensors" for each in list(self._several(kind))[1:])]
            if traces
            else [],
            results=[each.name for each in results],
            style=self.style,
            width=self.width,
            palette=self.palette,
            options=self.options_of(kind),
            chosen=self.chosen if traces else "",
        )

    def draw(self, kind: str) -> Drawing:
        """The figure. Raises RequestError where this run cannot give it."""
        traces, results = self._sources(kind)
        facts: dict[str, Any] = {}
        words = self.words
        if KINDS[kind].words and traces:
            tagger = self.tagger()
            facts = {"tagger": tagger.name, "accuracy": tagger.accuracy}
            words = words or words_of(traces[0], tagger)
        traces = list(self._several(kind).values()) or traces
        samples = [(trace, words if KINDS[kind].words else ()) for trace in traces]
        chosen = self.chosen if traces else ""
        options = self.options_of(kind)
        return draw(kind, samples, self.page, options, chosen=chosen, results=results, **facts)

    def stem(self, kind: str) -> str:
        """A file name without its ending that says the model, the share dropped at the end, the
        text, the step where the figure is of one, and the kind."""
        traces, results = self._sources(kind)
        if not traces:
            models = {str(row["model"]) for each in results for row in each.rows if "model" in row}
            return slug("-".join([*sorted(models)[:1], kind]))
        step = None
        if "step" in KINDS[kind].options:
            step = self.options.step
            step = traces[0].n_queries - 1 if step is None else step
        text = self.name.removesuffix(".safetensors")
        named = stem(traces[0], text="" if text == "run" else text, step=step)
        return slug(f"{named}-{kind}")

    def file(self, kind: str, form: Form) -> bytes:
        """The figure as a file; PGF as a zip with the images it includes."""
        return self.files(kind, (form,))[f"{kind}.{form}"]

    def files(
        self, kind: str, forms: Sequence[Form], drawing: Drawing | None = None
    ) -> Mapping[str, bytes]:
        """File name -> content, of one figure in several forms."""
        from dcp.figures.paper.style import render
        from dcp.figures.paper.tex import render_pgf

        drawing = drawing or self.draw(kind)
        traces, results = self._sources(kind)
        subject = Subject([(trace, ()) for trace in traces], results=results)
        found = {}
        for form in forms:
            name = f"{kind}.{form}"
            if form == "csv":
                found[name] = to_csv(drawing.data).encode()
            elif form == "pgf":
                found[name] = zipped(render_pgf(drawing.figure, self.page, name))
            else:
                facts = about(drawing, subject, command(self.order(kind), name))
                found[name] = render(drawing.figure, form, self.page, facts)
        return found

    def _several(self, kind: str) -> Mapping[str, Trace]:
        return self.beside if kind == "policy-maps" else {}

    def _sources(self, kind: str) -> tuple[list[Trace], Sequence[Results]]:
        """The traces and results that ``kind`` is drawn from."""
        reads = KINDS[kind].reads
        traces = [] if self.trace is None or reads in ("results", "nothing") else [self.trace]
        fitting = [each for each in self.results if _fits(kind, each)] if reads != "trace" else []
        if reads == "either" and fitting:
            traces = []
        return traces, fitting


def _fits(kind: str, results: Results) -> bool:
    """Whether a file of results is of the command whose output ``kind`` shows."""
    return any(KINDS[kind].sign in row for row in results.rows)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of ``files`` by name, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            # The oldest date of the format: a real one would make equal zips differ.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()

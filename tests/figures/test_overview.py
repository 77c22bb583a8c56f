"""Figures show the numbers they were given, and equal input gives equal bytes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dcp.errors import RequestError
from dcp.figures import paper
from dcp.trace import Trace
from tests.helpers.traces import DESIGN, make_trace, random_trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.load(DESIGN)


@pytest.mark.parametrize("kind", paper.FORMATS)
def test_equal_traces_give_equal_bytes(kind: paper.Format) -> None:
    trace = random_trace(1, layers=2)
    first, second = (paper.render(paper.overview(trace), kind) for _ in range(2))
    assert first == second
    assert first[:4] in (b"%PDF", b"\x89PNG", b"<?xm")


def test_the_pdf_embeds_its_fonts_and_keeps_text(trace: Trace) -> None:
    data = paper.render(paper.overview(trace), "pdf")
    fonts = set(re.findall(rb"/Subtype /(Type\w+|CIDFontType\w+)", data))
    assert fonts == {b"Type0", b"CIDFontType2"} or fonts == {b"Type42", b"TrueType"}
    assert b"/FontFile2" in data
    assert b"/CreationDate" not in data


def test_the_svg_keeps_text_as_text(trace: Trace) -> None:
    picture = paper.render(paper.overview(trace), "svg").decode()
    assert "entries, all layers" in picture


def test_the_width_is_the_one_asked_for() -> None:
    narrow = paper.overview(random_trace(1, layers=2), width=3.25)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", paper.render(narrow, "pdf"))
    assert box is not None
    assert float(box[1]) == pytest.approx(3.25 * 72)


def test_the_heatmap_is_the_state_at_the_step() -> None:
    trace = make_trace(["a", "b", "c", "d"], np.array([[2, -1, 3, -1], [1, 3, -1, -1]]))
    states = paper.overview(trace, step=2).axes[0].collections[0].get_array()
    assert states.tolist() == [[3, 2, 2, 0], [1, 2, 2, 0]]


def test_the_curve_is_what_the_trace_holds(trace: Trace) -> None:
    dense, held = paper.overview(trace).axes[1].lines[:2]
    assert np.array_equal(held.get_ydata(), trace.held().sum(0))
    assert dense.get_ydata()[-1] == trace.layers * trace.n_queries


def test_a_step_outside_is_refused(trace: Trace) -> None:
    with pytest.raises(RequestError, match="steps are 0 to 198"):
        paper.overview(trace, step=199)


def test_an_unknown_format_is_refused(trace: Trace) -> None:
    with pytest.raises(RequestError, match="pdf, svg, png"):
        paper.render(paper.overview(trace), "tiff")  # type: ignore[arg-type]

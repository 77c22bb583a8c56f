"""Figures show the numbers they were given, and equal input gives equal bytes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from dcp.errors import RequestError
from dcp.figures import paper, screen
from dcp.pos import GROUPS, UPOS
from dcp.trace import Trace
from tests.traces import DESIGN, make_trace, random_trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.load(DESIGN)


def table(**rates: float) -> pd.DataFrame:
    rows = [
        {
            "group": name.replace("_", "-"),
            "words": 30,
            "events": 9,
            "at_risk": 12,
            "drop_rate": rate,
            "ci_low": rate - 0.1,
            "ci_high": rate + 0.05,
        }
        for name, rate in rates.items()
    ]
    return pd.DataFrame(rows)


def test_the_chart_shows_each_rate_and_its_interval() -> None:
    chart = screen.drop_rate_chart(table(NOUN=0.4, DET=0.9))
    shown = {
        name: (x, x - low, x + high)
        for part in chart.data
        for name, x, low, high in zip(
            part.y, part.x, part.error_x.arrayminus, part.error_x.array, strict=True
        )
    }
    assert shown["NOUN"] == pytest.approx((0.4, 0.3, 0.45))
    assert shown["DET"] == pytest.approx((0.9, 0.8, 0.95))
    assert set(shown) == {"NOUN", "DET"}


def test_blank_groups_say_so_and_keep_their_row() -> None:
    rates = table(NOUN=0.4, VERB=np.nan)
    chart = screen.drop_rate_chart(rates)
    notes = {note.y: note.text for note in chart.layout.annotations}
    assert notes["VERB"] == "30 words, too few"
    assert notes["X"] == "none"
    assert len(notes) == len(UPOS)
    assert chart.layout.height == screen.drop_rate_chart(table(NOUN=0.4)).layout.height


def test_groups_can_take_the_place_of_tags() -> None:
    chart = screen.drop_rate_chart(table(naming=0.2, number_other=0.3), tuple(GROUPS))
    assert [part.y for part in chart.data] == [("naming",), (), (), (), ("number-other",)]
    assert chart.layout.height < screen.drop_rate_chart(table(NOUN=0.2)).layout.height


def test_meaning_never_rests_on_colour_alone() -> None:
    chart = screen.drop_rate_chart(table(NOUN=0.4))
    assert len({part.marker.symbol for part in chart.data}) == len(chart.data)


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

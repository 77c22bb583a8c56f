"""Paper figures: numbers of the statistics, widths of the venues, fonts within."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from dcp.errors import RequestError
from dcp.figures import paper
from dcp.figures.paper import KINDS, Drawing, Options, Page, draw, page, render
from dcp.speech.tagger import UPOS
from dcp.speech.words import words_of
from dcp.stats import drop_curve, drop_table, drop_table_with_controls, trigger_table
from dcp.stats.lives import Sample
from dcp.trace import Trace
from tests.helpers.figures_data import draw_kind
from tests.helpers.traces import design_trace, make_trace, random_trace

PAGE = page("neurips")
QUICK = Options(n_boot=20)
TRACE_ONLY = [
    kind for kind, entry in KINDS.items() if not entry.words and entry.reads in ("trace", "either")
]


class ByLength:
    """Tags a word by its length: no spaCy, and groups of many sizes."""

    def tag(self, text: str) -> list[tuple[int, int, str]]:
        found = re.finditer(r"\w+|[^\w\s]", text)
        return [(m.start(), m.end(), UPOS[len(m[0]) % 7]) for m in found]


@pytest.fixture(scope="module")
def trace() -> Trace:
    return design_trace()


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    # Ten texts are the fewest that have intervals.
    traces = [random_trace(seed, layers=3, tokens=300, prompt_tokens=240) for seed in range(10)]
    return [(trace, words_of(trace, ByLength())) for trace in traces]


@pytest.fixture(scope="module")
def drawings(trace: Trace, samples: list[Sample]) -> dict[str, Drawing]:
    """One drawing of every kind."""
    return {
        kind: draw_kind(
            kind,
            samples if entry.words else [(trace, ())],
            PAGE,
            QUICK if "n_boot" in entry.options else Options(),
            tagger="by-length",
            accuracy=0.5,
        )
        for kind, entry in KINDS.items()
    }


@pytest.fixture(scope="module")
def files(drawings: dict[str, Drawing], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    for kind, drawing in drawings.items():
        (folder / f"{kind}.pdf").write_bytes(render(drawing.figure, "pdf", PAGE))
    return folder


def media_box(pdf: bytes) -> tuple[float, float]:
    """Inches."""
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert box is not None
    return float(box[1]) / 72, float(box[2]) / 72


def draw_one(kind: str, trace: Trace, options: Options | None = None) -> Drawing:
    return draw(kind, [(trace, ())], PAGE, options)


# ---- the files


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_width_of_the_page(files: Path, kind: str) -> None:
    width, height = media_box((files / f"{kind}.pdf").read_bytes())
    assert width == pytest.approx(5.5, abs=1e-9)
    assert 1 < height <= 9.5


@pytest.mark.parametrize(
    ("venue", "width", "inches"),
    [
        *(("neurips", None, 5.5), ("iclr", None, 5.5), ("screen", None, 9.0)),
        *(("icml", "column", 3.25), ("icml", "text", 6.75), ("icml", None, 3.25)),
        *(("acl", "column", 3.03), ("acl", "text", 6.3)),
        *(("cvpr", "column", 3.25), ("cvpr", "text", 6.875), ("neurips", "text", 5.5)),
    ],
)
def test_pages_are_as_wide_as_the_templates_say(venue: str, width: Any, inches: float) -> None:
    assert page(venue, width).width == inches


@pytest.mark.parametrize("venue", ["icml", "acl", "cvpr"])
def test_a_file_is_exactly_as_wide_as_its_page(venue: str) -> None:
    for width in ("column", "text"):
        sheet = page(venue, width)
        pdf = render(draw("held", [(ONE, ())], sheet).figure, "pdf", sheet)
        assert media_box(pdf)[0] == pytest.approx(sheet.width, abs=1e-6)


def test_a_column_needs_a_template_with_two() -> None:
    with pytest.raises(RequestError, match="one column"):
        page("iclr", "column")
    with pytest.raises(RequestError, match="neurips, icml"):
        page("nature")


@pytest.mark.skipif(shutil.which("pdffonts") is None, reason="poppler is not installed")
def test_all_fonts_are_embedded_and_are_outlines(files: Path) -> None:
    for path in sorted(files.glob("*.pdf")):
        done = subprocess.run(["pdffonts", path], capture_output=True, text=True, timeout=60)
        fonts = done.stdout.splitlines()[2:]
        assert fonts, path.name
        for font in fonts:
            assert "Type 3" not in font, path.name
            assert re.search(r" (yes|no) +yes +(yes|no) +\d+ +\d+$", font), font
            assert "STIX" in font or "DejaVu" in font


@pytest.mark.skipif(shutil.which("pdfimages") is None, reason="poppler is not installed")
def test_many_cells_are_one_fine_image_and_few_are_vectors(files: Path) -> None:
    def images(kind: str) -> list[list[str]]:
        command = ["pdfimages", "-list", files / f"{kind}.pdf"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return [line.split() for line in done.stdout.splitlines()[2:]]

    masks = images("mask")
    assert len(masks) >= 6
    assert all(int(row[12]) >= 300 and int(row[13]) >= 300 for row in masks)
    for kind in ("heatmap", "overview", "lifelines", "pos", "survival", "text"):
        assert not images(kind), kind


def test_an_image_of_cells_is_not_smoothed(trace: Trace) -> None:
    wide = make_trace([" x"] * 900, np.full((3, 900), -1))
    figure = draw_one("heatmap", wide).figure
    assert figure.axes[0].images[0].get_interpolation() == "nearest"
    assert b"/Interpolate true" not in render(figure, "pdf", PAGE)


def test_more_columns_than_a_printer_shows_are_averaged_and_none_is_skipped() -> None:
    death = np.full((2, 4001), -1)
    death[0, 1000:2000], death[1, ::2] = 4000, 4000
    death[1, -1] = -1
    drawing = draw_one("heatmap", make_trace([" x"] * 4001, death))
    assert "Colours are averages: 1,500 columns show 4,001 positions." in drawing.caption
    drawn = np.asarray(drawing.figure.axes[0].images[0].get_array())
    assert 0 <= drawn.min() <= drawn.max() <= 1
    held, dropped = (np.array(to_rgba(colour)) for colour in ("#0072b2", "#d55e00"))
    for row, share in enumerate((1000 / 4001, 2000 / 4001)):
        mean = drawn[row].mean(axis=0)
        assert mean == pytest.approx(share * dropped + (1 - share) * held, abs=1e-9)
    assert drawn[0, 500] == pytest.approx(dropped)
    assert drawn[0, 100] == pytest.approx(held)


@pytest.mark.parametrize(("kind", "form"), [("mask", "png"), ("pos", "svg"), ("text", "pdf")])
def test_equal_input_gives_equal_bytes(
    samples: list[Sample], kind: str, form: paper.Format
) -> None:
    given = samples[:1] if KINDS[kind].words else [(HOSTILE, ())]
    options = QUICK if KINDS[kind].words else Options()
    about = {"Title": kind, "Subject": "a caption", "Keywords": "model=é; 100 %"}
    first, second = (
        render(draw(kind, given, PAGE, options).figure, form, PAGE, about) for _ in range(2)
    )
    assert first == second


def test_metadata_is_inside_and_dates_are_not() -> None:
    about = {"Title": "a title", "Subject": "a caption", "Keywords": "the command"}
    figure = draw_one("depth", ONE).figure
    pdf, svg, png = (render(figure, form, PAGE, about) for form in paper.FORMATS)
    for text in (b"a title", b"a caption", b"the command"):
        assert text in pdf
        assert text in svg
        assert text in png
    for text in (b"/CreationDate", b"/ModDate"):
        assert text not in pdf
    assert b"dc:date" not in svg


# ---- the numbers


def equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True))


def test_statistical_kinds_carry_the_tables_of_the_statistics(
    drawings: dict[str, Drawing], samples: list[Sample]
) -> None:
    equal(drawings["survival"].data, drop_curve(samples, "pos", ages=128, n_boot=20))
    equal(drawings["pos"].data, drop_table_with_controls(samples, "pos", n_boot=20))
    equal(drawings["triggers"].data, trigger_table(samples, n_boot=20))
    depth = drawings["pos-depth"].data
    for layer in range(3):
        table = drop_table(samples, "pos", layer=layer, n_boot=1)
        mine = depth[(depth["layer"] == layer) & (depth["group"] != "all")]
        equal(mine[["group", "words", "drop_rate"]], table[["group", "words", "drop_rate"]])
    every = drop_table(samples, "layer", pieces="single", n_boot=1)
    assert depth[depth["group"] == "all"]["drop_rate"].tolist() == every["drop_rate"].tolist()


def test_what_is_drawn_is_what_the_data_say(drawings: dict[str, Drawing]) -> None:
    pos = drawings["pos"]
    gates = pos.data[(pos.data["arm"] == "gates") & pos.data["drop_rate"].notna()]
    drawn = {float(line.get_xdata()[0]) for line in pos.figure.axes[0].lines if len(line._x) == 1}  # type: ignore[attr-defined]
    assert set(gates["drop_rate"]) <= drawn
    for group, curve in drawings["survival"].data.groupby("group"):
        lines = [
            line
            for axes in drawings["survival"].figure.axes
            for line in axes.lines
            if str(line.get_label()).startswith(f"{group} ")
        ]
        assert len(lines) == 1
        assert np.array_equal(lines[0].get_ydata(), curve["survival"])
    depth = drawings["pos-depth"]
    cells = depth.figure.axes[0].collections[0].get_array()
    known = depth.data["drop_rate"].dropna()
    assert sorted(cells.compressed()) == sorted(known)


def test_trace_kinds_carry_what_the_trace_says(drawings: dict[str, Drawing], trace: Trace) -> None:
    held = drawings["held"].data.pivot(index="layer", columns="step", values="held").to_numpy()
    assert np.array_equal(held, trace.held())
    sparsity = drawings["sparsity"].data.groupby("step")["sparsity"].mean()
    for step in (1, 63, trace.n_queries - 1):
        assert sparsity[step] == pytest.approx(trace.sparsity_at(step))
    state = drawings["heatmap"].data.pivot(index="layer", columns="token", values="state")
    seen = state.isin(["held"]).to_numpy()
    assert np.array_equal(seen, trace.visible(trace.n_queries - 1))
    depth = drawings["depth"].data
    assert depth["mean_over_steps"].tolist() == pytest.approx(1 - trace.sparsity_per_layer())
    assert 1 - depth["at_end"].mean() == pytest.approx(trace.sparsity_at_end())
    text = drawings["text"].data
    assert "".join(text["text"]) == trace.text
    assert text["layers_dropped"].tolist() == (trace.death <= 198).sum(0).tolist()


def test_a_lifeline_ends_where_the_token_does() -> None:
    """Tokens side by side, steps downwards: as the view draws them."""
    trace = make_trace(["a", "b", "c", "d"], np.array([[2, -1, 3, -1], [1, 3, -1, -1]]))
    drawing = draw_one("lifelines", trace, Options(layer=0))
    segments = drawing.figure.axes[0].collections[0].get_segments()  # type: ignore[attr-defined]
    assert [segment.tolist() for segment in segments] == [
        *([[0, 0], [0, 2]], [[1, 1], [1, 4]], [[2, 2], [2, 3]], [[3, 3], [3, 4]])
    ]
    marks = drawing.figure.axes[0].lines[0]
    assert (list(marks.get_xdata()), list(marks.get_ydata())) == ([0, 2], [2, 3])


def test_a_mask_is_who_sees_whom() -> None:
    trace = random_trace(5, layers=2, tokens=63)
    image = draw_one("mask", trace, Options(layer=1)).figure.axes[0].images[0].get_array()
    for step in range(63):
        row = image[step].filled(0)
        assert np.array_equal(row > 0, trace.visible(step)[1])
        assert image[step].mask.tolist() == (np.arange(63) > step).tolist()


def test_a_long_mask_is_pooled_and_never_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    from dcp.figures.paper import lifelines

    trace = random_trace(5, layers=1, tokens=63)
    monkeypatch.setattr(lifelines, "_BLOCKS", 20)
    image = draw_one("mask", trace).figure.axes[0].images[0].get_array()
    full = np.stack([trace.visible(step)[0] for step in range(63)])
    assert image.shape == (16, 16)
    assert image[5, 1] == pytest.approx(full[20:24, 4:8].mean())


def test_ages_are_quantiles_of_the_survival_of_tokens(drawings: dict[str, Drawing]) -> None:
    # One token a step, dropped after exactly three in layer 0 and never in layer 1.
    born = np.arange(63)
    death = np.stack([np.where(born + 3 < 63, born + 3, -1), np.full(63, -1)])
    row = draw_one("ages", make_trace([" x"] * 63, death)).data.set_index("layer")
    assert row.loc[0, ["age_10", "age_50", "age_90"]].tolist() == [3, 3, 3]
    assert row.loc[1, ["age_10", "age_50", "age_90"]].isna().all()
    assert row.loc[1, "never"] == 1


# ---- what can be asked for


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("overview", {"step": 40}), ("heatmap", {"step": 40}), ("heatmap", {"span": (9, 70)})),
        *(("lifelines", {"layer": 5}), ("mask", {"layer": 5}), ("ages", {"source": "generated"})),
        *(("text", {"step": 40}), ("text", {"layer": 0}), ("text", {"span": (0, 9)})),
    ],
)
def test_each_option_changes_the_data_or_the_caption(kind: str, change: dict[str, Any]) -> None:
    trace = random_trace(7, layers=6, tokens=90, prompt_tokens=60)
    first, second = draw_one(kind, trace), draw_one(kind, trace, Options(**change))
    assert not first.data.equals(second.data) or first.caption != second.caption


@pytest.mark.parametrize("kind", [kind for kind, entry in KINDS.items() if entry.words])
def test_each_option_of_a_rate_changes_its_numbers(samples: list[Sample], kind: str) -> None:
    names = KINDS[kind].options
    start = replace(Options(), **({"n_boot": 20} if "n_boot" in names else {}))
    changes: dict[str, Any] = {"horizon": 5, "source": "both", "layer": 1, "seed": 3, "n_boot": 30}
    first = draw(kind, samples, PAGE, start)
    for name in names:
        second = draw(kind, samples, PAGE, replace(start, **{name: changes[name]}))
        assert first.caption != second.caption or not first.data.equals(second.data), name


def test_an_option_that_a_kind_does_not_read_is_refused(trace: Trace) -> None:
    with pytest.raises(RequestError, match="held has no step to set; it is for overview"):
        draw_one("held", trace, Options(step=3))
    for wrong, message in (
        (Options(layer=6), "layers 0 to 5"),
        (Options(span=(3, 900)), "tokens 0 to 199"),
        (Options(step=199), "steps are 0 to 198"),
    ):
        with pytest.raises(RequestError, match=message):
            draw_one("text", trace, wrong)
    with pytest.raises(RequestError, match="choose one of overview"):
        draw_one("pie", trace)


def test_traces_of_one_model_are_pooled_and_others_refused(trace: Trace) -> None:
    pair = [(trace, ()), (trace, ())]
    assert len(draw("depth", pair, PAGE).data) == 2 * trace.layers
    with pytest.raises(RequestError, match="held shows one trace; policy-maps, depth, ages"):
        draw("held", pair, PAGE)
    with pytest.raises(RequestError, match="one model"):
        draw("depth", [(trace, ()), (random_trace(1), ())], PAGE)


@pytest.mark.parametrize("kind", [kind for kind, entry in KINDS.items() if entry.words])
def test_too_few_words_are_one_line_that_says_how_to_mend_it(trace: Trace, kind: str) -> None:
    says = r"20 .*longer text, more traces, or (words|tokens) of both sources"
    with pytest.raises(RequestError, match=says) as caught:
        draw(kind, [(trace, ())], PAGE)
    assert caught.value.remedy == "source"


def test_a_text_longer_than_a_page_asks_for_a_span() -> None:
    long = make_trace([" forgotten"] * 3000, np.full((1, 3000), -1))
    with pytest.raises(RequestError, match="choose a span of them") as caught:
        draw_one("text", long)
    last = int(str(caught.value).split()[-1])
    assert len(draw_one("text", long, Options(span=(0, last))).data) == last + 1


# ---- hard traces


ONE = make_trace(["a"], np.full((2, 1), -1))
NONE_DROPPED = make_trace([" x"] * 63, np.full((3, 63), -1))
ALL_DROPPED = make_trace(
    [" x"] * 63, np.tile(np.where(np.arange(63) < 62, np.arange(63) + 1, -1), (3, 1))
)
HOSTILE = make_trace(
    [
        "$x_1$",
        "",
        "\n\n",
        " \u202e\u05d0",
        " 漢字",
        "🙂",
        "\x1b[31m",
        " <script>",
        " e\u0301",
        "w" * 300,
    ],
    np.tile(np.array([4, 4, 5, -1, -1, 7, -1, 8, -1, -1]), (2, 1)),
    prompt_tokens=5,
)


HARD = {"one token": ONE, "nothing dropped": NONE_DROPPED, "all": ALL_DROPPED, "hostile": HOSTILE}
REFUSED = {
    *(("one token", "sparsity"), ("one token", "ages"), ("hostile", "ages")),
    *((name, "cost") for name in HARD),
    # Nothing is generated in these, so nothing is timed.
    *((name, "throughput") for name in HARD if name != "hostile"),
}


@pytest.mark.parametrize("kind", TRACE_ONLY)
@pytest.mark.parametrize("name", HARD)
def test_hard_traces_are_drawn_or_refused_in_one_line(name: str, kind: str) -> None:
    def attempt() -> None:
        make = draw_kind if kind == "policy-maps" else draw
        make(kind, [(HARD[name], ())], Page(3.03)).figure.draw_without_rendering()

    if (name, kind) in REFUSED:
        with pytest.raises(RequestError, match=r"^[^\n]+$"):
            attempt()
    else:
        attempt()


def test_text_is_drawn_as_characters_never_as_markup() -> None:
    picture = render(draw_one("text", HOSTILE).figure, "svg", PAGE).decode()
    assert "&lt;script&gt;" in picture
    assert "<script>" not in picture
    assert "$x_1$" in picture
    assert "\x1b" not in picture
    assert "漢" not in picture
    assert "□" in picture


def test_no_line_of_the_text_leaves_the_page(trace: Trace) -> None:
    for given, sheet in ((trace, PAGE), (HOSTILE, page("acl"))):
        figure = draw("text", [(given, ())], sheet).figure
        figure.set_dpi(720)
        renderer = FigureCanvasAgg(figure).get_renderer()
        ends = [text.get_window_extent(renderer).x1 / 720 for text in figure.axes[0].texts]
        assert max(ends) <= sheet.width + 0.01


# ---- captions


def test_a_caption_says_what_a_reviewer_asks(
    drawings: dict[str, Drawing], samples: list[Sample], trace: Trace
) -> None:
    caption = drawings["pos"].caption
    for part in (
        *("Model tiny", "sha256 000000000000", "gate shift 0", "10 texts", "2,400 prompt", "words"),
        *("within 32 steps", "of the prompt", "censored", "bootstrap over texts", "20 resamples"),
        *("by-length, 50.0% right", "had not seen yet", "How the text was chosen is not recorded"),
    ):
        assert part in caption, part
    long = random_trace(0, layers=2, tokens=900, prompt_tokens=700)
    one = draw(
        "pos",
        [(long, words_of(long, ByLength()))],
        PAGE,
        replace(QUICK, source="both"),
        chosen="picked by hand",
    )
    assert "blocks of 64 steps, within this text only" in one.caption
    assert "pooled" in one.caption
    few = draw("pos", samples[:9], PAGE, QUICK)
    assert "No intervals: there are fewer than 10 texts" in few.caption
    assert few.data["ci_low"].isna().all()
    assert "Choice of text: picked by hand." in one.caption
    assert "by-length" not in drawings["held"].caption


def test_meaning_never_rests_on_colour_alone(drawings: dict[str, Drawing]) -> None:
    for axes in drawings["survival"].figure.axes:
        named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        assert len({str(line._dash_pattern) for line in named}) == len(named)  # type: ignore[attr-defined]
    ends = [text.get_text() for text in drawings["held"].figure.axes[0].texts]
    assert {str(layer) for layer in range(6)} <= set(ends)
    handles = drawings["depth"].figure.axes[0].lines
    assert len({line.get_marker() for line in handles}) == 2


def test_fonts_of_a_venue_are_serif_and_the_screen_is_not() -> None:
    for venue, family in (("icml", b"STIXGeneral"), ("screen", b"DejaVuSans")):
        sheet = page(venue)
        pdf = render(draw("held", [(ONE, ())], sheet).figure, "pdf", sheet)
        assert b"+" + family in pdf

"""Figures as files: commands that make them again, metadata, PGF, grey, the zip of all of them."""

from __future__ import annotations

import io
import json
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcp.cite import BIBTEX
from dcp.cli.main import build, main
from dcp.figures.paper import KINDS, Options, draw, page
from dcp.figures.paper.bundle import bundle
from dcp.figures.paper.figure_set import FigureSet
from dcp.figures.paper.provenance import Order, about, alt, command, recording
from dcp.figures.paper.request import Subject
from dcp.figures.paper.style import grey, preview
from dcp.figures.paper.tex import escape, render_pgf
from tests.helpers.figures_data import EVAL
from tests.helpers.traces import design_trace, make_trace, random_trace, with_meta

PAGE = page("neurips")
HOSTILE = "typed; $(rm -rf /) \\input{/etc/passwd} `id` 'quoted' \"é\" 50% #1 & ~^_{}"


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_command_says_all_that_was_chosen_and_a_shell_reads_it_back() -> None:
    order = Order(
        kind="pos",
        traces=["my run.safetensors", "-x.safetensors"],
        style="acl",
        width="text",
        palette="tol",
        options=Options(horizon=16, source="both", layer=2),
        tagger="dcp-ewt",
        chosen=HOSTILE,
    )
    words = shlex.split(command(order, "pos.pdf"))
    assert words[:4] == ["python", "-m", "dcp", "figure"]
    assert words[4:6] == ["my run.safetensors", "./-x.safetensors"]
    given = dict(zip(words[6::2], words[7::2], strict=True))
    assert given == {
        "--kind": "pos",
        "--style": "acl",
        "--width": "text",
        "--palette": "tol",
        "--layer": "2",
        "--horizon": "16",
        "--source": "both",
        "--seed": "0",
        "--tagger": "dcp-ewt",
        "--chosen": HOSTILE,
        "--out": "pos.pdf",
    }


def test_the_commands_of_the_zip_make_its_figures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = FigureSet(
        design_trace(),
        chosen="seeded draw 1 of 1 held-out texts, seed 0",
        results=[EVAL],
        style="cvpr",
        width="column",
        palette="tol",
        options=Options(step=63, layer=2),
    )
    kinds = ("heatmap", "depth", "diagram", "alpha-sigmoid", "perplexity")
    files = unzip(bundle(figures, ("pdf",), kinds))
    for name, data in files.items():
        if "/" not in name:
            (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    lines = files["commands.sh"].decode().splitlines()
    commands = [line for line in lines if line.startswith("python")]
    assert len(commands) == len(kinds)
    for kind, line in zip(kinds, commands, strict=True):
        assert main(shlex.split(line)[3:]) == 0
        assert (tmp_path / f"{kind}.pdf").read_bytes() == files[f"figures/{kind}.pdf"], kind


def test_the_zip_holds_everything_and_says_what_it_could_not_draw() -> None:
    trace = design_trace()
    figures = FigureSet(trace, chosen="typed by a user of the app")
    heard: list[str] = []
    kinds = ("held", "mask", "cost", "alpha-sigmoid", "tasks")
    made = bundle(figures, ("svg", "pgf"), kinds, lambda done, kind: heard.append(f"{done} {kind}"))
    files = unzip(made)
    assert heard == [f"{i} {kind}" for i, kind in enumerate(kinds)]
    drawn = {"held", "mask", "alpha-sigmoid"}
    assert set(files) == {
        *(f"figures/{kind}.svg" for kind in drawn),
        *(f"figures/{kind}.pgf.zip" for kind in drawn),
        *(f"data/{kind}.csv" for kind in drawn),
        *("captions.md", "commands.sh", "refs.bib", "run.safetensors", "prompt.txt"),
    }
    assert files["run.safetensors"] == trace.to_bytes()
    assert trace.text.startswith(files["prompt.txt"].decode())
    captions = files["captions.md"].decode()
    assert "Choice of text: typed by a user of the app." in captions
    assert "## cost\n\nNot drawn: cost needs a trace with a gates-off run" in captions
    assert "Alt text: Figure, entries held per step" in captions
    assert files["refs.bib"].decode() == BIBTEX
    again = bundle(figures, ("svg", "pgf"), kinds)
    assert again == made


def test_the_references_are_those_of_the_citation_file() -> None:
    cited = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    version = re.search(r"^version: (.+)$", cited, re.M)
    title = re.search(r'^title: "(.+)"$', cited, re.M)
    assert version is not None
    assert title is not None
    for part in (version[1], title[1], "2305.15805", "Apache-2.0", "The dcp developers"):
        assert part in BIBTEX, part
        assert part in cited
    for name in re.findall(r"family-names: (\w+)", cited):
        assert name in BIBTEX


def test_alternative_text_says_what_is_shown_and_not_where_it_is_from() -> None:
    text = alt(draw("held", [(design_trace(), ())], PAGE))
    assert text.startswith("Figure, entries held per step")
    assert "At the end" in text
    assert "sha256" not in text
    assert "\n" not in text


def test_grey_is_luminance_and_keeps_black_and_white() -> None:
    picture = np.zeros((1, 5, 3), np.uint8)
    picture[0, 1:] = [[255, 255, 255], [255, 0, 0], [0, 255, 0], [128, 128, 128]]
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png")
    shades = np.asarray(Image.open(io.BytesIO(grey(out.getvalue()))))
    assert shades.shape == (1, 5)
    # 0.2126 and 0.7152 of white's light, encoded as sRGB.
    assert shades[0].tolist() == [0, 255, 127, 220, 128]


def test_a_preview_is_as_wide_as_asked() -> None:
    sheet = page("acl")
    png = preview(draw("depth", [(design_trace(), ())], sheet).figure, sheet, 640)
    assert Image.open(io.BytesIO(png)).width == pytest.approx(640, abs=1)


def test_tex_is_escaped_in_pgf_and_images_lie_beside_it() -> None:
    assert escape("a\\b{c}$%") == "a\\textbackslash{}b\\{c\\}\\$\\%"
    trace = make_trace(["\\input{x}", " $1$", " 50%", " plain"], np.array([[2, -1, -1, -1]]))
    for kind in ("text", "heatmap", "diagram"):
        figure = draw(kind, [(trace, ())], PAGE).figure
        code = render_pgf(figure, PAGE, "f.pgf")["f.pgf"].decode()
        assert "\\textbackslash{}input\\{x\\}" in code
        assert "\\input{x}" not in code
        assert code.count("\\begin{") == code.count("\\end{")
    files = render_pgf(draw("mask", [(design_trace(), ())], PAGE).figure, PAGE, "mask.pgf")
    images = {name for name in files if name.endswith(".png")}
    assert len(images) == 6
    assert set(re.findall(r"\]\{(mask-img\d+\.png)\}", files["mask.pgf"].decode())) == images
    assert f"{5.5:f}in" in files["mask.pgf"].decode()


@given(text=st.text(max_size=20) | st.text("-`',?!\"#%&{}\\\\~^|é漢ж\ufffd", max_size=20))
def test_any_text_is_something_that_plain_latex_sets(text: str) -> None:
    shown = escape(text)
    # A mark of two signs, or one that only a font encoding beyond OT1 has.
    assert not re.search(r"--|``|''|,,|[?!]`|textquotedbl", shown)
    # LuaTeX stops at this one.
    assert "\ufffd" not in shown
    plain = re.sub(r"\\dcpother\{.\}", "", shown, flags=re.DOTALL)
    assert all(c.isascii() or c in "ÆØßæøŒœŁłı–—‘’“”" or c <= "\u017f" for c in plain)
    assert all(c.isprintable() for c in plain if c.isascii())
    # Every sign that TeX acts on belongs to a command of ours.
    bare = re.sub(
        r"\\([#$%&_{}]|[a-z]+\d*(\{[^{}]*\})*)", "", re.sub(r"\\ensuremath\{[^}]*\}", "", plain)
    )
    assert set(bare) & set("#$%&_\\^~") == set()


@pytest.mark.parametrize("name", ["a%b--#.pgf", "カナ.pgf"])
def test_names_of_images_are_plain_whatever_the_figure_is_called(name: str) -> None:
    files = render_pgf(draw("mask", [(design_trace(), ())], PAGE).figure, PAGE, name)
    images = set(files) - {name}
    assert images
    code = files[name].decode()
    for image in images:
        assert re.fullmatch(r"[A-Za-z0-9-]+-img\d+\.png", image)
        assert "--" not in image
        assert f"{{{image}}}" in code


def test_the_command_line_takes_results_palettes_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval.json").write_text(json.dumps(list(EVAL.rows)))
    design_trace().save(tmp_path / "run.safetensors")
    words = ["figure", "--kind", "perplexity", "--results", "eval.json", "--axis", "sparsity"]
    assert main([*words, "--palette", "grey", "--out", "p.pdf", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] is None
    assert report["bibtex"] == BIBTEX
    assert report["alt"].startswith("Figure, perplexity")
    assert shlex.split(report["command"])[3:] == [
        *("figure", "--kind", "perplexity", "--style", "neurips", "--results", "eval.json"),
        *("--palette", "grey", "--axis", "sparsity", "--out", "p.pdf"),
    ]
    assert main(["figure", "run.safetensors", "--kind", "alpha-sigmoid", "--out", "a.pgf"]) == 0
    assert "reads no trace: 1 left aside" in capsys.readouterr().err
    assert (tmp_path / "a.pgf").read_text().startswith("%%")
    assert main(["figure", "--kind", "held", "--out", "h.pdf"]) == 2
    assert "no trace given" in capsys.readouterr().err


def test_an_exhibit_gives_each_kind_what_it_reads() -> None:
    figures = FigureSet(design_trace(), results=[EVAL], options=Options(step=9, horizon=5))
    assert figures.options_of("held") == Options()
    assert figures.options_of("text") == Options(step=9)
    assert figures.options_of("pos").horizon == 5
    assert figures.order("perplexity").results == ["eval.json"]
    # A benchmark would go before the run; an evaluation says nothing of speed.
    assert figures.order("throughput").traces == ["run.safetensors"]
    assert figures.order("alpha-sigmoid").traces == []
    assert all(figures.order(kind).kind == kind for kind in KINDS)


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({}, "--gate-shift 0.5 --dtype"),
        (
            {"policy": "h2o", "budget": 64, "policy_settings": {"recent": 0.25}},
            "--policy h2o --budget 64 --policy-setting recent=0.25 --dtype",
        ),
        (
            {"policy": "citrus-shared", "budget": 9, "policy_settings": {"instruction": "Who's?"}},
            "--policy citrus-shared --budget 9 --instruction 'Who'\"'\"'s?' --dtype",
        ),
        (
            {"policy": "gates", "budget": 9, "policy_settings": {"by": "margin"}},
            "--policy gates --budget 9 --policy-setting by=margin --gate-shift 0.5 --dtype",
        ),
        (
            {"policy": "gates", "budget": 9, "policy_settings": {"by": "shift"}},
            "--policy gates --budget 9 --policy-setting by=shift --dtype",
        ),
        ({"kv_dtype": "int8"}, "--gate-shift 0.5 --dtype float32 --kv-dtype int8 --impl"),
    ],
)
def test_the_command_that_records_a_run_says_who_dropped_and_how_rows_were_kept(
    meta: dict[str, Any], said: str
) -> None:
    trace = with_meta(random_trace(0), gate_shift=0.5, **meta)
    words = recording(trace, "a.txt", "b.safetensors")
    assert said in words
    # The command line reads it as it was meant.
    asked = build("trace").parse_args(shlex.split(words)[3:])
    assert asked.kv_dtype == meta.get("kv_dtype")
    kept = "float32, 8-bit keys and values." if "kv_dtype" in meta else "float32."
    drawn = draw("held", [(trace, ())], page("neurips"), Options())
    assert kept in drawn.caption
    origin = about(drawn, Subject([(trace, ())]), "made so")["Keywords"]
    assert ("kv_dtype=int8" in origin) == ("kv_dtype" in meta)
    assert (asked.policy, asked.budget) == (meta.get("policy", "gates"), meta.get("budget"))
    assert (asked.instruction or "") == meta.get("policy_settings", {}).get("instruction", "")

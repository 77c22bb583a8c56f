"""The gallery of figures: what it shows of a sample and of a run, and what it hands out."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import dcp.ui.figures.page
import dcp.ui.figures.source as gallery_source
from dcp.errors import RequestError
from dcp.figures.paper import KINDS
from dcp.figures.paper.bundle import bundle
from dcp.figures.paper.catalogue import draw
from dcp.figures.paper.figure_set import FigureSet
from dcp.figures.paper.provenance import command
from dcp.figures.paper.request import Options
from dcp.ui.figures.opened import ZipJob
from dcp.ui.figures.page import _samples, _thread
from dcp.ui.figures.previews import Preview, PreviewCache, draw_preview
from dcp.ui.figures.source import drawn, fingerprint
from dcp.ui.session import Session, Shown
from tests.helpers.traces import design_trace, random_trace

Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def few_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of them to see one of each sort; every kind is drawn in the tests of figures."""
    few = ("held", "alpha-sigmoid", "cost", "perplexity")
    monkeypatch.setattr(dcp.ui.figures.page, "KINDS", {kind: KINDS[kind] for kind in few})


def finished(page: AppTest, seconds: float = 120) -> AppTest:
    """Look again when every figure that the page has asked for is drawn."""
    page.run()
    while any("Drawing:" in caption.value for caption in page.caption):
        # One thread draws in turn: what is asked for last is done last.
        _thread().seat("test").submit(int).result(seconds)
        page.run()
    assert not page.exception, page.exception
    return page


def at_figures(page: AppTest) -> AppTest:
    return page.switch_page("pages/figures.py")


def buttons(page: AppTest) -> set[str]:
    named = {button.key for button in page.button if button.key}
    return {key.removeprefix("figures_open_") for key in named if "figures_open_" in key}


def said(page: AppTest) -> str:
    return "\n".join(
        [*(text.value for text in page.text), *(code.value for code in page.get("code"))]
    )


def test_the_gallery_draws_what_it_can_of_the_sample_and_says_that_it_was_typed(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gallery_source, "sample_names", lambda model=None: ["sample"])
    monkeypatch.setattr(gallery_source, "MEASURED", tmp_path)
    page = finished(at_figures(open_page()))
    texts = said(page)
    # What Explore shows, without a choice being made.
    assert "What Explore shows: “" in texts
    assert "figures_another" not in {button.key for button in page.button}
    assert buttons(page) == {"held", "alpha-sigmoid", "cost"}
    # One line for each figure that this text cannot give, and the others go on.
    assert "perplexity: is drawn from results: give those of an evaluation on a text" in texts
    assert "(results above)." in texts
    assert "--results" not in texts
    assert "Choice of text: the bundled sample, typed for the app." in texts
    assert "python -m dcp figure sample.safetensors --kind held" in texts
    assert "@inproceedings{anagnostidis2023dynamic" in texts


def test_what_was_measured_of_the_bundled_model_is_drawn_unless_other_results_are_given(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"context": 64, "held_entries": 900.0, "ppl_pruned": 61.5, "ppl_gates_off": 60.0}
    (tmp_path / "measured.json").write_text(json.dumps([row]))
    monkeypatch.setattr(gallery_source, "sample_names", lambda model=None: ["sample"])
    monkeypatch.setattr(gallery_source, "MEASURED", tmp_path)
    page = finished(at_figures(open_page()))
    assert "perplexity" in buttons(page)
    page.button(key="figures_open_perplexity").click().run()
    assert "--results measured.json" in said(page)
    given = json.dumps([{**row, "ppl_pruned": 70.0}]).encode()
    page.file_uploader(key="figures_results").set_value(("given.json", given, "")).run()
    page = finished(page)
    assert "--results given.json" in said(page)


def test_measurements_are_those_of_the_model_that_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    every: dict[str, list[str | None]] = {"a": ["dcp-mini", "dense twin"], "b": ["x"], "c": [None]}
    for name, models in every.items():
        rows = [{"model": model} if model else {} for model in models]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    monkeypatch.setattr(gallery_source, "MEASURED", tmp_path)
    for shown, (whose, files) in {
        "x": ("x", ["b.json", "c.json"]),
        "dcp-mini": ("dcp-mini", ["a.json", "c.json"]),
        "never measured": ("dcp-mini", ["a.json", "c.json"]),
    }.items():
        named, found = gallery_source._measured(shown)
        assert (named, [part.name for part in found]) == (whose, files)


def test_one_choice_changes_every_figure(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_source, "sample_names", lambda model=None: ["sample"])
    page = finished(at_figures(open_page()))
    page.selectbox(key="figures_style").set_value("cvpr")
    page = finished(page)
    assert page.selectbox(key="figures_width").value == "column"
    page.selectbox(key="figures_palette").set_value("grey")
    page = finished(page)
    look = "--style cvpr --width column --palette grey"
    assert f"--kind held {look} --chosen 'the bundled sample, typed for the app'" in said(page)
    page.button(key="figures_open_alpha-sigmoid").click().run()
    assert f"--kind alpha-sigmoid {look}" in said(page)
    assert any(caption.value.startswith("3.25 × ") for caption in page.caption)


def test_figures_of_a_run_say_that_it_was_typed(open_page: Open) -> None:
    page = open_page()
    session: Session = page.session_state["session"]
    trace = design_trace()
    session.shown = Shown(trace, (), "run")
    page = finished(at_figures(page))
    shown = said(page)
    assert "Choice of text: typed by a user of the app." in shown
    assert "figure run.safetensors --kind" in shown
    assert "Your run: " in shown


def test_nothing_to_draw_is_said_in_one_line(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_source, "sample_names", lambda model=None: [])
    page = open_page()
    session: Session = page.session_state["session"]
    session.shown = Shown()
    page = at_figures(page).run()
    assert not page.exception
    assert [info.value for info in page.info] == [
        "No run yet and no sample: record one on the first page, or open a saved trace."
    ]


def test_another_at_random_draws_another_text(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["sample", *(f"heldout-{i}" for i in range(5))]
    traces = {name: random_trace(i, layers=2) for i, name in enumerate(names)}
    monkeypatch.setattr(gallery_source, "sample_names", lambda model=None: names)
    monkeypatch.setattr(gallery_source, "load_sample", lambda name: (traces[name], []))
    page = at_figures(open_page()).run()
    page.segmented_control(key="figures_of").set_value("A held-out text")
    page = finished(page)
    first = said(page)
    page.button(key="figures_another").click()
    second = said(finished(page))
    held = names[1:]
    assert f"Seeded draw {drawn(held, 0) + 1} of 5 held-out texts, seed 0" in first
    seed = page.session_state["figures_seed"]
    assert f"draw {drawn(held, seed) + 1} of 5 held-out texts, seed {seed}" in second
    assert drawn(held, seed) != drawn(held, 0)


def test_the_draw_is_by_the_seed_alone_and_reaches_every_text() -> None:
    names = [str(i) for i in range(7)]
    assert [drawn(names, seed) for seed in range(40)] == [drawn(names, seed) for seed in range(40)]
    assert {drawn(names, seed) for seed in range(100)} == set(range(7))


def test_a_fingerprint_is_of_the_contents() -> None:
    assert fingerprint(random_trace(1)) == fingerprint(random_trace(1))
    assert fingerprint(random_trace(1)) != fingerprint(random_trace(2))


# ---- previews


class Later:
    """An executor that works when told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Any, Callable[[], Any]]] = []

    def submit(self, make: Callable[[], Any]) -> Any:
        from concurrent.futures import Future

        future: Future[Any] = Future()
        self.jobs.append((future, make))
        return future

    def work(self) -> int:
        """How many jobs were done; cancelled ones are not."""
        jobs, self.jobs = self.jobs, []
        begun = [(f, make) for f, make in jobs if f.set_running_or_notify_cancel()]
        for future, make in begun:
            future.set_result(make())
        return len(begun)


def test_a_cache_draws_once_forgets_the_oldest_and_drops_what_nobody_wants() -> None:
    later = Later()
    cache = PreviewCache(later, most=2)  # type: ignore[arg-type]
    previews = {key: Preview(caption=key) for key in "abc"}
    for key in "aab":
        assert cache.get(key, lambda key=key: previews[key]) is None
    assert later.work() == 2
    assert cache.get("a", previews.popitem) is previews["a"]
    assert cache.get("b", previews.popitem) is previews["b"]
    cache.get("c", lambda: previews["c"])
    cache.only({"a"})
    assert later.work() == 0
    cache.get("c", lambda: previews["c"])
    later.work()
    assert cache.get("c", previews.popitem) is previews["c"]
    # "a" was looked at before "b", so it is the one that went.
    assert cache.get("b", previews.popitem) is previews["b"]
    assert cache.get("a", lambda: previews["a"]) is None


def test_a_figure_that_fails_says_so_and_never_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    figures = FigureSet(design_trace())
    error = str(draw_preview(figures, "cost").error)
    assert error.startswith("cost needs a trace with a gates-off run")
    monkeypatch.setattr(FigureSet, "draw", lambda self, kind: 1 / 0)
    assert str(draw_preview(figures, "held").error) == (
        "it failed inside the app (ZeroDivisionError); the log says why"
    )
    assert "a figure failed" in caplog.text


def test_a_preview_is_a_picture_with_its_words() -> None:
    preview = draw_preview(FigureSet(design_trace(), style="icml"), "depth")
    assert not preview.error
    assert preview.inches[0] == 3.25
    assert preview.rows == 6
    assert "Share of the previous tokens" in preview.alt
    colours = np.asarray(Image.open(io.BytesIO(preview.png)).convert("RGB"))
    assert colours.shape[1] == pytest.approx(900, abs=1)
    assert colours.min() < 100 < 250 < colours.max()


def test_a_zip_nobody_wants_is_not_finished() -> None:
    job = ZipJob(("a", "b"))
    figures = FigureSet(design_trace())
    made = bundle(figures, ("svg",), ("depth", "held"), job.say)
    assert (job.done, job.kind) == (1, "held")
    assert "figures/held.svg" in zipfile.ZipFile(io.BytesIO(made)).namelist()
    job.stopped = True
    with pytest.raises(RequestError, match="stopped"):
        bundle(figures, ("svg",), ("depth",), job.say)


def test_the_zip_is_made_in_the_background_and_offered(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dcp.ui.figures.opened as gallery_take

    monkeypatch.setattr(gallery_take, "bundle", lambda *given: b"PK" + bytes(2**20))
    page = finished(at_figures(open_page()))
    page.button(key="figures_zip").click().run()
    end = time.monotonic() + 20
    while not (offered := [b for b in page.get("download_button") if "zip (" in b.proto.label]):
        assert time.monotonic() < end
        time.sleep(0.05)
        page.run()
    assert offered[0].proto.label == "Download the zip (1.0 MiB)"


def test_figures_of_samples_are_shared_and_those_of_runs_are_not(open_page: Open) -> None:
    page = finished(at_figures(open_page()))
    assert "figures_previews" not in page.session_state
    assert _samples()._done


def test_a_file_is_named_by_its_model_share_text_and_step() -> None:
    trace = design_trace()
    share = f"{100 * trace.sparsity_at_end():.0f}pc"
    figures = FigureSet(trace, name="sample.safetensors", options=Options(step=9))
    model = "".join(c if c.isalnum() else "-" for c in trace.meta.model.lower())
    assert figures.stem("heatmap") == f"{model}-{share}-sample-step9-heatmap"
    # A text that a user typed is named by its first words, whatever they hold.
    typed = replace(figures, name="run.safetensors", trace=trace)
    name = typed.stem("depth")
    assert re.fullmatch(r"[a-z0-9-]{1,100}", name)
    assert name.endswith("-depth")
    assert "step" not in name


def test_the_same_tokens_under_several_policies_are_one_figure() -> None:
    trace = random_trace(0)
    other = replace(random_trace(0), meta=replace(trace.meta, policy="h2o", budget=9))
    figures = FigureSet(trace, name="a.safetensors", beside={"gates": trace, "h2o": other})
    drawing = figures.draw("policy-maps")
    assert drawing.data["policy"].tolist() == ["gates", "h2o"]
    assert drawing.caption.count("1 text") == 1
    assert command(figures.order("policy-maps"), "x.pdf").count(".safetensors") == 2
    with pytest.raises(RequestError, match="two policies or more"):
        FigureSet(trace).draw("policy-maps")
    # No other kind pools what different rules dropped.
    with pytest.raises(RequestError, match="one policy"):
        draw("depth", [(trace, ()), (other, ())], figures.page)
    elsewhere = replace(random_trace(1), meta=replace(random_trace(1).meta, policy="h2o"))
    with pytest.raises(RequestError, match="same tokens"):
        FigureSet(trace, beside={"gates": trace, "h2o": elsewhere}).draw("policy-maps")

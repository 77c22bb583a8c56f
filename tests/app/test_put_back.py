"""Put it back: choosing a token, asking the model, and an answer that claims what was measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dcp.figures.screen.put_back import change_chart, sums_chart
from dcp.figures.screen.theme import quoted
from dcp.model.registry import open_model
from dcp.runs.effects import Effect, Rewritten, ordinary
from dcp.runs.plans import Controls, Plan, put_back
from dcp.runs.recorder import record
from dcp.runs.rescore import effect
from dcp.trace import ALIVE, Trace
from dcp.ui.put_back.answer import sentence, table
from dcp.ui.put_back.continuations import marked, tail
from dcp.ui.put_back.ready import example
from dcp.ui.put_back.token_text import coloured, selectable
from dcp.ui.samples import load_sample, sample_names
from tests.app.rooms import TEXT, bundle, charts, press, said, session, settle
from tests.helpers.traces import make_trace, random_trace, with_meta

Open = Callable[..., AppTest]
Show = Callable[..., AppTest]


@pytest.fixture
def show(
    open_page: Open,
    tiny_checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Show:
    """``show(new_tokens=20)`` -> the page on a run of the one bundled model."""

    def open_one(change: Callable[[Trace], Trace] = lambda t: t, **settings: float) -> AppTest:
        page = open_page()
        checkpoint = tiny_checkpoint("llama", drop=0.6)
        name = bundle(checkpoint, tmp_path / "bundle", monkeypatch, "tiny")
        asked = {"new_tokens": 20} | settings
        trace = record(TEXT, model=open_model(name), **asked)
        session(page).show(change(trace), (), "upload", "a trace")
        return page.switch_page("pages/put_back.py").run()

    return open_one


def texts(page: AppTest) -> list[dict]:
    found = page.get("bidi_component")
    return [json.loads(c.proto.json) for c in found if c.proto.component_name == "dcp_token_text"]


def test_the_answer_is_that_of_dcp_rescore(show: Show) -> None:
    page = show()
    trace = session(page).shown.trace
    page.selectbox(key="put-token").set_value(10).run()
    assert session(page).place.token == 10
    settle(press(page, "put-go"), "put-asked")
    assert not page.exception
    found, _, written = page.session_state["put-asked"].task.status().result
    wanted = effect(open_model("tiny"), trace, put_back(trace, 10))
    assert found.total == pytest.approx(wanted.total)
    assert found.control_totals.tolist() == pytest.approx(wanted.control_totals.tolist())
    assert sentence(trace, found) in said(page)
    # What was recorded is what the same seed writes again, where nothing is changed.
    assert "".join(written.as_was[:20]).startswith(trace.text[trace.offsets[written.start, 0] :])
    shown = [c.proto for c in page.get("bidi_component")]
    two = next(json.loads(p.json) for p in shown if p.component_name == "dcp_continuations")
    assert ["".join(t for t, _ in c["parts"]) for c in two["columns"]] == [
        "".join(written.as_was),
        "".join(written.changed),
    ]
    assert len(charts(page)) == 2
    assert [b.label for b in page.get("download_button")] == ["Table of all changes (CSV)"]


def test_the_text_is_data_and_never_markup(show: Show) -> None:
    page = show()
    settle(press(page, "put-go"), "put-asked")
    shown = texts(page)
    assert len(shown) == 2
    assert all("".join(text["fragments"]) == session(page).shown.trace.text for text in shown)
    for kind in ("markdown", "caption", "title", "html"):
        assert not any("pwned" in str(getattr(e, "value", "")) for e in page.get(kind))
    assert not any("<script" in spec for spec in charts(page))


def test_one_layer_and_an_early_drop_are_other_questions(show: Show) -> None:
    page = show()
    trace = session(page).shown.trace
    session(page).place.token, session(page).place.step = 10, 14
    page.run()
    page.segmented_control(key="put-verb").set_value("Drop it now").run()
    step = page.number_input(key=f"put-step-{session(page).shown.key}-10")
    assert (step.value, step.min, step.max) == (14, 11, trace.n_queries - 1)
    step.set_value(11).run()
    layer = int(np.flatnonzero(trace.death[:, 10] > 11)[0])
    page.selectbox(key="put-layer-10-False").set_value(layer).run()
    settle(press(page, "put-go"), "put-asked")
    plan = page.session_state["put-asked"].task.status().result[0].plan
    assert (plan.kind, plan.token, plan.layers, plan.steps) == ("drop now", 10, (layer,), (11,))
    assert f"Dropped from layer {layer}" in said(page)


def test_seed_and_horizon_reach_the_comparison(show: Show) -> None:
    page = show()
    page.slider(key="put-horizon").set_value(7)
    page.number_input(key="put-seed").set_value(5).run()
    settle(press(page, "put-go"), "put-asked")
    found, _, _ = page.session_state["put-asked"].task.status().result
    assert found.controls.horizon == 7
    assert "seed 5" in said(page)


def test_what_was_clicked_on_another_page_is_chosen(show: Show) -> None:
    page = show()
    dropped = (session(page).shown.trace.death != ALIVE).any(axis=0)
    session(page).place.token = int(np.flatnonzero(dropped)[3])
    page.run()
    assert page.selectbox(key="put-token").value == session(page).place.token
    assert texts(page)[0]["chosen"] == session(page).place.token
    alive = int(np.flatnonzero(~dropped)[-1])
    session(page).place.token = alive
    page.run()
    assert "was never dropped" in said(page)
    assert page.button(key="put-go").disabled


def test_a_trace_of_other_weights_is_one_line(show: Show) -> None:
    page = show(lambda t: with_meta(t, weights_sha256="f" * 64))
    settle(press(page, "put-go"), "put-asked")
    assert not page.exception
    assert "other weights" in said(page)
    assert charts(page) == []


def test_nothing_dropped_leaves_nothing_to_put_back(show: Show) -> None:
    page = show(gate_shift=1e6)
    assert "nothing to put back" in said(page)
    assert page.button(key="put-go").disabled


def test_where_everything_was_dropped_it_can_be_put_back(show: Show) -> None:
    page = show(gate_shift=-1e6)
    settle(press(page, "put-go"), "put-asked")
    assert "Kept alive in the 3 layers" in said(page)


def test_an_answer_does_not_outlive_its_trace(show: Show) -> None:
    page = show()
    settle(press(page, "put-go"), "put-asked")
    session(page).show(random_trace(0), (), "upload", "another")
    page.run()
    assert charts(page) == []
    assert "Kept alive" not in said(page)


# ---- what the answer is made of


def an_effect(change: float, controls: list[float], kind: str = "put back") -> Effect:
    plan = Plan(kind, 4, (1,), (6,))  # type: ignore[arg-type]
    full = np.full(63, np.nan, np.float32)
    full[7:] = 0
    full[7] = change
    plans = tuple(Plan(kind, 10 + i, (1,), (12 + i,)) for i in range(len(controls)))  # type: ignore[arg-type]
    beside = np.array([[c, 0.0, 0.0] for c in controls], np.float32).reshape(-1, 3)
    return Effect(plan, full, Controls(plans, 1.0, 1.5, 3), beside)


@pytest.mark.parametrize(
    ("change", "controls", "said"),
    [
        (0.5, [0.1] * 20, "0.50 nats likelier in sum. Of 20 random drops matched on layer and age, "
         "none changed as much"),
        (-0.5, [0.1] * 18 + [-0.6, 0.7], "0.50 nats less likely in sum. Of 20 random drops"),
        (-0.5, [0.1] * 18 + [-0.6, 0.7], "2 changed as much after them, so this is within"),
        (0.0, [0.1] * 20, "as likely as they were"),
        (0.5, [0.1] * 3, "only 3 matched random drops"),
        (0.5, [], "no matched random drops"),
    ],
)  # fmt: skip
def test_the_sentence_claims_what_was_measured(
    change: float, controls: list[float], said: str
) -> None:
    assert said in sentence(random_trace(0), an_effect(change, controls))


def test_the_charts_show_every_change_and_every_control() -> None:
    trace, found = random_trace(0), an_effect(0.5, [0.1, -0.2, 0.3])
    figure = change_chart(trace, found)
    assert [list(bar.y) for bar in figure.data if bar.type == "bar"] == [[0.5], []]
    sums = sums_chart(trace, found)
    assert list(sums.data[0].x) == pytest.approx([0.1, -0.2, 0.3])
    assert list(sums.data[1].x) == [0.5]
    rows = table(trace, found)
    assert rows["token"].tolist() == list(range(7, 63))
    assert rows["change_nats"].iloc[0] == 0.5
    assert rows["controls_5_percent"].notna().sum() == 3


def test_colour_follows_size_and_arrows_mark_the_largest() -> None:
    trace = random_trace(0)
    change = np.full(63, np.nan, np.float32)
    change[10:] = 0.001
    change[20:40] = np.linspace(-1, 1, 20)
    data = coloured("x", trace, change, 5)
    assert data["change"][:10] == [None] * 10
    assert data["change"][10] == 0
    assert (data["change"][20], data["change"][39]) == (-1, 1)
    marks = np.array(data["marks"])
    assert np.flatnonzero(marks > 0).tolist() == [35, 36, 37, 38, 39]
    assert np.flatnonzero(marks < 0).tolist() == [20, 21, 22, 23, 24]
    assert not any(coloured("x", trace, np.zeros(63, np.float32), 5)["marks"])


def test_a_token_that_fell_in_every_layer_is_wholly_gone() -> None:
    trace = random_trace(0)
    data = selectable("x", trace, np.ones(63, bool), None)
    gone = (trace.death != ALIVE).mean(axis=0)
    assert data["gone"] == pytest.approx(gone.tolist(), abs=1e-3)
    assert data["chosen"] is None


@pytest.mark.parametrize(
    ("piece", "name"),
    [(" in", "“in”"), ("\n\n", "“↵↵”"), ("  ", "“␣␣”"), ("x" * 99, f"“{'x' * 40}”")],
)
def test_a_token_has_a_name_in_a_sentence(piece: str, name: str) -> None:
    assert quoted(piece) == name


def test_what_any_drop_does_has_no_colour(tiny_effect: tuple[Trace, Effect]) -> None:
    trace, found = tiny_effect
    band = ordinary(found, trace.tokens)
    data = coloured("x", trace, found.change, found.plan.token, band)
    inside = (found.change >= band[:, 0]) & (found.change <= band[:, 1])
    assert inside.any()
    assert all(data["change"][j] == 0 for j in np.flatnonzero(inside))
    assert not any(data["marks"][j] for j in np.flatnonzero(inside))
    assert any(data["change"][j] for j in np.flatnonzero(np.isfinite(found.change) & ~inside))


@pytest.fixture
def tiny_effect(tiny_checkpoint: Callable[..., Path]) -> tuple[Trace, Effect]:
    model = open_model(tiny_checkpoint("llama", drop=0.6))
    trace = record(TEXT, model=model, new_tokens=20)
    return trace, effect(model, trace, put_back(trace, 10))


@pytest.mark.parametrize("model", ["dcp-mini", "smollm2-135m"])
def test_the_example_is_of_the_sample_alone(model: str) -> None:
    trace, _ = load_sample(sample_names(model)[0])
    assert trace.meta.model == model
    found = example(trace)
    assert found is not None, "made of other weights or another sample: make it again"
    assert found.effect.plan == put_back(trace, found.effect.plan.token)
    assert found.effect.change.shape == (trace.tokens,)
    # It is shown because it stands out: no matched drop changed as much.
    assert found.effect.as_large == 0
    assert found.rewritten.apart is not None
    assert example(random_trace(0)) is None
    # Other weights answer otherwise, and other drops leave something else to put back.
    assert example(with_meta(trace, weights_sha256="f" * 64)) is None
    plan = found.effect.plan
    sooner = trace.death.copy()
    sooner[plan.layers[0], plan.token] = plan.token + 1
    assert sooner[plan.layers[0], plan.token] != trace.death[plan.layers[0], plan.token]
    assert example(dataclasses.replace(trace, death=sooner)) is None


@pytest.mark.parametrize("model", ["dcp-mini", "smollm2-135m"])
def test_the_example_is_shown_before_anything_is_asked(open_page: Open, model: str) -> None:
    page = open_page()
    trace, words = load_sample(sample_names(model)[0])
    session(page).show(trace, tuple(words), "sample", sample_names(model)[0])
    page.switch_page("pages/put_back.py").run()
    ready = example(trace)
    assert ready is not None
    assert not page.exception
    assert page.selectbox(key="put-token").value == ready.effect.plan.token
    assert sentence(trace, ready.effect) in said(page)
    assert "because it stands out" in said(page)
    shown = [c.proto for c in page.get("bidi_component")]
    two = next(json.loads(p.json) for p in shown if p.component_name == "dcp_continuations")
    assert ["".join(text for text, _ in each["parts"]) for each in two["columns"]] == [
        "".join(ready.rewritten.as_was),
        "".join(ready.rewritten.changed),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It was short.", "It was short."),
        ("", ""),
        ("x" * 80 + " the end of it", "… the end of it"),
        # One word without an end, or one that ends with the text, is not lost.
        ("y" * 200, "… " + "y" * 90),
        ("y" * 200 + " ", "… " + "y" * 89 + " "),
    ],
)
def test_the_text_before_begins_with_a_word(text: str, shown: str) -> None:
    assert tail(text) == shown


def test_a_piece_of_a_word_is_said_with_its_word(tiny_effect: tuple[Trace, Effect]) -> None:
    _, found = tiny_effect
    pieces = [" a", " bar", "ometer", ".", " 19", "05", " …", " " + "x" * 20, "x" * 20, " <b>"]
    trace = make_trace(pieces, np.full((2, len(pieces)), ALIVE))
    told = []
    for token in range(len(pieces)):
        plan = dataclasses.replace(found.plan, token=token)
        told.append(sentence(trace, dataclasses.replace(found, plan=plan)).partition(" makes ")[0])
    shown = [each.partition(", ")[2].partition(" leaves ")[0] for each in told]
    wanted = [quoted(piece) for piece in pieces]
    wanted[1] += " of “barometer”"
    wanted[2] += " of “barometer”"
    wanted[4] += " of “1905”"
    wanted[5] += " of “1905”"
    assert shown == wanted


def test_both_continuations_are_kept_whole_where_their_differences_are_marked() -> None:
    one, two = ["The", " cat", "<b>", " sat"], ["The", " dog", "<b>", " sat", " up"]
    left, right = marked(one, two)
    assert "".join(text for text, _ in left) == "".join(one)
    assert "".join(text for text, _ in right) == "".join(two)
    assert [text for text, differs in right if differs] == [" dog", " up"]
    assert Rewritten(3, tuple(one), tuple(two)).apart == 1
    assert Rewritten(3, tuple(one), tuple(one)).apart is None

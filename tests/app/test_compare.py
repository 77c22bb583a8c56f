"""Compare: two runs side by side, from files or read by the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dcp.errors import RequestError
from dcp.figures.screen.compare import held_chart, lost_chart, step_chart
from dcp.figures.screen.compare_maps import lost_map, map_chart
from dcp.figures.screen.policies import policy_maps
from dcp.model.registry import open_model
from dcp.policies.budget import TOLERANCE
from dcp.runs.beside import read_beside
from dcp.runs.policies import Beside
from dcp.runs.recorder import Recorder, record
from dcp.runs.request import TextRequest
from dcp.stats.agreement import overlap
from dcp.stats.compare import Pair
from dcp.stats.policies import policy_table, word_table
from dcp.stats.questions import question_table
from dcp.trace import ALIVE, Trace
from dcp.ui.compare.asked_view import asked_verdict
from dcp.ui.compare.ready import CHOICES, ready
from dcp.ui.compare.verdict import policies_verdict
from dcp.ui.compare.writing import NEW_TOKENS, Lane, Race, drawn
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
    """``show()`` -> the page on a run of the one bundled model."""

    def open_one(change: Callable[[Trace], Trace] = lambda t: t, public: bool = False) -> AppTest:
        page = open_page(public=public)
        checkpoint = tiny_checkpoint("llama", drop=0.6)
        name = bundle(checkpoint, tmp_path / "bundle", monkeypatch, "tiny")
        trace = record(TEXT, model=open_model(name), new_tokens=20)
        session(page).show(change(trace), (), "upload", "a trace")
        return page.switch_page("pages/compare.py").run()

    return open_one


def read(page: AppTest) -> AppTest:
    return settle(press(page, "compare-go"), "compare-asked")


def pair(page: AppTest) -> Pair:
    found: Pair = page.session_state["compare-asked"].task.status().result
    return found


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.get("download_button")]


def test_pruned_against_gates_off(show: Show) -> None:
    page = read(show())
    assert not page.exception
    found = pair(page)
    assert found.b.sparsity_mean_steps() == 0 < found.a.sparsity_mean_steps()
    assert np.nanmean(found.a.kl) > 0
    np.testing.assert_allclose(found.b.logprob, found.a.gates_off_logprob, atol=2e-5)
    assert len(charts(page)) == 5
    assert labels(page) == [
        "Differences by token (CSV)",
        "Drops by layer and token (CSV)",
        "KL and lost attention of A (PDF)",
        "Trace A",
        "Trace B",
    ]
    rows = page.dataframe[0].value
    assert rows[""].tolist()[:2] == ["tokens", "layers"]
    assert not any("<script" in spec for spec in charts(page))
    assert "dropped at the end, this text" in page.markdown[0].value
    assert len(page.metric) == 4
    # A model of its own, trained with its gates: its gates off are no dense model.
    assert "Gates off is not the dense model" in said(page)


def test_other_policies_on_the_same_tokens(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("A's tokens, other policies").run()
    page.multiselect(key="compare-policies-False").set_value(["window", "h2o"]).run()
    page = settle(press(page, "policies-go"), "policies-asked")
    assert not page.exception
    found = page.session_state["policies-asked"].task.status().result
    assert list(found.runs) == ["gates", "none", "window", "h2o"]
    assert not found.left_out
    first = found.first
    for name in ("window", "h2o"):
        run = found.runs[name]
        assert run.meta.policy == name
        assert abs(run.held().mean() - first.held().mean()) <= 1
    assert len(charts(page)) >= 2
    assert not any("<script" in spec for spec in charts(page))
    table = policy_table(found)
    assert policies_verdict(table) in "\n".join(m.value for m in page.markdown)
    assert table.set_index("policy").loc["none", "kl"] == pytest.approx(0, abs=1e-6)
    # What it was matched to, and what was held, are both said.
    assert f"{first.held().mean():.1f} entries a layer" in policies_verdict(table)


def test_a_question_shows_what_rules_that_hear_it_keep(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("A's tokens, kept for a question").run()
    assert not [b for b in page.button if b.key == "question-go"]
    hostile = "Who spoke of <script>pwned()</script> **it**?"
    page.text_input(key="compare-question").set_value(hostile).run()
    page = settle(press(page, "question-go"), "question-asked")
    assert not page.exception
    found = page.session_state["question-asked"].task.status().result
    assert list(found.beside.runs) == ["gates", "citrus", "citrus-shared", "citrus-individual"]
    assert asked_verdict(question_table(found)) in "\n".join(m.value for m in page.markdown)
    assert len(page.metric) == 4
    assert not any("pwned" in str(e.value) for kind in ("markdown", "html") for e in page.get(kind))
    # Longer than the context: one line, and the page lives.
    page.text_input(key="compare-question").set_value("Who? " * 200).run()
    page = settle(press(page, "question-go"), "question-asked")
    assert not page.exception
    assert "more than the context of 256; shorten one of them" in said(page)


def _lanes(page: AppTest) -> dict:
    shown = [c.proto for c in page.get("bidi_component")]
    return json.loads(next(p.json for p in shown if p.component_name == "dcp_race"))


def test_dense_and_pruned_write_side_by_side(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("both written on, live").run()
    page = settle(press(page, "writing-go"), "writing-asked")
    assert not page.exception
    found = page.session_state["writing-asked"].task.status().result
    assert found.b.sparsity_mean_steps() == 0 < found.a.sparsity_mean_steps()
    given = session(page).shown.trace.prompt_tokens
    assert found.a.token_ids[:given].tolist() == found.b.token_ids[:given].tolist()
    assert found.a.tokens == found.b.tokens == given + NEW_TOKENS
    pruned, dense = page.session_state["writing-race"].look()
    assert (pruned.tokens, dense.tokens) == (NEW_TOKENS, NEW_TOKENS)
    assert 0 < pruned.live < dense.live
    # A whole bar is what all tokens take at the end, at every moment: bars grow and part.
    assert page.session_state["writing-race"].full == dense.live
    shown = _lanes(page)
    assert [lane["width"] for lane in shown["lanes"]] == [
        pytest.approx(100 * pruned.live / dense.live, abs=0.06),
        100,
    ]
    assert shown["opening"].removeprefix("… ") + shown["lanes"][0]["written"] in found.a.text
    assert {lane["title"].partition(" · ")[0] for lane in shown["lanes"]} == {"A", "B"}
    # No tile sends anybody to a button that is not here.
    assert "the button" not in str([tile.proto for tile in page.metric])
    # What was typed is shown as text, never in markup.
    assert not any("pwned" in str(getattr(e, "value", "")) for e in page.get("html"))


def test_bars_grow_from_nothing_to_what_they_are() -> None:
    found = Race("<b>It was</b> a", 10, full=2_000)
    for pruned, dense, widths, sizes in (
        (0, 0, [0, 0], ["–", "–"]),
        (500, 0, [25, 0], ["500 B", "–"]),
        (900, 1_800, [45, 90], ["900 B", "1.8 KiB"]),
    ):
        found.put(0, Lane(" one", 1, pruned))
        found.put(1, Lane(" two", 1, dense))
        shown = drawn(found)
        assert [lane["width"] for lane in shown["lanes"]] == widths
        assert [lane["size"] for lane in shown["lanes"]] == sizes
    assert shown["opening"] == "<b>It was</b> a"
    assert shown["lanes"][0]["title"] == "A · with its gates · 1 token"
    # Before the text is read there is no scale yet.
    assert [lane["width"] for lane in drawn(Race("It", 10))["lanes"]] == [0, 0]


def test_a_run_under_a_rule_is_written_on_by_it_and_set_beside_the_gates(show: Show) -> None:
    ruled = {"new_tokens": 20, "policy": "h2o", "budget": 16, "policy_settings": {"recent": 0.25}}
    page = show(lambda trace: record(TEXT, model=open_model("tiny"), **ruled))
    page.selectbox(key="compare-b").set_value("both written on, live").run()
    page = settle(press(page, "writing-go"), "writing-asked")
    assert not page.exception
    found = page.session_state["writing-asked"].task.status().result
    assert (found.a.meta.policy, found.a.meta.budget) == ("h2o", 16)
    assert found.a.meta.policy_settings == {"recent": 0.25}
    assert found.b.meta.policy == "none"
    assert page.session_state["writing-race"].names[0] == "with H2O"
    page.selectbox(key="compare-b").set_value("A's tokens, other policies").run()
    page.multiselect(key="compare-policies-False").set_value(["gates", "tova"]).run()
    page = settle(press(page, "policies-go"), "policies-asked")
    assert not page.exception
    found = page.session_state["policies-asked"].task.status().result
    assert list(found.runs) == ["h2o", "none", "gates", "tova"]
    held = {name: run.held().mean() for name, run in found.runs.items()}
    assert abs(held["gates"] - held["h2o"]) <= 1
    assert "H2O moves the predictions" in policies_verdict(policy_table(found))


def test_a_and_b_stand_under_their_own_letters(show: Show) -> None:
    page = read(show())
    found = pair(page)
    rows = page.dataframe[0].value
    (dropped,) = rows[rows[""] == "dropped, mean over each one's steps"].to_dict("records")
    assert dropped["A"] == f"{100 * found.a.sparsity_mean_steps():.1f} %"
    assert dropped["B"] == "0.0 %"
    assert dropped["B − A"] == f"−{dropped['A'].removesuffix(' %')} points"
    texts = [box.value for box in page.text]
    assert any(line.startswith("A · ") for line in texts)
    assert any(line.startswith("B · ") for line in texts)


def test_the_same_tokens_with_rows_in_other_bits(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("A's tokens, keys and values in other bits").run()
    assert page.selectbox(key="compare-kept").options == ["in 16 bits", "in 8 bits"]
    page = read(page)
    assert not page.exception
    found = pair(page)
    assert found.same_tokens
    assert (found.a.meta.kv_dtype, found.b.meta.kv_dtype) == (None, "int8")
    assert found.b.meta.gate_shift == found.a.meta.gate_shift
    assert found.b.meta.memory.entry < found.a.meta.memory.entry / 2
    # Rounding is in every prediction, those with the gates off included.
    assert 0 < np.nanmean(found.kl) < 0.1
    assert not np.array_equal(found.a.gates_off_logprob[1:], found.b.gates_off_logprob[1:])
    rows = page.dataframe[0].value
    (entry,) = rows[rows[""] == "bytes of an entry"].to_dict("records")
    assert [entry[name] for name in "AB"] == [str(t.meta.memory.entry) for t in (found.a, found.b)]


def test_a_rules_run_is_not_offered_in_other_bits_by_the_gates(show: Show) -> None:
    page = show(
        lambda trace: record(TEXT, model=open_model("tiny"), new_tokens=4, policy="h2o", budget=9)
    )
    assert "A's tokens, keys and values in other bits" not in page.selectbox("compare-b").options


def test_two_sparsities_of_the_same_tokens(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("A's tokens, another sparsity").run()
    page = read(page)
    found = pair(page)
    assert found.same_tokens
    assert found.b.meta.gate_shift == found.a.meta.gate_shift - 1
    assert found.b.sparsity_mean_steps() > found.a.sparsity_mean_steps()
    assert np.nanmax(found.kl) > 0


def test_another_text_is_compared_as_a_whole(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("another text, same model").run()
    assert not [b for b in page.button if b.key == "compare-go"]
    page.text_area(key="compare-text").set_value("Another text. It is short.").run()
    page = read(page)
    assert not page.exception
    assert "read different tokens" in said(page)
    assert pair(page).kl is None
    assert "Differences by token (CSV)" not in labels(page)
    assert len(charts(page)) == 4


def test_two_runs_that_exist_need_no_model(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("this run").run()
    assert len(charts(page)) == 4
    assert "compare-asked" not in page.session_state
    page = read(page)
    assert np.nanmax(pair(page).kl) == 0
    assert len(charts(page)) == 5


def test_the_step_moves_the_map(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("this run").run()
    before = charts(page)
    slider = next(s for s in page.slider if s.key.startswith("compare-step"))
    slider.set_value(3).run()
    assert charts(page)[0] != before[0]
    assert charts(page)[2:] == before[2:]


def test_a_trace_of_other_weights_is_one_line(show: Show) -> None:
    page = show(lambda t: with_meta(t, weights_sha256="f" * 64))
    page = read(page)
    assert not page.exception
    assert "other weights" in said(page)
    assert charts(page) == []


def test_a_hostile_file_is_one_line_and_a_good_one_is_compared(show: Show) -> None:
    page = show()
    page.selectbox(key="compare-b").set_value("a saved trace").run()
    for data in (b"", b"not a trace", b"\x08" + bytes(7) + b"{}      ", b"\xff" * 999):
        page.file_uploader(key="compare-file-b").set_value(("x.safetensors", data, "")).run()
        assert not page.exception
        assert charts(page) == []
        assert len([text for text in page.text if text.value]) == 1
    good = random_trace(4).to_bytes()
    page.file_uploader(key="compare-file-b").set_value(("y.safetensors", good, "")).run()
    assert not page.exception
    assert "read different tokens" in said(page)
    assert len(charts(page)) == 3


def test_a_public_server_offers_no_other_model_where_there_is_one(show: Show) -> None:
    page = show(public=True)
    assert "A's text, another model" not in page.selectbox(key="compare-b").options


def test_another_model_reads_the_same_tokens(
    show: Show, tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    page = show()
    shutil.copytree(tiny_checkpoint("qwen3", drop=0.6), tmp_path / "bundle" / "zed")
    page.selectbox(key="compare-b").set_value("A's text, another model").run()
    page.selectbox(key="compare-model").set_value("zed").run()
    page = read(page)
    assert not page.exception
    found = pair(page)
    assert found.same_tokens
    assert found.a.meta.weights_sha256 != found.b.meta.weights_sha256
    assert min(np.nanmean(found.kl), np.nanmean(found.a.kl), np.nanmean(found.b.kl)) > 0


# ---- charts


def two(seed: int = 0) -> Pair:
    a = random_trace(seed)
    death = a.death.copy()
    death[1, 5] = ALIVE if death[1, 5] != ALIVE else 9
    return Pair(a, replace(a, death=death, margin=np.full_like(a.margin, np.nan)))


def test_cells_are_sent_as_single_bytes_and_text_is_escaped() -> None:
    found = two()
    figure = map_chart(found, 30)
    assert [trace.z.dtype for trace in figure.data] == [np.uint8] * 3
    assert "<script" not in figure.to_json()
    assert np.array_equal(figure.data[2].z.astype(int) - 1, found.difference(30))
    assert lost_map(found) is None
    lost = np.full(found.a.death.shape, 0.25, np.float32)
    one = Pair(replace(found.a, lost_attention=lost), found.b)
    shown = lost_map(one)
    assert shown is not None
    assert (shown.data[0].z == 25).all()
    assert len(lost_chart(one).data) == 1
    assert len(lost_chart(found).data) == 2


def test_a_text_of_one_token_and_one_never_read_are_drawn() -> None:
    single = make_trace(["Word"], np.full((3, 1), ALIVE))
    for found in (Pair(single, single), Pair(single, random_trace(0))):
        assert found.numbers()
        for chart in (map_chart(found, 0), held_chart(found), lost_chart(found)):
            assert chart.layout.height > 0
    assert step_chart(two()).layout.height > 0


# ---- several policies


def under(*names: str) -> Beside:
    """A random text with a made-up drop of each policy."""
    runs = {}
    for seed, name in enumerate(names):
        trace = random_trace(0)
        death = random_trace(seed).death
        zeros = np.zeros(trace.tokens, np.float32)
        runs[name] = replace(
            trace, death=death, margin=np.full_like(trace.margin, np.nan), kl=zeros + seed,
            gates_off_logprob=trace.logprob, lost_attention=np.zeros(death.shape, np.float32),
        )  # fmt: skip
    return Beside(runs, np.arange(trace.tokens, dtype=np.float32))


def test_the_overlap_is_that_of_sets() -> None:
    found = under("gates", "h2o")
    one, two = found.runs["gates"], found.runs["h2o"]
    by_layer = []
    for layer in range(one.layers):
        shares = []
        for step in range(1, one.n_queries):
            # Of the tokens before the step's own, once anything is gone.
            a, b = (set(np.flatnonzero(run.visible(step)[layer, :step])) for run in (one, two))
            if len(a & b) < step:
                shares.append(len(a & b) / max(len(a | b), 1) if a | b else np.nan)
        by_layer.append(np.nanmean(shares))
    assert overlap(one, two) == pytest.approx(np.mean(by_layer))
    assert overlap(one, one) == 1
    dense = replace(one, death=np.full_like(one.death, ALIVE))
    assert overlap(dense, dense) == 1
    last = one.n_queries - 1
    held = [run.visible(last)[:, :last] for run in (one, two)]
    both = (held[0] & held[1]).sum(1) / (held[0] | held[1]).sum(1)
    assert overlap(one, two, last) == pytest.approx(both.mean())


def test_the_verdict_says_who_is_closest_and_who_held_other_counts() -> None:
    table = policy_table(under("gates", "h2o", "window"))
    said = policies_verdict(table)
    assert "closest of 3" in said
    assert "not the closest" not in said
    worse = table.assign(kl=[3.0, 1.0, 2.0], equal=[True, True, False])
    said = policies_verdict(worse)
    assert "not the closest of 3; H2O by 1.000" in said
    assert "Not within 1 % of those entries: Local window" in said


def test_a_run_that_was_stopped_or_is_one_token_is_one_line(
    show: Show, tiny_checkpoint: Callable[..., Path]
) -> None:
    model = open_model(tiny_checkpoint("llama", drop=0.6))
    stopped = Recorder.begin(TextRequest(TEXT, model=model, new_tokens=4), lambda: True).finish()
    with pytest.raises(RequestError, match="stopped before it had read"):
        read_beside(model, stopped, ["window"])
    page = show(lambda t: make_trace(["Word"], np.full((3, 1), ALIVE)))
    for option in ("A's tokens, other policies", "both written on, live"):
        page.selectbox(key="compare-b").set_value(option).run()
        assert not page.exception
        assert "A is a single token" in said(page)


def test_maps_of_policies_are_bytes_under_one_axis_and_say_who_holds() -> None:
    found = under("gates", "h2o", "window")
    figure = policy_maps(found, 30)
    assert [cells.z.dtype for cells in figure.data] == [np.uint8] * 3
    assert "<script" not in figure.to_json()
    against = policy_maps(found, 30, against=True)
    assert len(against.data) == 2
    held = found.first.visible(30).astype(int) - found.runs["h2o"].visible(30)
    assert np.array_equal(against.data[0].z.astype(int) - 1, held)


def test_runs_of_other_tokens_are_no_comparison() -> None:
    one, two = under("gates").first, replace(under("h2o").first)
    other = random_trace(1)
    other = replace(other, kl=two.kl, lost_attention=two.lost_attention)
    with pytest.raises(RequestError, match=r"same tokens|one text"):
        Beside({"gates": one, "h2o": other}, np.zeros(one.tokens, np.float32))


def test_the_bundled_answer_is_of_the_bundled_sample() -> None:
    trace, words = load_sample(sample_names()[0])
    found = ready(trace)
    assert found is not None
    assert {"gates", "none", *CHOICES} == set(found.runs)
    wanted = trace.held().mean()
    for name, run in found.runs.items():
        if name != "none":
            assert abs(run.held().mean() / wanted - 1) <= TOLERANCE
    words_kept = word_table(found, words, trace.n_queries - 1)
    assert words_kept["word"].nunique() > 5
    assert words_kept["held"].between(0, 1).all()
    assert ready(random_trace(0)) is None

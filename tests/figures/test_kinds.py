"""The kinds that are not tables of statistics: masks, rows, gates, costs, results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dcp.errors import RequestError
from dcp.figures.paper import KINDS, Options, Results, draw, page, read_results
from dcp.figures.paper.figure_set import FigureSet
from dcp.figures.paper.policies import _far_off
from dcp.policies.windows import held_entries
from dcp.train.schedule import alpha_at
from dcp.train.sections import GateSettings
from tests.helpers.figures_data import (
    BENCH,
    BUDGETS,
    EVAL,
    FITTED,
    RESULTS,
    TASKS,
    TRAINED,
    draw_kind,
    with_costs,
)
from tests.helpers.traces import design_trace, make_trace, random_trace

PAGE = page("neurips")


def test_fixed_masks_hold_no_fewer_entries_than_the_learned_one_and_hardly_more() -> None:
    trace = design_trace()
    data = draw_kind("masks", [(trace, ())], PAGE, Options(layer=2)).data
    held = data.groupby("mask")["held_entries"].first()
    assert held["adaptive"] == trace.held()[2].sum()
    n = trace.n_queries
    assert held["dense"] == n * (n + 1) / 2
    for name in ("local", "strided", "sink"):
        assert held["adaptive"] <= held[name] <= held["adaptive"] + 2 * n
        death = data[data["mask"] == name]["death"].fillna(2**31 - 1).to_numpy(np.int64)
        assert held_entries(death.astype(np.int32)) == held[name]


def test_the_adaptive_mask_is_who_sees_whom() -> None:
    trace = random_trace(5, layers=2, tokens=63)
    drawn = draw_kind("masks", [(trace, ())], PAGE, Options(layer=1))
    image = drawn.figure.axes[0].images[0].get_array()
    for step in (0, 30, 62):
        assert np.array_equal(image[step].filled(0) > 0, trace.visible(step)[1])


def test_the_diagram_tells_the_rows_of_the_cache() -> None:
    # Token 0 goes when 2 is read, which takes its row; then 1 and 2 go: 4 takes the first, 3 moves.
    death = np.array([[2, 4, 4, -1, -1]])
    trace = make_trace([" a", " b", " c", " d", " e"], death)
    data = draw_kind("diagram", [(trace, ())], PAGE, Options(span=(0, 4))).data
    rows = {
        step: list(zip(part["token"], part["how"], strict=True))
        for step, part in data.groupby("step")
    }
    assert rows[1] == [(0, "kept"), (1, "added")]
    assert rows[2] == [(2, "reused"), (1, "kept")]
    assert rows[3] == [(2, "kept"), (1, "kept"), (3, "added")]
    assert rows[4] == [(4, "reused"), (3, "moved")]


def test_the_diagram_picks_a_span_with_drops_and_keeps_one_it_is_given() -> None:
    trace = design_trace()
    picked = draw_kind("diagram", [(trace, ())], PAGE)
    steps = picked.data["step"].unique()
    assert len(steps) == 12
    assert (picked.data["how"] == "reused").any()
    assert "drops near half" in picked.caption
    given = draw_kind("diagram", [(trace, ())], PAGE, Options(span=(30, 36), layer=3))
    assert sorted(given.data["step"].unique()) == list(range(30, 37))
    assert "layer 3, tokens 30 to 36" in given.caption
    with pytest.raises(RequestError, match="up to 24 tokens"):
        draw_kind("diagram", [(trace, ())], PAGE, Options(span=(0, 24)))


def test_the_gates_solve_their_equation_and_the_schedule_is_that_of_training() -> None:
    data = draw_kind("alpha-sigmoid", [], PAGE).data
    gates = data[data["panel"] == "gate"]
    for alpha, part in gates.groupby("alpha"):
        z, p = part["x"].to_numpy(), part["y"].to_numpy()
        inside = (p > 0) & (p < 1)
        a = alpha - 1
        with np.errstate(divide="ignore"):
            back = np.log(p / (1 - p)) if a == 0 else (p**a - (1 - p) ** a) / a
        assert back[inside] == pytest.approx(z[inside], abs=1e-6)
        if a:
            assert set(p[np.abs(z) > 1 / a]) <= {0.0, 1.0}
    schedule = data[data["panel"] == "schedule"]
    expected = [alpha_at(round(share * 200), 200, GateSettings()) for share in schedule["x"]]
    assert schedule["y"].tolist() == pytest.approx(expected)


def test_cost_shows_the_gates_off_run_and_needs_one() -> None:
    trace = with_costs(design_trace())
    data = draw("cost", [(trace, ())], PAGE).data
    assert trace.kl is not None
    assert trace.gates_off_logprob is not None
    assert trace.lost_attention is not None
    assert np.array_equal(data["kl"], trace.kl)
    change = trace.logprob.astype(float) - trace.gates_off_logprob
    assert data["logprob_change"].to_numpy() == pytest.approx(change, nan_ok=True)
    assert np.array_equal(data["lost_attention_3"], trace.lost_attention[3])
    with pytest.raises(RequestError, match="needs a trace with a gates-off run") as caught:
        draw("cost", [(design_trace(), ())], PAGE)
    assert caught.value.remedy == "gates_off"


def test_throughput_of_a_run_is_its_times_and_its_deaths() -> None:
    trace = design_trace()
    data = draw("throughput", [(trace, ())], PAGE).data
    timed = np.isfinite(trace.step_seconds[: trace.n_queries])
    speed = data["tokens_per_second"].to_numpy()
    assert np.array_equal(np.isfinite(speed), timed)
    assert speed[timed] == pytest.approx(1 / trace.step_seconds[: trace.n_queries][timed])
    entry = trace.meta.memory.entry
    assert data["kv_bytes_live"].tolist() == (trace.held().sum(0) * entry).tolist()
    assert data["kv_bytes_dense"].iloc[-1] == trace.n_queries * trace.layers * entry
    with pytest.raises(RequestError, match="generated tokens"):
        draw("throughput", [(random_trace(1), ())], PAGE)


def test_throughput_of_a_benchmark_keeps_the_batch_with_most_contexts() -> None:
    drawing = draw("throughput", [], PAGE, results=[BENCH])
    assert set(drawing.data["batch"]) == {1}
    assert len(drawing.data) == 12
    assert "batch sizes of the file are left out" in drawing.caption
    lines = [line for line in drawing.figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert {tuple(line.get_ydata()) for line in lines} >= {(125.0, 125.0), (100.0, 100.0)}


def test_contexts_far_apart_stand_on_a_scale_of_doublings() -> None:
    far = [{**row, "context": 64 * row["context"]} for row in BENCH.rows if row["context"] == 127]
    both = draw("throughput", [], PAGE, results=[Results("far.json", (*BENCH.rows, *far))])
    assert {axes.get_xscale() for axes in both.figure.axes} == {"log"}
    near = draw("throughput", [], PAGE, results=[BENCH])
    assert {axes.get_xscale() for axes in near.figure.axes} == {"linear"}


def test_batch_marks_what_fits_into_the_budget_apart_from_the_lines() -> None:
    drawing = draw("batch", [], PAGE, results=[FITTED])
    # The context that has most batches; its rows in the budget with them.
    assert set(drawing.data["context"]) == {63}
    assert len(drawing.data) == 16
    left, right = drawing.figure.axes[:2]
    for axes in (left, right):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert {tuple(line.get_xdata()) for line in lines} == {(1, 2, 4)}
        apart = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert [line.get_xdata()[0] for line in apart] == [3, 12]
        assert all(line.get_linestyle() == "None" for line in apart)
    (rule,) = [line for line in right.lines if list(line.get_ydata()) == [3.5, 3.5]]
    filled = [line.get_ydata()[0] for line in right.lines if len(line.get_xdata()) == 1]
    assert all(0.8 * 3.5 < found <= 3.5 for found in filled)
    assert right.get_ylim()[0] == 0
    assert rule.get_ydata()[0] < right.get_ylim()[1]
    assert [int(tick) for tick in left.get_xticks()] == [1, 2, 4]
    assert "fit into 3.5 MiB of cache (the rule): dense float32 3 rows, 173 tokens/s" in (
        drawing.caption
    )
    assert "80% dropped int8 12 rows" in drawing.caption
    assert "contexts and budgets of the file are left out" in drawing.caption


def test_rows_of_a_budget_are_none_of_a_curve_of_contexts() -> None:
    drawing = draw("throughput", [], PAGE, results=[FITTED])
    assert set(drawing.data["batch"]) == {1}
    assert sorted(set(drawing.data["context"])) == [63, 127]
    assert drawing.data["budget_bytes"].isna().all()


def test_a_bench_without_a_budget_is_drawn_without_a_rule() -> None:
    drawing = draw("batch", [], PAGE, results=[BENCH])
    assert set(drawing.data["context"]) == {127}
    assert "rule" not in drawing.caption


def test_tails_stand_under_the_curve_at_the_speed_of_the_slowest_steps() -> None:
    slow = [{**row, "ms_step_p99": 2e3 / row["tokens_per_second"]} for row in BENCH.rows]
    drawing = draw("throughput", [], PAGE, results=[Results("tails.json", tuple(slow))])
    dashes = [line for line in drawing.figure.axes[0].lines if line.get_marker() == "_"]
    assert {tuple(line.get_ydata()) for line in dashes} >= {(62.5, 62.5), (50.0, 50.0)}
    assert "p99" in drawing.caption
    assert "p99" not in draw("throughput", [], PAGE, results=[BENCH]).caption


def test_training_is_told_a_token_at_every_length() -> None:
    drawing = draw("training", [], PAGE, results=[TRAINED])
    axes = drawing.figure.axes
    assert len(axes) == 4
    for left, right in (axes[:2], axes[2:]):
        curves = {tuple(np.round(line.get_ydata(), 9)) for line in left.lines}
        assert curves == {(2.0,) * 3, (3.0,) * 3, (1.5,) * 3}
        assert {tuple(line.get_ydata()) for line in right.lines} == {(4.0,) * 3}
        assert [int(tick) for tick in right.get_xticks()] == [63, 127, 1000]
    alone = [row for row in TRAINED.rows if row["part"] == "step"]
    assert len(draw("training", [], PAGE, results=[Results("one", tuple(alone))]).figure.axes) == 2
    odd = [{**row, "part": "head"} for row in alone]
    with pytest.raises(RequestError, match="attention and step of up to 3 arms"):
        draw("training", [], PAGE, results=[Results("odd", tuple(odd))])


def test_perplexity_shows_every_series_at_its_own_entries() -> None:
    data = draw_kind("perplexity", [], PAGE).data
    for row in EVAL.rows:
        at = data[(data["context"] == row["context"]) & (data["series"] == "pruned")]
        mine = at[at["perplexity"] == row["ppl_pruned"]]
        assert mine["entries_per_step"].iloc[0] == row["held_entries"] / row["context"]
        # The share of pairs j < t: what the held pairs leave out.
        assert mine["pairs_dropped"].iloc[0] == pytest.approx(row["sparsity"])
    assert set(data["series"]) == {
        *("pruned", "gates off", "dense twin"),
        *("local window", "strided", "sink + window"),
    }
    by_share = draw_kind("perplexity", [], PAGE, Options(axis="sparsity"))
    assert "share of pairs dropped" in by_share.caption
    assert "tiny, weights sha256 abababababab" in by_share.caption


def test_perplexities_far_apart_stand_on_a_scale_of_tenfolds_with_plain_numbers() -> None:
    """Text here is never a formula: matplotlib's own labels of such a scale would show as TeX."""
    for times in (4, 90, 1e6):
        wide = [{**row, "ppl_pruned": row["ppl_pruned"] * times} for row in EVAL.rows]
        results = [Results("wide.json", (*EVAL.rows, *wide))]
        drawing = draw("perplexity", [], PAGE, results=results)
        drawing.figure.draw_without_rendering()
        highest = drawing.data["perplexity"].max()
        for axes in drawing.figure.axes:
            if axes.axison:
                assert axes.get_yscale() == "log"
                assert axes.get_ylim()[1] >= highest
                told = [text.get_text() for text in axes.get_yticklabels(which="both")]
                assert not any("$" in label for label in told)
        left = drawing.figure.axes[0]
        assert len(left.get_yticks()) >= 2
        numbers = [float(t.get_text().replace(",", "")) for t in left.get_yticklabels()]
        assert numbers == pytest.approx(list(left.get_yticks()))


def test_perplexity_without_a_dense_twin_says_so() -> None:
    bare = [{**row, "ppl_dense_finetuned": None, "policies": None} for row in EVAL.rows]
    drawing = draw("perplexity", [], PAGE, results=[Results("bare.json", tuple(bare))])
    assert "no dense twin was given" in drawing.caption
    assert set(drawing.data["series"]) == {"pruned", "gates off"}


def test_an_adapter_s_base_is_one_level_by_its_name() -> None:
    same = [{**row, "ppl_dense_finetuned": row["ppl_gates_off"]} for row in EVAL.rows]
    drawing = draw("perplexity", [], PAGE, results=[Results("same.json", tuple(same))])
    assert not {"gates off", "dense twin"} & set(drawing.data["series"])
    assert "gates off: the base" in set(drawing.data["series"])
    labels = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert labels.count("gates off: the base") == 1
    assert "Dashed level: the base model" in drawing.caption


def test_tasks_show_accuracy_interval_and_chance() -> None:
    drawing = draw_kind("tasks", [], PAGE)
    assert len(drawing.data) == len(TASKS.rows)
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles == ["lambada", "hellaswag", "piqa"]
    assert "3 tasks, 1,000 examples at most each" in drawing.caption
    levels = [axes.lines[0].get_ydata()[0] for axes in drawing.figure.axes]
    assert levels == [0.0, 0.25, 0.5]
    assert [t.get_text() for t in drawing.figure.legends[0].get_texts()] == ["chance", "pruned"]


def test_tasks_of_unequal_size_name_it() -> None:
    rows = [{**row, "n": 40 if row["task"] == "piqa" else 1000} for row in TASKS.rows]
    drawing = draw("tasks", [], PAGE, results=[Results("tasks.json", tuple(rows))])
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles == ["lambada, n = 1,000", "hellaswag, n = 1,000", "piqa, n = 40"]


@pytest.mark.parametrize(("model", "called"), [("dense twin", "dense twin"), ("m", "baseline")])
def test_the_twin_stands_apart_from_the_pruned_model(model: str, called: str) -> None:
    """Of an adapter it is the base, which goes by the adapter's name."""
    shifted = [{**row, "model": "m", "gate_shift": 0.5} for row in TASKS.rows]
    twin = {**TASKS.rows[0], "model": model, "sparsity": 0.0, "gate_shift": None}
    drawing = draw("tasks", [], PAGE, results=[Results("tasks.json", (*shifted, twin))])
    assert drawing.data["twin"].sum() == 1
    _, pruned, alone = drawing.figure.axes[0].lines[:3]
    assert (len(pruned.get_xdata()), list(alone.get_xdata())) == (3, [0.0])
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == [
        "chance",
        "pruned",
        called,
    ]


def test_percents_on_the_axes_of_tasks_are_whole() -> None:
    drawing = draw_kind("tasks", [], PAGE)
    drawing.figure.draw_without_rendering()
    for axes in drawing.figure.axes:
        for tick in axes.get_yticks():
            assert abs(100 * tick - round(100 * tick)) < 1e-9


@pytest.mark.parametrize("kind", ["perplexity", "tasks", "throughput"])
@pytest.mark.parametrize("venue", ["neurips", "cvpr"])
def test_results_are_drawn_at_the_width_of_the_venue(kind: str, venue: str) -> None:
    results = {"perplexity": EVAL, "tasks": TASKS, "throughput": BENCH}[kind]
    sheet = page(venue)
    figure = draw(kind, [], sheet, results=[results]).figure
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] == sheet.width


@pytest.mark.parametrize(
    ("kind", "traces", "results", "message"),
    [
        ("perplexity", 0, (), "give those of an evaluation on a text"),
        ("perplexity", 0, (TASKS,), "needs context, held_entries"),
        ("tasks", 0, (EVAL,), "which eval.json lacks"),
        ("tasks", 1, (TASKS,), "reads no trace"),
        ("alpha-sigmoid", 0, (EVAL,), "reads no results"),
        ("held", 1, (EVAL,), "reads no results"),
        ("held", 0, (), "no trace given"),
        ("training", 0, (BENCH,), "which bench.json lacks"),
        ("batch", 0, (TRAINED,), "which trained.json lacks"),
        ("batch", 0, (), "give those of a benchmark"),
        ("throughput", 1, (BENCH,), "one of the two"),
        ("throughput", 0, (), "one of the two"),
    ],
)
def test_what_a_kind_is_drawn_from_must_be_there_and_nothing_else(
    kind: str, traces: int, results: Any, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        draw(kind, [(design_trace(), ())] * traces, PAGE, results=results)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not json", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "no list of results"),
        (b"[1, 2]", "no list of results"),
        (b'"text"', "no list of results"),
    ],
)
def test_a_damaged_file_of_results_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "eval.json"
    path.write_bytes(data)
    with pytest.raises(RequestError, match=message):
        read_results(path)
    with pytest.raises(RequestError, match="cannot read"):
        read_results(tmp_path / "missing.json")


def test_numbers_that_are_none_are_left_out(tmp_path: Path) -> None:
    rows = [*EVAL.rows[:2], {**EVAL.rows[2], "ppl_pruned": float("nan")}, {"context": True}]
    (tmp_path / "eval.json").write_text(json.dumps(rows))
    data = draw("perplexity", [], PAGE, results=[read_results(tmp_path / "eval.json")]).data
    assert (data["series"] == "pruned").sum() == 2


@pytest.mark.parametrize("palette", ["tol", "grey"])
def test_a_palette_changes_colours_and_no_numbers(palette: str) -> None:
    trace = design_trace()
    for kind in ("held", "heatmap", "masks", "depth"):
        plain, other = (
            draw(kind, [(trace, ())], page("neurips", None, name))
            for name in ("okabe-ito", palette)
        )
        assert plain.data.equals(other.data)
        assert plain.figure.axes[0].get_children()
    assert page("icml", "text", palette).palette != page("icml").palette
    with pytest.raises(RequestError, match="okabe-ito, tol, grey"):
        page("neurips", None, "rainbow")


def test_a_grey_palette_has_no_colour() -> None:
    palette = page("neurips", None, "grey").palette
    shades = [palette.held, palette.drop, palette.gone, *palette.groups, *palette.ramp]
    for shade in (*shades, *palette.depth):
        red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
        assert max(red, green, blue) - min(red, green, blue) <= 8, shade


def test_every_option_a_kind_names_exists() -> None:
    for kind in KINDS.values():
        replace(Options(), **{name: getattr(Options(), name) for name in kind.options})


def test_policies_are_drawn_at_what_they_held_and_the_caption_names_who_held_less() -> None:
    drawing = draw("policies", [], PAGE, results=[BUDGETS])
    axes = drawing.figure.axes
    assert len(axes) == 6
    lines = {line.get_label(): line for line in axes[3].get_lines()}
    assert list(lines) == [
        "Learned gates",
        "Gates, shifted",
        "Local window",
        "Strided",
        "H2O",
        "new",
    ]
    assert lines["Strided"].get_xdata() == pytest.approx([n * 0.8 for n in (64, 128, 256, 512)])
    assert lines["H2O"].get_ydata() == pytest.approx([1 + 40 / n for n in (64, 128, 256, 512)])
    assert "Strided at 64" in drawing.caption
    assert "H2O at" not in drawing.caption
    other = Results("two.json", tuple({**row, "model": "other"} for row in BUDGETS.rows))
    both = draw("policies", [], PAGE, results=[BUDGETS, other]).figure.axes
    # Of several models the longest context of each.
    assert [axes.get_ylabel() for axes in both if axes.get_ylabel()] == [
        "other, 1,024",
        "tiny, 1,024",
    ]
    assert len(both) == 6
    nameless = Results("x.json", ({**BUDGETS.rows[0], "policy": 3},))
    with pytest.raises(RequestError, match="name of a policy"):
        draw("policies", [], PAGE, results=[nameless])


def test_a_policy_that_no_figure_names_is_drawn_by_its_title() -> None:
    row = {**EVAL.rows[0], "policies": [{"policy": "oldest", "held_entries": 900, "ppl": 21.0}]}
    row["policies"].append({"policy": "citrus-shared", "held_entries": 900, "ppl": 22.0})
    row["policies"].append({"policy": "of tomorrow", "held_entries": 900, "ppl": 23.0})
    drawing = draw("perplexity", [], PAGE, results=[Results("one.json", (row,))])
    labels = drawing.figure.axes[0].get_legend_handles_labels()[1]
    assert {"oldest first", "CItruS, shared cache"} <= set(labels)
    assert "of tomorrow" not in set(drawing.data["series"])


def test_the_first_figure_is_thirty_tokens_by_name() -> None:
    trace = design_trace()
    drawing = draw("figure-1", [(trace, ())], PAGE)
    assert drawing.kind == "figure-1"
    assert drawing.data["token"].nunique() == 30
    labels = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()]
    first = int(drawing.data["token"].min())
    assert labels[0] == trace.pieces()[first].strip()
    # It ends at the step that is asked for.
    asked = draw("figure-1", [(trace, ())], PAGE, Options(step=40))
    assert (asked.data["token"].min(), asked.data["token"].max()) == (11, 40)
    assert draw("figure-1", [(random_trace(1, tokens=9), ())], PAGE).data["token"].nunique() == 9


def test_the_diagram_begins_with_a_sentence_where_it_can() -> None:
    pieces = [" x", "yz", " q", ".", *(f" w{i}" for i in range(14))]
    rng = np.random.default_rng(0)
    death = np.full((1, len(pieces)), -1)
    death[0, : len(pieces) - 3] = np.arange(len(pieces) - 3) + rng.integers(1, 3, len(pieces) - 3)
    trace = make_trace(pieces, death)
    data = draw_kind("diagram", [(trace, ())], PAGE).data
    assert data["step"].min() in (0, 4)


def test_marks_of_one_layer_stand_over_its_number() -> None:
    axes = draw("depth", [(design_trace(), ())], PAGE).figure.axes[0]
    for line in axes.lines:
        assert np.array_equal(line.get_xdata(), np.arange(design_trace().layers))


def test_a_median_that_was_not_reached_is_marked() -> None:
    # Layer 0 drops everything soon, layer 1 nothing.
    death = np.stack([np.arange(60) + 2, np.full(60, -1)])
    death[0, 58:] = -1
    drawing = draw("ages", [(make_trace([" a"] * 60, death), ())], PAGE, Options(source="both"))
    late = [line for line in drawing.figure.axes[0].lines if line.get_marker() == ">"]
    assert [list(line.get_ydata()) for line in late] == [[1]]
    assert "arrow: half were not dropped" in drawing.caption


def test_a_short_caption_is_the_first_sentence_of_the_full_one() -> None:
    drawing = draw("depth", [(design_trace(), ())], PAGE)
    assert drawing.caption.startswith(drawing.short)
    assert drawing.short.endswith(".")
    assert "Model" not in drawing.short


def test_the_running_speed_does_not_begin_with_one_slow_step() -> None:
    trace = design_trace()
    seconds = trace.step_seconds.copy()
    timed = np.flatnonzero(np.isfinite(seconds[: trace.n_queries]))
    seconds[timed], seconds[timed[0]] = 0.01, 0.5
    axes = draw("throughput", [(replace(trace, step_seconds=seconds), ())], PAGE).figure.axes[0]
    running = next(line for line in axes.lines if str(line.get_label()).startswith("median"))
    assert running.get_ydata() == pytest.approx(100)


def test_policies_far_off_do_not_press_the_others_flat() -> None:
    data = pd.DataFrame(
        {"policy": ["gates", "sink", "keynorm"] * 2, "kl": [0.1, 0.2, 1.6, 0.02, 0.03, 0.3]}
    )
    assert _far_off(data, "kl") == ["keynorm"]
    more = pd.concat([data, pd.DataFrame({"policy": ["window"] * 2, "kl": [1.2, 0.5]})])
    assert _far_off(more, "kl") == ["window", "keynorm"]
    assert _far_off(data.assign(kl=data["kl"].clip(upper=0.3)), "kl") == []
    assert _far_off(data[data["policy"] != "sink"], "kl") == []


def test_a_line_through_two_models_is_refused() -> None:
    for kind, own in {"perplexity": EVAL, "tasks": TASKS, "training": TRAINED}.items():
        other = replace(own, rows=tuple({**row, "model": "another"} for row in own.rows))
        mine = replace(own, rows=tuple({**row, "model": "one"} for row in own.rows))
        draw(kind, [], PAGE, results=[mine])
        with pytest.raises(RequestError, match=f"{kind} draws one model .* another, one"):
            draw(kind, [], PAGE, results=[mine, other])


def test_each_kind_finds_its_results_among_those_of_all_commands() -> None:
    reads_results = {name for name, kind in KINDS.items() if kind.reads in ("results", "either")}
    assert reads_results == RESULTS.keys() == {name for name, kind in KINDS.items() if kind.sign}
    for kind, own in RESULTS.items():
        others = [each for k, each in RESULTS.items() if KINDS[k].sign != KINDS[kind].sign]
        figures = FigureSet(results=[own, *others])
        assert figures.order(kind).results == [own.name]
        assert figures.draw(kind).kind == kind

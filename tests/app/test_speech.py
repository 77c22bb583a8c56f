"""The page about parts of speech: from a sample, over several texts, from a study; what it says."""

from __future__ import annotations

import inspect
import lzma
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import dcp.ui.services
import dcp.ui.speech.study
from dcp.deaths import ALIVE
from dcp.errors import TraceError
from dcp.figures.screen.speech import rate_chart, survival_chart
from dcp.figures.screen.speech_behind import token_chart
from dcp.speech.english import looks_english
from dcp.stats import drop_table_with_controls
from dcp.stats.groups import group_names
from dcp.stats.intervals import few_clusters
from dcp.stats.pooled import HORIZONS, pool
from dcp.stats.rates import FEW, MIN_WORDS
from dcp.stats.study_file import to_json
from dcp.ui.session import Session, Shown
from dcp.ui.speech import source
from dcp.ui.speech.finding import finding
from dcp.ui.speech.source import Filters, Live
from dcp.ui.speech.study import Saved, open_study, reference, studies
from tests.app.conftest import plain_words
from tests.helpers.traces import make_trace
from tests.stats.test_stats import random_sample, sample_of
from tests.stats.test_triggers import lines

Open = Callable[..., AppTest]


def session(page: AppTest) -> Session:
    found: Session = page.session_state["session"]
    return found


def at_speech(page: AppTest) -> AppTest:
    return page.switch_page("pages/speech.py").run()


def captions(page: AppTest) -> str:
    return " ".join(line.value for line in [*page.caption, *page.markdown])


def shown(page: AppTest) -> pd.DataFrame:
    """The table of rates, which is the last."""
    found: pd.DataFrame = page.dataframe[-1].value
    return found


def test_the_page_tells_the_sample_s_statistics(open_page: Open) -> None:
    page = at_speech(open_page())
    assert not page.exception
    page.radio(key="speech-grain-one").set_value("pos").run()
    page.slider(key="speech-horizon").set_value(16).run()
    page.toggle(key="speech-table").set_value(True).run()
    run = session(page).shown
    wanted = drop_table_with_controls(
        [(run.trace, run.words)], horizon=16, source="both", pieces="all", least=1
    )
    pd.testing.assert_frame_equal(shown(page), wanted, check_dtype=False)
    assert set(shown(page).arm) == {"gates", "random", "oldest"}
    assert "as if all words of a block had one fate" in captions(page)
    assert "Words of the text given and of what the model wrote, one text" in captions(page)
    # The result comes first, in a sentence.
    assert " go first, " in captions(page)


def test_every_filter_changes_the_table_and_the_line_that_says_what_is_shown(
    open_page: Open,
) -> None:
    page = at_speech(open_page())
    page.toggle(key="speech-table").set_value(True).run()
    layers = session(page).shown.trace.layers
    seen = [(shown(page), captions(page))]
    for change in (
        lambda: page.slider(key="speech-horizon").set_value(5),
        lambda: page.radio(key="speech-source-3").set_value("prompt"),
        lambda: page.radio(key="speech-grain-one").set_value("pos"),
        lambda: page.selectbox(key=f"speech-layer-{layers}").set_value(3),
        lambda: page.selectbox(key="speech-pieces").set_value("single"),
    ):
        change().run()
        assert not page.exception
        seen.append((shown(page), captions(page)))
    for (before, said), (after, says) in pairwise(seen):
        assert not before.equals(after)
        assert said != says


def test_the_words_behind_a_group_can_be_chosen(open_page: Open) -> None:
    page = at_speech(open_page())
    page.selectbox(key="speech-group").set_value("naming").run()
    listed: pd.DataFrame = page.dataframe[0].value
    run = session(page).shown
    nouns = {word.text for word in run.words if word.pos in ("NOUN", "PROPN", "ADJ")}
    assert len(listed) > 5
    assert set(listed.word) <= nouns
    assert listed.times.is_monotonic_decreasing


@pytest.mark.parametrize("pause", [0.05], indirect=True)
def test_the_page_waits_for_a_run_and_then_shows_it(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="new_tokens").set_value(48).run()
    page.button(key="generate").click().run()
    at_speech(page)
    assert "follow when the run has ended" in captions(page)
    end = time.monotonic() + 20
    run = session(page)
    while run.work.job is not None:
        assert time.monotonic() < end
        time.sleep(0.05)
        # What the line above all pages does in the app (tests/app/test_pages.py).
        status = run.work.job.status()
        if status.settled:
            run.end(status)
    page.run()
    assert "one text, of any length" in captions(page)
    assert session(page).shown.origin == "run"


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        (sample_of(np.full((2, 1), -1)), "single token"),
        (sample_of(np.full((2, 60), -1)), "Nothing was dropped"),
        ((random_sample(0)[0], []), "no whole word"),
    ],
)
def test_texts_with_nothing_to_say_get_a_line(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, sample: Any, line: str
) -> None:
    page = open_page()
    monkeypatch.setattr(dcp.ui.services, "tag", lambda trace: [])
    session(page).show(sample[0], sample[1], "upload", "")
    at_speech(page)
    # A text without words is tagged in the worker's line, and the page asks for it again.
    end = time.monotonic() + 20
    while (task := session(page).work.task) is not None and task.status().active:
        assert time.monotonic() < end
        time.sleep(0.05)
    page.run()
    assert not page.exception
    assert line in captions(page)
    session(page).shown = Shown()
    page.run()
    assert "no text to count yet" in captions(page)


def test_a_text_in_which_everything_is_dropped_is_shown(open_page: Open) -> None:
    death = np.minimum(np.arange(60) + 1, 59)[None].repeat(2, 0)
    death[:, 59] = -1
    page = open_page()
    session(page).show(*sample_of(death), "upload", "")
    assert not at_speech(page).exception
    assert "of any length" in captions(page)


def test_several_texts_are_read_and_pooled(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dcp.study

    samples = {f"text {i}": random_sample(i, tokens=80) for i in range(3)}

    def plan(file: Path, text: str, model: Any) -> Any:
        return None, text.split("\n\n")

    def record(window: str, plan: Any, model: Any, cancel: Any) -> Any:
        return samples[window.strip()][0]

    monkeypatch.setattr(dcp.study, "make_plan", plan)
    monkeypatch.setattr(dcp.study, "record_window", record)
    monkeypatch.setattr(dcp.ui.services, "_open", lambda name: None)
    page = at_speech(open_page())
    page.segmented_control(key="speech-where").set_value("Several texts").run()
    page.button(key="speech-read").click().run()
    assert [text.value for text in page.text] == ["There is no text yet: type some, or add a file."]
    page.text_area(key="speech-texts").set_value("text 0\n\ntext 1\n\ntext 2").run()
    page.button(key="speech-read").click().run()
    end = time.monotonic() + 20
    while "given, 3 texts" not in captions(page):
        assert time.monotonic() < end, captions(page)
        time.sleep(0.05)
        page.run()
    assert not page.exception
    assert "95 % intervals over few texts (below 10 very wide" in captions(page)


# ---- where tables come from


def few(tokens: int = 150) -> list[Any]:
    return [random_sample(i, layers=2, tokens=tokens, prompt=tokens - 40) for i in range(3)]


def test_a_saved_study_gives_the_tables_of_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    from dcp.stats.study_file import from_json

    # The tables themselves: their cache belongs to a session, and here is none.
    monkeypatch.setattr(source, "_live", inspect.unwrap(source._live))
    samples = few()
    saved = Saved("s", from_json(to_json(pool(samples, n_boot=50))))
    live = Live("l", samples)
    assert saved.texts == live.texts == 3
    assert saved.layers == live.layers == 2
    assert saved.sources == ("prompt", "generated")
    assert saved.horizons == HORIZONS
    for ask in (
        Filters("pos", 32, "prompt", "single", None),
        Filters("group", 8, "generated", "all", 1),
    ):
        for what in ("rates", "by_layer", "triggers", "hazard", "noise"):
            if what == "noise" and ask.layer is not None:
                continue
            ours, theirs = getattr(saved, what)(ask), getattr(live, what)(ask)
            assert ours["group"].tolist() == theirs["group"].tolist(), what
            value = {"triggers": "ratio", "hazard": "adjusted"}.get(what, "drop_rate")
            wanted = theirs[value]
            if what in ("rates", "by_layer"):
                # A study leaves out what has few words; live tables show it as such.
                wanted = wanted.where(theirs["words"] >= MIN_WORDS)
            assert ours[value].to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-3, nan_ok=True)
        curve = live.curves(ask)
        for _, point in saved.curves(ask).iterrows():
            same = curve[(curve["group"] == point["group"]) & (curve.age == point.age)]
            assert same.survival.to_numpy() == pytest.approx([point.survival], rel=1e-3)
    every = Filters("pos", 32, "prompt", "all", None)
    nouns = saved.words(every, "NOUN")
    assert nouns.times.sum() <= live.words(every, "NOUN").times.sum()
    assert len(nouns) == min(40, nouns.spellings[0])


def test_tokens_of_a_saved_study_are_those_of_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    from dcp.stats.study_file import from_json

    monkeypatch.setattr(source, "_live", inspect.unwrap(source._live))
    samples = [lines()]
    saved = Saved("s", from_json(to_json(pool(samples, n_boot=50))))
    ask = Filters("group", 32, "prompt", "single", None)
    ours, theirs = saved.tokens(ask), Live("l", samples).tokens(ask)
    assert ours["group"].tolist() == theirs["group"].tolist() == ["⏎", "."]
    assert ours["ratio"].to_numpy() == pytest.approx(theirs["ratio"].to_numpy(), rel=1e-3)
    # A study has them of all layers together.
    assert saved.tokens(replace(ask, layer=0)).empty
    assert Live("l", samples).tokens(replace(ask, layer=0))["group"].tolist() == ["⏎", "."]


def test_a_study_is_offered_and_shown_without_a_trace(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = pool(few(), n_boot=50)
    (tmp_path / "tiny.study.json").write_text(to_json(study))
    monkeypatch.setattr(dcp.ui.speech.study, "_FOLDER", tmp_path)
    page = at_speech(open_page())
    session(page).shown = Shown()
    page.segmented_control(key="speech-where").set_value("Validation study: tiny").run()
    assert not page.exception
    assert "Words of 3 texts, of any length" in captions(page)
    assert "No intervals: too few texts." in captions(page)
    assert "that you wrote" not in captions(page)
    assert "Model model" not in captions(page)
    (tmp_path / "tiny.study.json").write_text("[1, 2]")
    page.run()
    assert not page.exception
    assert any("not a study" in text.value for text in page.text)


def test_a_study_may_be_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcp.ui.speech.study, "_FOLDER", tmp_path)
    text = to_json(pool(few(), n_boot=50))
    (tmp_path / "study.json").write_text(text)
    packed = tmp_path / "other.study.json.xz"
    packed.write_bytes(lzma.compress(text.encode()))
    found = studies()
    assert list(found) == ["Validation study: other", "Validation study: dcp-mini"]
    one, other = (open_study(str(path), path.stat().st_mtime) for path in found.values())
    assert one.study.about == other.study.about
    assert one.study.rates.equals(other.study.rates)
    for damage in (packed.read_bytes()[:-40], b"not xz"):
        packed.write_bytes(damage)
        with pytest.raises(TraceError, match=r"other\.study\.json\.xz is damaged"):
            open_study(str(packed), hash(damage))


def test_a_study_of_the_same_weights_alone_stands_behind_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = few()
    weights = samples[0][0].meta.weights_sha256
    (tmp_path / "tiny.study.json").write_text(to_json(pool(samples, n_boot=50)))
    (tmp_path / "broken.study.json").write_text("[1, 2]")
    monkeypatch.setattr(dcp.ui.speech.study, "_FOLDER", tmp_path)
    found = reference(weights, Filters("group", 32, "both", "all", None))
    assert found is not None
    table, texts = found
    assert texts == 3
    assert set(table.arm) == {"gates"}
    assert set(table.source) == {"prompt"}
    assert reference("f" * 64, Filters("group", 32, "both", "all", None)) is None
    # A study has fixed horizons: no rate is made up between two of them.
    assert reference(weights, Filters("group", 31, "both", "all", None)) is None


def test_live_words_are_tagged_once(open_page: Open) -> None:
    page = open_page()
    run = session(page)
    run.show(random_sample(3)[0], (), "upload", "")
    at_speech(page)
    end = time.monotonic() + 20
    while not run.shown.words and time.monotonic() < end:
        page.run()
    assert run.shown.words == plain_words(run.shown.trace)


def test_few_words_are_hollow_with_wide_intervals_and_their_count() -> None:
    table = drop_table_with_controls([few()[0]], "group", least=1, source="prompt", pieces="all")
    scarce = table.copy()
    scarce["words"] = 7
    names = group_names("group")
    for rows, hollow in ((table, table.words < MIN_WORDS), (scarce, scarce.words < MIN_WORDS)):
        figure = rate_chart(rows, names, 32, "k")
        gates = rows[rows.arm == "gates"].set_index("group")
        for bar in (trace for trace in figure.data if trace.type == "bar"):
            few_words = gates.loc[bar.y[0], "words"] < MIN_WORDS
            assert (bar.marker.line.width > 0) == few_words
        assert hollow.any() or rows is table
    assert any("7 words, few" in str(note.text) for note in figure.layout.annotations)
    behind = rate_chart(table, names, 32, "k", (table[table.arm == "gates"], 331))
    assert [t.name for t in behind.data if t.name].count("validation study, 331 texts") == 1


def test_a_group_of_few_words_has_the_interval_of_as_many_blocks_of_one_fate() -> None:
    sample = random_sample(0, layers=8, tokens=60, prompt=60)
    table = drop_table_with_controls([sample], "pos", least=1, source="both", pieces="all")
    scarce = table[(table.words < MIN_WORDS) & table.drop_rate.notna()]
    assert len(scarce)
    assert set(scarce.interval) == {FEW}
    for row in scarce.itertuples():
        # 60 steps are one block.
        assert (row.ci_low, row.ci_high) == few_clusters(row.drop_rate, 1)
        assert row.ci_low <= row.drop_rate <= row.ci_high


@pytest.mark.parametrize(
    ("rates", "words", "said"),
    [
        ([0.8, 0.4], [40, 40], "Their intervals do not overlap."),
        ([0.8, 0.75], [40, 40], "Their intervals overlap: it may be chance."),
        ([0.8, 0.4], [40, 3], "Only nouns, adjectives occur 20 times"),
        ([0.8, 0.4], [2, 3], "what they show may be chance"),
        ([0.0, 0.0], [40, 40], "No word of these kinds was dropped"),
    ],
)
def test_the_first_sentence_says_what_the_intervals_allow(
    rates: list[float], words: list[int], said: str
) -> None:
    rate = np.array(rates)
    table = pd.DataFrame(
        {
            "arm": "gates", "group": ["naming", "function"], "words": words,
            "drop_rate": rate, "ci_low": rate - 0.1, "ci_high": rate + 0.1, "interval": "texts",
        }
    )  # fmt: skip
    assert said in finding(table, group_names("group"), 32)
    tags = finding(table.replace({"naming": "NOUN", "function": "DET"}), group_names("pos"), 32)
    # A sentence begins with a capital, and a tag keeps all of its own.
    assert "go first" not in tags or re.match("(NOUN|DET) words go first", tags)


def test_tokens_are_charted_as_text_whatever_they_spell() -> None:
    table = pd.DataFrame(
        {
            "group": ["<b>bold</b>", "NOUN", "42"], "queries": 30, "ratio": [4.0, 2.0, 0.5],
            "ci_low": np.nan, "ci_high": np.nan, "null_low": 0.8, "null_high": 1.2,
            "drops_per_query": [8.0, 4.0, 1.0], "base_rate": 2.0,
        }
    )  # fmt: skip
    figure = token_chart(table, "k")
    assert "<b>" not in "".join(figure.layout.yaxis.ticktext)
    assert "bold" in figure.layout.yaxis.ticktext[-1]
    points = [t for t in figure.data if t.mode == "markers"]
    assert [t.x[0] for t in points] == [4.0, 2.0, 0.5]
    assert all("<b><b>" not in t.hovertemplate for t in points)
    assert len({t.marker.color for t in points}) == 1


def test_survival_lines_differ_in_dash_and_mark_as_well_as_in_colour() -> None:
    ages = np.arange(40)
    parts = [
        pd.DataFrame(
            {"group": name, "words": 30, "age": ages, "survival": 0.9**ages,
             "ci_low": np.nan, "ci_high": np.nan}
        )
        for name in group_names("group")
    ]  # fmt: skip
    figure = survival_chart(pd.concat(parts), group_names("group"), "k")
    lines = [t for t in figure.data if t.mode == "lines"]
    marks = [t for t in figure.data if t.mode == "markers"]
    assert len({line.line.dash for line in lines}) == len(lines) == len(parts)
    assert len({mark.marker.symbol for mark in marks}) == len(parts)


def test_a_text_in_another_language_is_said_to_be_tagged_badly(open_page: Open) -> None:
    page = open_page()
    assert looks_english(session(page).shown.trace.text)
    assert "unreliable" not in " ".join(text.value for text in at_speech(page).text)
    german = "Der Fluss stieg drei Tage lang und fiel dann wieder, wie im Jahr zuvor auch schon. "
    pieces = re.findall(r"\s*\S+", german * 3)
    foreign = make_trace(pieces, np.full((2, len(pieces)), ALIVE))
    session(page).show(foreign, plain_words(foreign), "upload", "")
    assert "unreliable" in " ".join(text.value for text in at_speech(page).text)

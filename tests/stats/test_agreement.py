"""Jaccard of held sets: by hand, by chance, and what cannot be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.figures.paper import Results, draw, page
from dcp.stats.agreement import ALL, agreement, named
from dcp.stats.controls import control_trace
from dcp.trace import Trace
from tests.helpers.traces import make_trace, random_trace

A = ALIVE


def by_policy(trace: Trace, name: str, budget: int | None = None) -> Trace:
    return replace(trace, meta=replace(trace.meta, policy=name, budget=budget))


def test_small_sets_by_hand() -> None:
    words = [" a", " b", " c", " d", " e"]
    one = make_trace(words, np.array([[2, 4, -1, -1, -1]]))
    two = make_trace(words, np.array([[3, 2, -1, -1, -1]]))
    found = agreement({"x": one, "y": two})
    # Step 2: {b} and {a}; step 3: {b, c} and {c}; step 4: {c, d} and {c, d}.
    pair = found.jaccard["x", "y"][0]
    assert np.isnan(pair[:2]).all()
    assert pair[2:].tolist() == [0, 0.5, 1]
    assert np.array_equal(found.jaccard[ALL, ALL], found.jaccard["x", "y"], equal_nan=True)
    # Half of two tokens each: both have one with 1/4, either with 3/4.
    assert found.chance["x", "y"][0, 2] == pytest.approx(1 / 3)
    tokens = found.tokens().set_index("token")
    assert tokens.loc[0, ["held_by_all", "dropped_by_all"]].tolist() == [0.25, 0.5]
    assert tokens.loc[2, "held_by_all"] == 1
    assert tokens.loc[1, "split"] == pytest.approx(2 / 3)
    table = found.table()
    assert len(table) == 2
    assert table["jaccard"].tolist() == [0.5, 0.5]
    assert found.table(3)["last"].tolist() == [2, 4, 2, 4]


def test_a_trace_agrees_with_itself_and_random_sets_by_chance() -> None:
    trace = random_trace(3, layers=3, tokens=300)
    same = agreement({"a": trace, "b": trace}).table()
    assert same["jaccard"].to_numpy() == pytest.approx(1)
    # Three rules that drop two thirds of what there is at step 200, whichever.
    apart, rng = [], np.random.default_rng(0)
    for _ in "abc":
        death = np.full_like(trace.death, A)
        death[:, :200][rng.random((3, 200)) < 2 / 3] = 200
        margin = np.full_like(trace.margin, np.nan)
        apart.append(replace(trace, death=death, margin=margin))
    found = agreement(dict(zip("abc", apart, strict=True)))
    for pair, jaccard in found.jaccard.items():
        assert jaccard[:, 200].mean() == pytest.approx(found.chance[pair][:, 200].mean(), abs=0.04)
    # Held by all: 1/27 of them, by any: 19/27.
    assert found.chance[ALL, ALL][:, 200].mean() == pytest.approx(1 / 19, abs=0.01)


def test_traces_are_compared_as_far_as_their_tokens_go_together() -> None:
    one = random_trace(3, layers=2, tokens=63)
    ids = one.token_ids.copy()
    ids[40:] = (ids[40:] + 1) % 256
    other = replace(one, token_ids=ids)
    assert agreement({"a": one, "b": other}).steps == 40
    assert list(named([by_policy(one, "tova", 8), by_policy(one, "tova", 9), one, one])) == [
        "tova 8",
        "tova 9",
        "gates #3",
        "gates #4",
    ]
    strange = replace(one, token_ids=(one.token_ids + 1) % 256)
    never = replace(one, death=np.full_like(one.death, A), margin=np.full_like(one.margin, np.nan))
    for traces, message in (
        ({"a": one}, "two policies or more"),
        ({"a": one, "b": strange}, "different texts"),
        ({"a": one, "b": random_trace(1, layers=4, tokens=63)}, "numbers of layers"),
        ({"a": never, "b": never}, "none of these traces drops"),
    ):
        with pytest.raises(RequestError, match=message):
            agreement(traces)


def test_the_command_line_and_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = random_trace(3, layers=3, tokens=100)
    paths = []
    for name in ("gates", "tova", "h2o"):
        path = tmp_path / f"{name}.safetensors"
        by_policy(control_trace(trace, "random", seed=len(name)), name).save(path)
        paths.append(str(path))
    assert main(["agree", *paths, "--every", "25", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["a"] for row in rows} == {"gates", "tova", "all"}
    assert {row["first"] for row in rows} <= {0, 25, 50, 75}
    found = draw("agreement", [], page("icml"), results=[Results("agree.json", tuple(rows))])
    labels = [label.get_text() for label in found.figure.axes[1].get_yticklabels()]
    assert labels == ["TOVA", "H2O"]
    assert "would agree in" in found.caption
    assert len(found.data) == len(rows)
    assert main(["agree", paths[0]]) == 2
    assert "two policies or more" in capsys.readouterr().err
    assert main(["agree", *paths]) == 0
    assert "held by all" in capsys.readouterr().err

"""Files of results that somebody else wrote: a figure or one line, whatever stands in them."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import pytest

from dcp.errors import RequestError
from dcp.figures.paper.catalogue import draw
from dcp.figures.paper.presets import page
from dcp.figures.paper.request import Drawing
from dcp.figures.paper.results import parse_results
from dcp.figures.paper.style import preview

PAGE = page("neurips")
POLICY = {"policy": "window", "held_entries": 1e3, "ppl": 21.0, "bits_per_byte": 1.1}
SETTING: dict[str, Any] = {
    "context": 1024, "held_entries": 1e3, "ppl_pruned": 20.0, "ppl_gates_off": 19.0,
    "ppl_dense_finetuned": 18.0, "bits_per_byte_gates_off": 1.0, "tokens": 100, "model": "m",
    "policies": [POLICY],
}  # fmt: skip
TASK = {
    "task": "lambada", "sparsity": 0.5, "accuracy": 0.4, "ci_low": 0.3, "ci_high": 0.5, "n": 100,
    "chance": 0.1, "gate_shift": 0.0, "model": "m",
}  # fmt: skip
STRANGE: list[Any] = [
    None, True, "x", [1], {}, math.nan, math.inf, -3, 0, 0.5, 1e300, 10**18, 10**400,
]  # fmt: skip


def drawn(kind: str, *rows: dict[str, Any]) -> Drawing | None:
    """The drawing, painted too; None for a refusal in one line."""
    results = parse_results("theirs.json", json.dumps(rows).encode())
    line = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers of any size overflow any axis
        try:
            made = draw(kind, [], PAGE, results=[results])
            preview(made.figure, PAGE)
            return made
        except RequestError as wrong:
            line = str(wrong)
    assert line
    assert "\n" not in line
    return None


@pytest.mark.parametrize("name", sorted(SETTING))
def test_perplexity_of_anything(name: str) -> None:
    for strange in STRANGE:
        drawn("perplexity", SETTING, {**SETTING, name: strange})
    drawn("perplexity", {key: value for key, value in SETTING.items() if key != name})


@pytest.mark.parametrize("name", ["policy", "held_entries", "ppl", "bits_per_byte"])
def test_a_policy_that_cannot_be_read_is_left_out(name: str) -> None:
    for strange in (None, [1], 10**400, math.nan):
        made = drawn("perplexity", {**SETTING, "policies": [{**POLICY, name: strange}]})
        assert made is not None
        known = "local window" in set(made.data["series"])
        assert known == (name == "bits_per_byte")


@pytest.mark.parametrize("name", sorted(TASK))
def test_tasks_of_anything(name: str) -> None:
    for strange in STRANGE:
        drawn("tasks", TASK, {**TASK, "gate_shift": None, name: strange})
    drawn("tasks", {key: value for key, value in TASK.items() if key != name})


def test_tokens_that_differ_are_a_span() -> None:
    made = drawn("perplexity", SETTING, {**SETTING, "context": 256, "tokens": 8160})
    assert made is not None
    assert "2 settings, 100 to 8,160 scored tokens each" in made.caption


def test_levels_that_differ_between_panels_are_all_named() -> None:
    base = {**SETTING, "context": 256, "ppl_dense_finetuned": 19.0}
    made = drawn("perplexity", base, {**SETTING, "ppl_dense_finetuned": None})
    assert made is not None
    names = {text.get_text() for text in made.figure.legends[0].get_texts()}
    assert {"gates off", "gates off: the base"} <= names
    assert "the base model" in made.caption
    assert "dotted level" in made.caption

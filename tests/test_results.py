"""The numbers in the README, the results page and the card are those of the results files."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CARD = "assets/models/dcp-mini/README.md"


def rows_of(path: str, heading: str) -> list[list[str]]:
    """The cells of the table in ``path`` whose first header is ``heading``."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading}"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def measured() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (ROOT / "assets/results/perplexity.json").read_text(encoding="utf-8")
    )
    return found


def at(percent: int, context: int = 1024) -> dict[str, Any]:
    """The one measured setting that dropped so many per cent."""
    (row,) = (
        row
        for row in measured()
        if row["context"] == context and round(100 * row["sparsity"]) == percent
    )
    return row


def numbers(cell: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", cell)]


def best(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = min(row["policies"], key=lambda each: each["ppl"])
    return found


@pytest.mark.parametrize("path", ["README.md", "docs/results.md"])
def test_the_table_of_sparsities_is_the_results_file(path: str) -> None:
    rows = rows_of(path, "earlier tokens dropped")
    assert len(rows) >= 3
    for cells in rows:
        row = at(int(numbers(cells[0])[0]))
        held, dense = numbers(cells[1])
        assert held == round(row["held_entries"] / row["context"])
        assert dense == row["dense_entries"] // row["context"]
        ratios = [row["ppl_ratio"], row["ppl_ratio_low"], row["ppl_ratio_high"]]
        assert numbers(cells[2]) == [round(ratio, 3) for ratio in ratios]
        rival = best(row)
        assert numbers(cells[3]) == [round(rival["ppl"] / row["ppl_dense_finetuned"], 3)]
        assert rival["policy"] in cells[3]
        if len(cells) > 4:
            ends = ("pruned_over_policy", "pruned_over_policy_low", "pruned_over_policy_high")
            assert numbers(cells[4]) == [round(rival[end], 3) for end in ends]


def test_the_card_lists_every_eviction_that_was_measured() -> None:
    rows = rows_of(CARD, "context")
    assert len(rows) == sum(len(row["policies"]) for row in measured())
    for cells in rows:
        shift = float(cells[1].replace("−", "-").replace("+", ""))
        (row,) = (
            row
            for row in measured()
            if row["context"] == int(cells[0]) and row["gate_shift"] == shift
        )
        name, size = cells[5].split()
        (rival,) = (
            each
            for each in row["policies"]
            if each["policy"] == name and each["window"] == int(size)
        )
        assert float(cells[7]) == round(rival["ppl"] / row["ppl_dense_finetuned"], 3)
        assert numbers(cells[8])[0] == round(rival["pruned_over_policy"], 3)


def test_the_card_s_dial_is_the_calibration() -> None:
    config = json.loads((ROOT / "assets/models/dcp-mini/dcp_config.json").read_text())
    rows = rows_of(CARD, "gate shift δ")
    assert len(rows) == len(config["calibration"])
    for cells, point in zip(rows, config["calibration"], strict=True):
        assert float(cells[0].replace("−", "-").replace("+", "")) == point["delta"]
        assert numbers(cells[1]) == [round(100 * point["sparsity"], 1)]
        assert numbers(cells[5])[0] == round(point["perplexity_ratio"], 3)


def test_how_much_is_layer_budget_is_the_results_file() -> None:
    (row,) = json.loads((ROOT / "docs/layer_budgets.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    pruned, *cells = rows_of("docs/results.md", "as shipped (δ = 0)")
    assert numbers(pruned[1]) == rounded(row["pruned_over_gates_off"])
    assert len(cells) == len(row["rivals"])
    for (name, over_off, over_rival), rival in zip(cells, row["rivals"], strict=True):
        assert rival["policy"] in name
        assert (rival["layers"] == "as gates") == ("as the gates'" in name)
        assert (rival["equal"] == "bytes") == ("equal bytes" in name)
        assert numbers(over_off) == rounded(rival["policy_over_gates_off"])
        assert numbers(over_rival) == rounded(rival["pruned_over_policy"])
        # The ratio again, from what every document cost.
        ours, theirs = sum(row["document_nats"]["pruned"]), sum(rival["document_nats"])
        ratio = math.exp((ours - theirs) / sum(row["document_tokens"]))
        assert ratio == pytest.approx(rival["pruned_over_policy"][0], abs=1e-5)
    equal, own = (math.log(each["pruned_over_policy"][0]) for each in row["rivals"][:2])
    share = round(100 * own / equal)
    assert f"{100 - share} % is the layers' budget and {share} % the choice of tokens" in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    low, middle, high = sorted(row["rivals"][1]["pruned_over_policy"])
    assert f"pruned {middle:.3f} ({low:.3f}–{high:.3f}) of their perplexity" in readme


def rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def test_a_table_that_says_something_else_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.test_results as here

    wrong = measured()
    for row in wrong:
        row["ppl_ratio"] += 0.01
    monkeypatch.setattr(here, "measured", lambda: wrong)
    with pytest.raises(AssertionError):
        here.test_the_table_of_sparsities_is_the_results_file("README.md")

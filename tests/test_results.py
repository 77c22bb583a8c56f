"""The numbers in the README, the results page and the card are those of the results files."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from dcp.stats.study_file import from_json, intervals_said
from tests.helpers.tables import ROOT, numbers, rows_of

CARD = "assets/models/dcp-mini/README.md"


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


def test_the_card_s_shares_of_short_texts_are_the_configuration_s() -> None:
    shares = json.loads((ROOT / "assets/models/dcp-mini/dcp_config.json").read_text())["shares"]
    (own,) = (row[1:] for row in shares["rows"] if row[0] == 0)
    at = dict(zip(shares["tokens"], own, strict=True))
    card = (ROOT / CARD).read_text(encoding="utf-8")
    short = f"the first 32 tokens of a window {at[32]:.0%}, 128 {at[128]:.0%}, 512 {at[512]:.0%}."
    assert short.replace("%", " %") in card
    assert f"for {len(shares['rows'])} shifts" in card


def budgets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (ROOT / "docs/layer_budgets.json").read_text(encoding="utf-8")
    )
    return found


NAMES = {
    "local window": "window", "sink + window": "sink", "strided": "strided", "H2O": "h2o",
    "TOVA": "tova", "SnapKV": "snapkv",
}  # fmt: skip


def rival_of(cells: list[str]) -> tuple[str, float, str, str, float | None, int | None, str]:
    """What tells one rival from all others: text, shift, policy, layers, power, sinks, equality."""
    text, shift, rival, layers = cells[:4]
    name, *more = rival.split(", ")
    power = None if layers == "equal" else 1.0 if "power" not in layers else numbers(layers)[0]
    sinks = next((int(part.split()[0]) for part in more if part.endswith("kept")), None)
    equal = {"32 bits": "bytes", "16 bits": "bytes16"}.get(more[-1] if more else "", "entries")
    at = float(shift.replace("−", "-").replace("+", ""))
    kind = "equal" if layers == "equal" else "as gates"
    return text, at, NAMES[name], kind, power, sinks, equal


def test_every_rival_of_the_results_file_is_in_the_tables_of_layers_and_no_other() -> None:
    measured_ones = {}
    for row in budgets():
        for rival in row["rivals"]:
            key = (
                row["text"], row["gate_shift"], rival["policy"], rival["layers"], rival["power"],
                rival["settings"].get("sinks"), rival["equal"],
            )  # fmt: skip
            assert key not in measured_ones
            measured_ones[key] = row, rival
    lines = (ROOT / "docs/results.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith(tuple(f"| {row['text']} |" for row in budgets()))
    ]
    own = [cells for cells in rows if cells[2].startswith("pruned")]
    rows = [cells for cells in rows if not cells[2].startswith("pruned")]
    assert sorted(map(str, map(rival_of, rows))) == sorted(map(str, measured_ones))
    for cells in rows:
        row, rival = measured_ones[rival_of(cells)]
        assert float(cells[4]) == round(rival["held_ratio"], 3)
        wanted = {"entries": 1, "bytes": 1.125, "bytes16": 1.25}[rival["equal"]]
        # On programs the gates hold nearly all in one layer: a quarter more does not fit there.
        assert abs(rival["held_ratio"] / wanted - 1) <= (
            0.02 if row["text"] == "programs" else 0.01
        )
        assert numbers(cells[5]) == rounded(rival["policy_over_gates_off"])
        assert numbers(cells[6]) == rounded(rival["pruned_over_policy"])
        # The ratio again, from what every document cost.
        ours, theirs = sum(row["document_nats"]["pruned"]), sum(rival["document_nats"])
        ratio = math.exp((ours - theirs) / sum(row["document_tokens"]))
        assert ratio == pytest.approx(rival["pruned_over_policy"][0], abs=1e-5)
    assert len(own) == len(budgets())
    for cells, row in zip(own, budgets(), strict=True):
        assert numbers(cells[2]) == [round(row["held_entries"] / row["context"])]
        assert numbers(cells[5]) == rounded(row["pruned_over_gates_off"])


def test_rivals_were_chosen_on_other_text_and_by_what_they_cost_there() -> None:
    for row in budgets():
        chosen = row["chosen_on"]
        assert chosen["windows"] >= 6
        cheapest = {
            layers: min(
                (
                    each
                    for each in chosen["candidates"]
                    if each["layers"] == layers and abs(each["held_ratio"] - 1) <= 0.01
                ),
                key=lambda each: each["nats"],
            )
            for layers in ("equal", "as gates")
        }
        for best in cheapest.values():
            plain = {k: v for k, v in best.items() if k not in ("nats", "held_ratio")}
            assert any(plain.items() <= rival.items() for rival in row["rivals"])


def test_how_much_is_layer_budget_is_the_results_file() -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for row in budgets():
        share = own_share(row)
        if row["text"] == "in domain":
            at = f"{row['gate_shift']:+g}".replace("-", "−") if row["gate_shift"] else "0"
            said = f"δ {at}: {100 - share} % layers, {share} % tokens"
            assert said in text, said
    (shipped,) = (r for r in budgets() if r["text"] == "in domain" and r["gate_shift"] == 0)
    low, middle, high = sorted(best_shared(shipped)["pruned_over_policy"])
    said = f"{middle:.3f} ({low:.3f}–{high:.3f})"
    for path in ("README.md", CARD):
        assert said in (ROOT / path).read_text(encoding="utf-8"), path


def best_shared(row: dict[str, Any]) -> dict[str, Any]:
    """Of the rivals at equal entries whose layers share as the gates do, the best."""
    found: dict[str, Any] = min(
        (r for r in row["rivals"] if r["layers"] == "as gates" and r["equal"] == "entries"),
        key=lambda rival: rival["ppl"],
    )
    return found


def own_share(row: dict[str, Any]) -> int:
    """Per cent of the gap to equal layers, in log perplexity, that is the choice of tokens."""
    (equal,) = (r for r in row["rivals"] if r["layers"] == "equal")
    gap, own = (math.log(r["pruned_over_policy"][0]) for r in (equal, best_shared(row)))
    return round(100 * own / gap)


def test_what_seeds_of_writing_move_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/generation_seeds.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    rows = found["seeds"]
    assert f"by {len(rows)} seeds drops" in text

    def said(name: str) -> tuple[str, str, str]:
        values = [row[name] for row in rows]
        return f"{np.mean(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}"

    mean, low, high = said("sparsity")
    spread = np.std([row["sparsity"] for row in rows], ddof=1)
    assert f"{mean} of the earlier tokens in the mean ({low} to {high}, " in text
    assert f"standard deviation {spread:.2f})" in text
    for name, words in (
        ("sparsity_at_end", "{} at the end ({} to {})"),
        ("drop_rate_function", "function words {} ({} to {})"),
        ("drop_rate_content", "content words {} ({} to {})"),
    ):
        assert words.format(*said(name)) in text
    assert all(row["drop_rate_function"] > row["drop_rate_content"] for row in rows)
    assert f"function first in all {len(rows)}" in text


def test_the_count_of_intervals_is_that_of_the_study() -> None:
    path = ROOT / "assets/traces/study.json"
    said = intervals_said(from_json(path.read_text(encoding="utf-8")))
    total, missed = numbers(said.replace(",", ""))[0], numbers(said.split("were all")[1])
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert f"{total:,.0f} over texts, so some {missed[0]:.0f} would miss" in text


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


@pytest.mark.parametrize(
    ("name", "heading", "budgets", "tops"),
    [
        (
            "assets/results/policies-mini",
            "policy | KL at 64 entries",
            (64, 128, 256, 512),
            (64, 256),
        ),
        (
            "assets/results/policies-smollm2",
            "policy | KL at 64 of SmolLM2's",
            (64, 128, 256),
            (64, 256),
        ),
        ("docs/policies-smollm2-long", "policy | KL at 512", (512, 1024), (512, 1024)),
    ],
)
def test_the_table_of_policies_is_the_results_file(
    name: str, heading: str, budgets: tuple[int, ...], tops: tuple[int, ...]
) -> None:
    """Kullback–Leibler divergence and top token at equal entries, each where it stands."""
    path = ROOT / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    by = {(row["policy"], row["budget"]): row for row in found}
    names = {
        "learned gates": "gates",
        "learned gates, shifted": "gates-shift",
        "sink + window": "sink",
        "oldest first": "oldest",
        "local window": "window",
        "key norm": "keynorm",
    }
    rows = rows_of("docs/results.md", heading)
    assert len(rows) == len({policy for policy, _ in by})
    for cells in rows:
        said = cells[0].strip("*").partition(" (")[0]
        policy = names.get(said, said.lower())
        for cell, budget in zip(cells[1:-2], budgets, strict=True):
            row = by[policy, budget]
            wanted = [row["kl"], row["kl_low"], row["kl_high"]]
            told = [round(value, 3) for value in wanted if value is not None]
            assert numbers(cell) == told, (policy, budget)
        for cell, budget in zip(cells[-2:], tops, strict=True):
            assert numbers(cell) == [round(100 * by[policy, budget]["agreement"], 1)]
    assert {row["documents"] for row in found} == {2 if name.endswith("long") else 12}

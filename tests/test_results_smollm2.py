"""The numbers of SmolLM2 in the results page, the log and its card are those of the files."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from tests.helpers.tables import ROOT, numbers, rows_of


def shift_of(said: str) -> float | None:
    """Of the first cell of a row: "gates off" is None."""
    return None if said == "gates off" else float(said[4:].replace("−", "-"))


def test_the_dial_of_smollm2_is_the_one_in_its_configuration() -> None:
    folder = ROOT / "assets/models/smollm2-135m"
    config = json.loads((folder / "dcp_config.json").read_text(encoding="utf-8"))
    for tokens in (256, 4096, 1024):
        path = ROOT / f"assets/results/perplexity-smollm2-{tokens}.json"
        measured = json.loads(path.read_text(encoding="utf-8"))
        points = [p for p in config["calibration"] if p["context"] == tokens]
        assert {(r["gate_shift"], r["sparsity"], round(r["ppl_ratio"], 9)) for r in measured} == {
            (p["delta"], p["sparsity"], round(p["perplexity_ratio"], 9)) for p in points
        }
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([+−]?[\d.]+) \|(.*)\|$", text, re.MULTILINE)
    by = {row["gate_shift"]: row for row in measured}
    assert {float(shift.replace("−", "-")) for shift, _ in rows} == by.keys()
    for shift, rest in rows:
        row = by[float(shift.replace("−", "-"))]
        assert [numbers(cell) for cell in rest.split("|")] == [
            [round(100 * row["sparsity"], 1)],
            [round(100 * row["sparsity_at_end"], 1)],
            [round(row["ppl_pruned"], 2)],
            [round(row["ppl_ratio"], 3)],
            [round(row["bits_per_byte_pruned"], 4)],
            [round(row["kl"], 3)],
            [round(100 * row["agreement"], 1)],
        ]


def test_the_gates_of_smollm2_are_apart_from_every_rival_as_the_page_says() -> None:
    path = ROOT / "assets/results/policies-smollm2.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    for budget in (64, 128, 256):
        rows = {row["policy"]: row for row in found if row["budget"] == budget}
        gates, shifted = rows.pop("gates"), rows.pop("gates-shift")
        assert shifted["kl_high"] < min(row["kl_low"] for row in rows.values())
        if budget < 256:
            assert gates["kl_high"] < min(row["kl_low"] for row in rows.values())
        else:
            closer = {name for name, row in rows.items() if row["kl"] < gates["kl"]}
            assert closer == {"h2o", "snapkv", "citrus", "tova"}
        assert max(row["gates_over_policy_high"] for row in rows.values()) < 1
        assert all(row["matched"] for row in (gates, shifted, *rows.values()))
        text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
        best_rival = min(row["ppl_over_dense"] for row in rows.values())
        assert f"{best_rival:.3f} (" in text
        assert f"{gates['ppl_over_dense']:.3f}" in text


def test_shifted_gates_of_smollm2_are_ahead_of_every_rival_as_the_page_says() -> None:
    found = json.loads((ROOT / "docs/policies-smollm2-long.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    said = {
        512: "{:.3f} of the base's at 512 entries (next H2O, {:.3f})",
        1024: "and {:.3f} at 1,024, half of the text, where SnapKV is at {:.3f}",
    }
    for budget, words in said.items():
        rows = {row["policy"]: row for row in found if row["budget"] == budget}
        gates = rows.pop("gates-shift")
        assert gates["matched"]
        assert gates["kl"] < min(row["kl"] for row in rows.values())
        best = min(row["ppl_over_dense"] for name, row in rows.items() if name != "gates")
        assert gates["ppl_over_dense"] < best
        assert words.format(gates["ppl_over_dense"], best) in text


def test_sixteen_entries_of_smollm2_are_the_results_file() -> None:
    path = ROOT / "assets/results/policies-smollm2.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["policy"]: row for row in found if row["budget"] == 16}
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    names = {
        "gates": "gates",
        "gates-shift": "shifted",
        "citrus": "CItruS",
        "tova": "TOVA",
        "sink": "sink + window",
        "h2o": "H2O",
    }
    assert rows.keys() == names.keys()
    for policy, row in rows.items():
        kl, low, high = (f"{row[key]:.3f}" for key in ("kl", "kl_low", "kl_high"))
        assert f"{names[policy]} {kl} ({low}–{high})" in text
        assert row["matched"]
    paired = [rows["citrus"][f"gates_over_policy{end}"] for end in ("", "_low", "_high")]
    assert "{:.3f} ({:.3f}–{:.3f}) of CItruS's".format(*paired) in text


def test_the_tasks_of_smollm2_are_the_results_file() -> None:
    path = ROOT / "assets/results/tasks-smollm2.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    by = {(row["task"], row["gate_shift"]): row for row in found}
    told = rows_of("docs/results.md", "gate shift | LAMBADA")
    assert len(by) == len(told) * 4
    for shift, *cells in told:
        at_shift = shift_of(shift)
        for task, dropped, accuracy in zip(
            ("lambada", "piqa", "winogrande", "hellaswag"), cells[::2], cells[1::2], strict=True
        ):
            row = by[task, at_shift]
            assert numbers(dropped) == [round(100 * row["sparsity"], 1)]
            names = ("accuracy", "ci_low", "ci_high")
            assert numbers(accuracy) == [round(100 * row[name], 1) for name in names]
    items = {row["task"]: row["n"] for row in found}
    assert items == {"lambada": 5153, "piqa": 1838, "winogrande": 1267, "hellaswag": 300}
    last = "{:.1f} with the gates off and {:.1f}, {:.1f}, {:.1f} and {:.1f} under them"
    shifts = (None, 0.0, -1.0, -2.0, -3.0)
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert last.format(*(by["lambada", shift]["perplexity"] for shift in shifts)) in text


@pytest.mark.parametrize("tokens", [256, 1024, 4096, 8192])
def test_smollm2_at_other_contexts_is_the_results_file(tokens: int) -> None:
    path = ROOT / f"assets/results/perplexity-smollm2-{tokens}.json"
    by = {row["gate_shift"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    told = rows_of("docs/results.md", f"gate shift at {tokens:,} tokens")
    assert {row["context"] for row in by.values()} == {tokens}
    assert len(told) == len(by)
    for shift, *cells in told:
        row = by[float(shift[4:].replace("−", "-"))]
        names = ("sparsity", "sparsity_at_end", "ppl_ratio", "kl", "agreement")
        for cell, name in zip(cells, names, strict=True):
            value = 100 * row[name] if cell.endswith("%") else row[name]
            assert numbers(cell) == [round(value, 1 if cell.endswith("%") else 3)]


def test_longer_texts_at_as_many_entries_are_the_results_files() -> None:
    """What 50, 70 and 80 % dropped of 1,024 tokens leave, and what as much costs at 4,096."""
    short, long = (
        sorted(
            json.loads((ROOT / f"assets/results/perplexity-smollm2-{n}.json").read_text("utf-8")),
            key=lambda row: row["held_entries"],
        )
        for n in (1024, 4096)
    )

    def line(at: float, rows: list[dict[str, float]], x: str, y: str) -> float:
        rows = sorted(rows, key=lambda row: row[x])
        return float(np.interp(at, [row[x] for row in rows], [row[y] for row in rows]))

    held = [line(at, short, "sparsity", "held_entries") / 1024 for at in (0.5, 0.7, 0.8, 0.9)]
    costs = [line(4096 * n, long, "held_entries", "ppl_ratio") for n in held]
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert "{:.0f}, {:.0f}, {:.0f} and {:.0f} entries as a mean over steps".format(*held) in text
    assert "costs {:.3f}, {:.3f}, {:.3f} and some 1.2 with".format(*costs) in text
    assert 1.15 < costs[3] < 1.25


def test_what_a_chat_keeps_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/chat-smollm2.json").read_text(encoding="utf-8"))
    told = rows_of("docs/results.md", "part of the chat")
    assert len(told) == len(found)
    for (_, *cells), row in zip(told, found, strict=True):
        shares = [round(100 * row[name], 1) for name in ("held", "held_in_text")]
        assert [numbers(cell) for cell in cells] == [
            [row["tokens"]],
            *([share] for share in shares),
            [row["layers"]],
        ]


@pytest.mark.parametrize(
    ("name", "heading", "tokens", "saves"),
    [
        ("hindsight-smollm2", "price of a step | entries", 1024, (0.25, 0.5)),
        ("hindsight-smollm2-long", "price of a step at 4,096 tokens", 4096, (0.7, 1.4)),
    ],
)
def test_what_hindsight_saves_is_the_results_file(
    name: str, heading: str, tokens: int, saves: tuple[float, float]
) -> None:
    found = json.loads((ROOT / f"docs/{name}.json").read_text(encoding="utf-8"))
    of = {rule: [r for r in found if r["rule"] == rule] for rule in {r["rule"] for r in found}}
    gates = sorted((r["entries"], math.log(r["kl"]), math.log(r["ratio"])) for r in of["gates"])
    entries, *logs = np.array(gates).T
    told = rows_of("docs/log.md", heading)
    assert len(told) == len(of["hindsight"])
    pairs = zip(of["hindsight"], of["gates, its layers"], strict=True)
    for (price, *cells), (best, layers) in zip(told, pairs, strict=True):
        assert float(price) == best["setting"]
        kl, ratio = (float(np.exp(np.interp(best["entries"], entries, log))) for log in logs)
        assert [numbers(cell) for cell in cells] == [
            [round(best["entries"] / tokens)],
            [round(100 * best["sparsity"], 1)],
            [round(best["kl"], 3), round(best["ratio"], 3)],
            [round(kl, 3), round(ratio, 3)],
            [round(layers["kl"], 3), round(layers["ratio"], 3), round(layers["entries"] / tokens)],
        ]
        assert saves[0] < best["kl"] / kl < saves[1]


def test_what_the_changes_cost_where_little_is_dropped_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/untouched-smollm2.json").read_text(encoding="utf-8"))
    by = {(r["context"], r["arm"], r["gate_shift"]): r for r in found}
    told = rows_of("docs/log.md", "gate shift of either")
    assert len(told) == len([key for key in by if key[:2] == (1024, "changed")])
    for shift, *cells in told:
        for cell, arm in zip(cells, ("changed", "untouched"), strict=True):
            row = by[1024, arm, float(shift)]
            wanted = [round(100 * row["sparsity"], 1), round(row["ratio"], 3), round(row["kl"], 3)]
            assert numbers(cell) == wanted
    # At 4 half of the divergence is spared, at 2 the changes pay.
    spared = [by[1024, arm, 4.0]["kl"] for arm in ("untouched", "changed")]
    assert spared[0] < spared[1] / 2
    assert by[1024, "changed", 2.0]["kl"] < by[1024, "untouched", 2.0]["kl"]
    text = (ROOT / "docs/log.md").read_text(encoding="utf-8")
    with_changes = json.loads((ROOT / "docs/policies-smollm2-long.json").read_text("utf-8"))
    for budget, words in ((1024, "at 1,024 entries the gates cost"), (512, "at 512 entries")):
        (own,) = (row for row in found if row.get("budget") == budget)
        (other,) = (r for r in with_changes if (r["policy"], r["budget"]) == ("gates", budget))
        pairs = (own["ratio"], own["kl"]), (other["ppl_over_dense"], other["kl"])
        sentence = text.split(words, 1)[1].replace(";", ".\n").split(".\n")[0]
        assert numbers(sentence) == [round(value, 3) for pair in pairs for value in pair]
    for shift, *cells in rows_of("docs/log.md", "gate shift at 4,096 of either"):
        for cell, arm in zip(cells, ("bundled", "30 steps of 4,096"), strict=True):
            row = by[4096, arm, float(shift.replace("−", "-"))]
            assert numbers(cell) == [
                *(round(100 * row["sparsity"], 1), round(row["entries"])),
                *(round(row["ratio"], 3), round(row["kl"], 3)),
            ]


def test_what_learns_beside_the_gates_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/tuned-smollm2.json").read_text(encoding="utf-8"))
    arms = {"nothing: as shipped": "shipped", "gates": "gates", "gates and norms": "norms"}
    arms |= {"gates and rank 8": "low rank", "gates, then rank 8 for 152": "low rank, 152 steps"}
    told = rows_of("docs/log.md", "what learns | gate shift -2")
    assert [name for name, *_ in told] == list(arms)
    at_80 = {}
    for name, *cells, off in told:
        by = {row["gate_shift"]: row for row in found if row["arm"] == arms[name]}
        pair = [by[-2.0], by[-2.5]]
        for cell, row in zip(cells[:2], pair, strict=True):
            shares = [round(100 * row[key], 1) for key in ("sparsity", "sparsity_at_end")]
            ratios = [round(row[key], 3) for key in ("ratio", "ratio_low", "ratio_high")]
            assert numbers(cell) == shares + ratios
        points = zip(cells[2:], ("sparsity", "sparsity_at_end"), (0.8, 0.9), strict=True)
        for cell, key, share in points:
            (a, b), (low, high) = ([row[key] for row in pair], [math.log(r["ratio"]) for r in pair])
            read = math.exp(low + (share - a) * (high - low) / (b - a))
            assert float(cell) == round(read, 3)
            at_80.setdefault(name, read)
        assert float(off) == round(by[None]["ratio"] if None in by else 1, 3)
    gained = [1 - at_80[name] / at_80["gates"] for name in ("gates and norms", "gates and rank 8")]
    assert [round(100 * gain, 1) for gain in gained] == [1.3, 2.1]


def test_what_a_gpu_added_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/tuned-smollm2.json").read_text(encoding="utf-8"))
    by = {(row["arm"], row["gate_shift"]): row for row in found}
    told = rows_of("docs/log.md", "gate shift | dropped, mean over steps | at the last token")
    assert len(told) == 3
    for shift, *cells in told:
        new = by["low rank, 630 steps on a GPU", float(shift)]
        old = by["low rank, 152 steps", float(shift)]
        assert [numbers(cell) for cell in cells] == [
            [round(100 * new["sparsity"], 1)],
            [round(100 * new["sparsity_at_end"], 1)],
            [round(new[key], 3) for key in ("ratio", "ratio_low", "ratio_high")],
            [round(100 * old["sparsity"], 1), round(old["ratio"], 3)],
        ]


def test_what_leaning_on_early_steps_gives_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/tuned-smollm2.json").read_text(encoding="utf-8"))
    by = {(row["arm"], row["gate_shift"]): row for row in found}
    told = rows_of("docs/log.md", "gate shift | leaning on early steps")
    assert len(told) == 3
    for shift, *cells in told:
        for cell, arm in zip(
            cells, ("leaning on early steps", "leaning, then 58 steps"), strict=True
        ):
            row = by[arm, float(shift)]
            shares = [round(100 * row[key], 1) for key in ("sparsity", "sparsity_at_end")]
            ratios = [round(row[key], 3) for key in ("ratio", "ratio_low", "ratio_high")]
            assert numbers(cell) == shares + ratios


def test_what_averaging_gives_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/averaged-smollm2.json").read_text(encoding="utf-8"))
    arms = list(dict.fromkeys(row["arm"] for row in found))
    told = rows_of("docs/log.md", "adapter | shift 3")
    assert len(told) == len(arms)
    for arm, (_, *cells) in zip(arms, told, strict=True):
        by = {row["gate_shift"]: row for row in found if row["arm"] == arm}
        for cell, shift in zip(cells, (3.0, -1.0, -2.0, -3.0), strict=True):
            row = by[shift]
            shares = [round(100 * row[key], 1) for key in ("sparsity", "sparsity_at_end")]
            assert numbers(cell) == [*shares, round(row["ratio"], 3), round(row["kl"], 3)]


def test_the_average_on_validation_text_is_the_results_file() -> None:
    found = json.loads((ROOT / "docs/tuned-smollm2.json").read_text(encoding="utf-8"))
    by = {row["gate_shift"]: row for row in found if row["arm"] == "average"}
    told = rows_of("docs/log.md", "gate shift of the average")
    assert {float(shift) for shift, *_ in told} == by.keys()
    for shift, *cells in told:
        row = by[float(shift)]
        assert [numbers(cell) for cell in cells] == [
            [round(100 * row["sparsity"], 1)],
            [round(100 * row["sparsity_at_end"], 1)],
            [round(row[key], 3) for key in ("ratio", "ratio_low", "ratio_high")],
        ]
    shares, ratios = zip(*sorted((r["sparsity"], r["ratio"]) for r in by.values()), strict=True)
    for share, ratio, goal in ((0.8, 1.018, 1.03), (0.9, 1.085, 1.09)):
        line = float(np.exp(np.interp(share, shares, np.log(ratios))))
        assert round(line, 3) == ratio
        assert line < goal


def test_pass_keys_are_the_results_file() -> None:
    found = json.loads((ROOT / "docs/passkey-smollm2.json").read_text(encoding="utf-8"))
    told = rows_of("docs/results.md", "tokens | gate shift of pass keys")
    settings = {(row["context"], row["gate_shift"]) for row in found}
    assert len(told) == len(settings)
    for tokens, shift, *cells in told:
        at_shift = shift_of(shift)
        context = int(tokens.replace(",", ""))
        rows = [row for row in found if (row["context"], row["gate_shift"]) == (context, at_shift)]
        assert len(rows) == 5
        held = [round(100 * row["key_held"], 1) for row in rows]
        means = [sum(row[name] for row in rows) / 5 for name in ("sparsity", "nats")]
        assert [numbers(cell) for cell in cells] == [
            [round(100 * means[0], 1)],
            [min(held), max(held)],
            [sum(round(row["accuracy"] * row["n"]) for row in rows), sum(r["n"] for r in rows)],
            [round(means[1], 3)],
        ]


def test_wikitext_2_is_the_results_file() -> None:
    path = ROOT / "docs/wikitext2-smollm2.json"
    by = {row["gate_shift"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    told = rows_of("docs/results.md", "gate shift on WikiText-2")
    assert len(told) == len(by)
    for shift, *cells in told:
        row = by[shift_of(shift)]
        assert [numbers(cell) for cell in cells] == [
            [round(100 * row["sparsity"], 1)],
            [round(row["perplexity"], 1)],
            [round(row["perplexity"] / by[None]["perplexity"], 3)],
            [round(row["bits_per_byte"], 3)],
        ]
    assert {(row["articles"], row["words"]) for row in by.values()} == {(62, 241_211)}

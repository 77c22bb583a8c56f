"""The numbers of speed and memory in the README and docs are those of the files beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers.tables import ROOT, numbers, rows_of

Row = dict[str, Any]
DROPPED = ("80% dropped", "90% dropped")
WEIGHTS = ("float32", "int8")


def rows(name: str) -> list[Row]:
    found: list[Row] = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
    return found


def arm(found: list[Row], name: str, **where: Any) -> Row:
    (row,) = (
        row
        for row in found
        if row["arm"].rsplit(" ", 1)[0] == name and where.items() <= row.items()
    )
    return row


def faster(row: Row) -> list[float]:
    return [round(row[name], 2) for name in ("speedup", "speedup_p20", "speedup_p80")]


def numbers_in(cell: str) -> list[float]:
    return numbers(cell.replace(",", ""))


def test_the_shape_of_gpt_2_is_the_file() -> None:
    found = rows("bench.json")
    places = ((1, 256), (1, 1024), (8, 1024))
    told = rows_of("docs/speed.md", "| batch 1, context 256 | batch 1, context 1024")
    names = [f"{arm} {weights}" for arm in ("80% dropped", "0% dropped") for weights in WEIGHTS]
    names = ["dense float32", "dense int8", *names]
    assert len(told) == len(names) + 1
    for (_, *cells), name in zip(told, names, strict=False):
        where = {"model": "gpt2-124m", "arm": name}
        for cell, (batch, context) in zip(cells, places, strict=True):
            here = {**where, "batch": batch, "context": context}
            (row,) = (row for row in found if here.items() <= row.items())
            assert numbers(cell) == (faster(row) if row["speedup"] else [])
    for cell, (batch, context) in zip(told[-1][1:], places, strict=True):
        place = {"model": "gpt2-124m", "weights": "float32", "batch": batch, "context": context}
        dense, eighty = (arm(found, name, **place) for name in ("dense", "80% dropped"))
        assert numbers(cell) == [round(eighty["kv_bytes_held"] / dense["kv_bytes_held"], 2)]
    native = (ROOT / "docs/native.md").read_text(encoding="utf-8")
    for context in (256, 1024):
        fast = faster(
            arm(found, "dense", model="gpt2-124m", weights="int8", batch=1, context=context)
        )
        assert (
            "{:.2f}× ({}{:.2f}–{:.2f})".format(
                fast[0], "p20–p80 " if context == 256 else "", *fast[1:]
            )
            in native
        )


@pytest.mark.parametrize("path", ["README.md", "docs/speed.md"])
def test_speed_against_context_is_the_file(path: str) -> None:
    found = rows("contexts.json")
    told = rows_of(path, "context | batch | weights")
    assert len(told) >= 6
    for context, batch, weights, speed, eighty, ninety, cache, held in told:
        where = {"context": numbers_in(context)[0], "batch": int(batch), "weights": weights}
        dense, most, more = (arm(found, n, **where) for n in ("dense", *DROPPED))
        assert numbers(speed) == [round(dense["tokens_per_second"], 1)]
        assert [numbers(eighty), numbers(ninety)] == [faster(most), faster(more)]
        assert numbers(cache) == [round(dense["kv_bytes_held"] / 1e6)]
        shares = [row["kv_bytes_held"] / dense["kv_bytes_held"] for row in (most, more)]
        assert numbers(held) == [round(share, 2) for share in shares]


def test_speed_on_both_cores_is_the_file() -> None:
    found = rows("two_threads.json")
    assert {row["threads"] for row in found} == {2}
    told = rows_of("docs/speed.md", "context | weights | dense, two threads")
    assert len(told) == 4
    for context, weights, speed, pruned, gain in told:
        where = {"context": numbers_in(context)[0], "weights": weights}
        dense, eighty = (arm(found, name, **where) for name in ("dense", "80% dropped"))
        rates = [round(row["tokens_per_second"], 1) for row in (dense, eighty)]
        assert [*numbers(speed), *numbers(pruned)] == rates
        assert numbers(gain) == faster(eighty)


def test_single_steps_are_the_file() -> None:
    found = rows("growth.json")
    told = rows_of("docs/speed.md", "tokens | dense, tokens/s")
    assert len(told) == 6
    for context, speed, eighty, ninety, *steps in told:
        where = {"context": numbers_in(context)[0]}
        arms = [arm(found, name, **where) for name in ("dense", *DROPPED)]
        assert numbers(speed) == [round(arms[0]["tokens_per_second"], 1)]
        assert [numbers(eighty), numbers(ninety)] == [faster(row) for row in arms[1:]]
        for cell, row in zip(steps, arms, strict=True):
            names = ("ms_step_p50", "ms_step_p99", "ms_longest_step")
            assert numbers(cell) == [round(row[name], 1) for name in names]
        # What the text says of pauses and of the shortest context.
        longest = [row["ms_longest_step"] for row in arms]
        assert max(longest[1:]) < longest[0] or where["context"] < 1024
        assert all(row["speedup"] > 1 for row in arms[1:])


def test_rows_in_fewer_bits_are_the_file() -> None:
    found = rows("kv_rows.json")
    told = rows_of("docs/speed.md", "rows of the cache")
    assert len(told) == 6
    for name, *cells in told:
        arm_name = name.replace(" %", "%").removesuffix(", float32 rows")
        places = [(context, batch) for context in (1024, 4096) for batch in (1, 4)]
        for cell, (context, batch) in zip(cells, places, strict=True):
            row = arm(found, arm_name, context=context, batch=batch)
            held = round(row["kv_bytes_held"] / 1e6)
            assert numbers(cell) == [round(row["tokens_per_second"], 1), held]


def test_speed_in_a_budget_of_memory_is_the_file() -> None:
    found = rows("batch.json")
    told = rows_of("docs/speed.md", "| 1 row | 2 | 4 | 8 |")
    assert len(told) == 4
    for name, *cells, budget in told:
        arm_name = name.replace(" %", "%")
        for cell, batch in zip(cells, (1, 2, 4, 8), strict=True):
            row = arm(found, arm_name, batch=batch, budget_bytes=None)
            assert numbers(cell) == [round(row["tokens_per_second"], 1)]
        row = arm(found, arm_name, budget_bytes=384 * 2**20)
        speed = faster(row) if row["speedup"] else []
        assert numbers(budget) == [row["batch"], round(row["tokens_per_second"], 1), *speed]


def test_what_nothing_dropped_costs_is_the_file() -> None:
    found = rows("nothing_dropped.json")
    models = {
        "GPT-2-124M shape": "gpt2-124m",
        "SmolLM2-135M": "smollm2-135m",
        "dcp-mini": "dcp-mini",
    }
    places = ((1, 256), (1, 1024), (8, 256), (8, 1024))
    told = rows_of("docs/speed.md", "| batch 1, context 256 | batch 1, context 1,")
    medians = []
    for name, *cells in told:
        model, _, weights = name.partition(", ")
        for cell, (batch, context) in zip(cells, places, strict=True):
            if cell:
                where = {"model": models[model], "weights": weights, "batch": batch}
                row = arm(found, "0% dropped", context=context, **where)
                assert numbers(cell) == [*faster(row), round(row["byte_ceiling"], 2)]
                medians.append((row["speedup"], row["byte_ceiling"]))
    assert len(medians) == 22
    counts = [
        sum(speed >= allowed - 0.01 for speed, allowed in medians),
        sum(speed >= allowed for speed, allowed in medians),
        sum(speed >= 0.98 for speed, _ in medians),
        sum(allowed >= 0.98 for _, allowed in medians),
    ]
    assert counts == [21, 18, 6, 3]
    text = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert "21 of 22 medians are at most 1 % below what bytes allow, 18 above it" in text
    assert "met in six of 22; bytes allow it in three" in text


def test_other_engines_are_the_file() -> None:
    found = json.loads((ROOT / "docs/peers.json").read_text(encoding="utf-8"))
    by = {(row["arm"], row["context"]): row for row in found["rows"]}
    contexts = (128, 1024, 4096)
    said = {
        "gates off": "dense",
        "gates scored, nothing dropped": "0% dropped",
        "own gates": "own gates",
    }
    told = rows_of("docs/native.md", "| 128 tokens")
    assert len(told) == len(by) / 3
    for name, *cells in told:
        engine, _, how = name.replace("*", "").partition(", ")
        arm_name = ", ".join(filter(None, (engine, said.get(how, how))))
        for cell, context in zip(cells, contexts, strict=True):
            row = by[arm_name, context]
            assert numbers(cell) == [round(row[key], 1) for key in ("ms", "ms_p20", "ms_p80")]
    short = rows_of("README.md", "tokens a second, 8-bit weights")
    arms = (
        "llama.cpp Q8_0",
        "openvino int8",
        "openvino int8, 80% evicted",
        "dcp int8, dense",
        "dcp int8, own gates",
    )
    for (_, *cells), arm_name in zip(short, arms, strict=True):
        rates = [round(1e3 / by[arm_name, context]["ms"]) for context in contexts]
        assert [int(cell) for cell in cells] == rates
    level = {
        (row["arm"], row["context"])
        for row in found["rows"]
        if not row["arm"].startswith("dcp")
        and "evicted" not in row["arm"]
        and row["ms"] < 1.02 * by["dcp int4, dense", row["context"]]["ms"]
    }
    assert level == {("onnxruntime int4", 128)}
    assert by["onnxruntime int4", 128]["ms"] == pytest.approx(
        by["dcp int4, dense", 128]["ms"], rel=0.02
    )
    everything = json.dumps(found["about"]) + (ROOT / "docs/native.md").read_text(encoding="utf-8")
    assert all(version in everything for version in found["about"]["versions"].values())


def test_the_gates_bundled_now_beside_other_engines_are_the_file() -> None:
    found = json.loads((ROOT / "docs/peers-own-gates.json").read_text(encoding="utf-8"))["rows"]
    by = {(row["arm"], row["context"]): row["ms"] for row in found}
    told = rows_of("docs/native.md", "own gates, times as fast as gates off")
    assert [name for name, *_ in told] == ["int8", "int4"]
    for name, *cells in told:
        for cell, context in zip(cells, (128, 1024, 4096), strict=True):
            own, off = (by[f"dcp {name}, {how}", context] for how in ("own gates", "dense"))
            assert numbers(cell) == [round(off / own, 2)]
            others = [ms for (arm, at), ms in by.items() if at == context and arm[:3] != "dcp"]
            assert own < min(others) or context == 128
    eight = [numbers_in(cell)[0] for cell in told[0][1:]]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "{:.2f}, {:.2f} and {:.2f} times the speed of gates off in 8 bits".format(*eight) in text


def test_time_to_the_first_token_is_the_file() -> None:
    by = {(row["context"], row["arm"]): row for row in rows("prompts.json")}
    told = rows_of("docs/speed.md", "prompt | dense | gates scored")
    assert len(told) == 3
    for prompt, dense, *shares, peaks in told:
        context = numbers_in(prompt)[0]
        assert numbers(dense) == [round(by[context, "dense"]["seconds"], 1)]
        arms = [by[context, name] for name in ("gates open", "own gates", "80 % dropped")]
        assert [numbers(cell) for cell in shares] == [[round(a["over_first"], 2)] for a in arms]
        assert numbers(peaks) == [round(a["peak_over_first"], 2) for a in arms]
        assert all(a["over_first"] < 1.055 for a in arms)


def test_time_to_the_first_token_with_the_gates_bundled_now_is_the_file() -> None:
    by = {(row["context"], row["arm"]): row for row in rows("prompts-own-gates.json")}
    told = rows_of("docs/speed.md", "prompt, gates bundled now")
    assert len(told) == 3
    for prompt, *shares in told:
        arms = [
            by[numbers_in(prompt)[0], name] for name in ("gates open", "own gates", "80 % dropped")
        ]
        assert [numbers(cell) for cell in shares] == [[round(a["over_first"], 2)] for a in arms]


def test_what_training_costs_is_the_file() -> None:
    by = {(row["part"], row["arm"], row["length"]): row for row in rows("training_cost.json")}
    told = rows_of("docs/training.md", "tokens a window | step: dense")
    assert len(told) == 5
    for length, *cells in told:
        tokens = int(numbers_in(length)[0])
        for part, three in (("step", cells[:3]), ("attention", cells[3:])):
            dense = by[part, "dense", tokens]
            used = [dense["ms"] / tokens, dense["peak_bytes"] / tokens / 1024]
            assert numbers(three[0]) == [round(used[0], 2), round(used[1])]
            for cell, name in zip(three[1:], ("soft gates", "hard gates"), strict=True):
                row = by[part, name, tokens]
                shares = [row[key] / dense[key] for key in ("ms", "peak_bytes")]
                assert numbers(cell) == [round(share, 2) for share in shares]


def test_decoding_on_a_gpu_is_the_file() -> None:
    found = json.loads((ROOT / "docs/gpu/decode-smollm2-135m.json").read_text(encoding="utf-8"))
    told = rows_of("docs/gpu.md", "batch, context | dense tokens a second")
    assert len(told) == 6
    for place, dense, *gains, ceiling in told:
        batch, context = (int(n) for n in numbers_in(place))
        here = [r for r in found["rows"] if (r.get("batch"), r.get("context")) == (batch, context)]
        (plain,) = (r for r in here if r["arm"] == "dense")
        assert numbers_in(dense) == [
            round(plain["tokens_per_second"]),
            round(1000 * plain["seconds"]["median"], 2),
        ]
        over = [r for r in here if r["arm"] == "pruned over dense"]
        assert [row["dropped"] for row in over] == [0, 0.5, 0.8, 0.95]
        assert [n for cell in gains for n in numbers(cell)] == [
            round(row["speedup"], 2) for row in over
        ]
        assert numbers(ceiling) == [round(over[2]["byte_ceiling"], 2)]

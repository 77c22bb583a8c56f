"""The bench: fair turns, true ratios, every arm reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dcp.bench.arms import RIVAL, decode_group, model_group, scattered
from dcp.bench.contexts import context_groups
from dcp.bench.group import Member, Timing, measure
from dcp.bench.harness import Arm, take_turns
from dcp.bench.shapes import SHAPES, random_checkpoint, step_bytes
from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.errors import RequestError
from dcp.kernels.api import resolve
from dcp.model.registry import open_model
from dcp.model.weights import load

SMALL = Timing(rounds=2, steps=2, warm_up=1)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with random_checkpoint("tiny") as made:
        yield made


def test_arms_take_turns_and_speedups_are_taken_within_a_round() -> None:
    now, log = 0.0, []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def step() -> None:
            nonlocal now
            log.append(name)
            # The machine gets slower and slower: ratios within a round do not notice.
            now += seconds * (1 + len(log) // 8)

        return step

    arms = [Arm("slow", work("slow", 0.004)), Arm("fast", work("fast", 0.001), "slow")]
    slow, fast = take_turns(arms, rounds=4, steps=3, warm_up=1, clock=lambda: now)
    assert log[:2] == ["slow", "fast"]
    assert log[2:] == [*["slow"] * 3, *["fast"] * 3, *["fast"] * 3, *["slow"] * 3] * 2
    assert slow.speedup is None
    assert fast.speedup == pytest.approx(4, rel=0.6)
    assert fast.speedup_p20 is not None
    assert fast.speedup_p80 is not None
    assert fast.speedup_p20 <= fast.speedup <= fast.speedup_p80
    assert slow.ms_p20 <= slow.ms <= slow.ms_p80
    assert slow.ms > fast.ms


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_scattered_drops_hit_the_asked_share_soon_after_birth(share: float) -> None:
    death = scattered(7, 1000, share).death
    dead = death != ALIVE
    assert dead.mean() == pytest.approx(share, abs=0.02)
    age = (death - np.arange(1000))[dead]
    assert not len(age) or (age.min() == 1 and age.max() == 32)


def test_every_arm_is_reported_against_its_baseline(folder: Path) -> None:
    settings = {"context": 64, "dropped": [0.0, 0.8], "weights": ["float32"], "timing": SMALL}
    shares: list[float] = []
    rows = decode_group(folder, batch=1, progress=lambda done, _: shares.append(done), **settings)  # type: ignore[arg-type]
    assert shares == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [(row.arm, row.baseline) for row in rows] == [
        (RIVAL, None),
        ("dense float32", RIVAL),
        ("0% dropped float32", "dense float32"),
        ("80% dropped float32", "dense float32"),
    ]
    assert [row.impl for row in rows] == ["transformers", *[resolve("auto")] * 3]
    _, dense, kept, pruned = rows
    # The last drawn token is in the dense count and has no entry yet.
    config = load(folder).config
    entry = 2 * config.layers * config.kv_heads * config.head_dim * 4
    assert dense.kv_bytes_dense == 64 * entry
    assert dense.kv_bytes_live == kept.kv_bytes_live == 63 * entry
    assert pruned.kv_bytes_live is not None
    assert pruned.kv_bytes_live < 0.6 * 63 * entry
    assert dense.byte_ceiling is None
    assert kept.byte_ceiling is not None
    assert pruned.byte_ceiling is not None
    assert kept.byte_ceiling < 1, "scoring gates reads more, not less"
    assert pruned.byte_ceiling > kept.byte_ceiling
    assert all(row.tokens_per_second == pytest.approx(1e3 / row.ms_per_step) for row in rows)
    batched = decode_group(folder, batch=3, rival=False, **settings)  # type: ignore[arg-type]
    assert [row.baseline for row in batched] == [None, *["dense float32"] * 2]
    assert batched[0].kv_bytes_live == 3 * 63 * entry
    assert batched[0].tokens_per_second == pytest.approx(3e3 / batched[0].ms_per_step)


def test_a_context_too_short_to_measure_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="too short"):
        decode_group(
            folder, batch=1, context=SMALL.total + 1, dropped=[], weights=["float32"], timing=SMALL
        )


def test_fewer_bytes_are_read_where_less_is_alive_or_narrower(folder: Path) -> None:
    model = load(folder)
    full = step_bytes(model, "float32", 10_000, gates=False)
    assert step_bytes(model, "float32", 5_000, gates=False) == full - 5_000
    assert step_bytes(model, "float32", 10_000, gates=True) > full
    assert step_bytes(model, "int8", 10_000, gates=False) - 10_000 == (full - 10_000) / 4 * 34 / 32
    matrices = sum(
        p.numel()
        for name, p in model.transformer.named_parameters()
        if p.ndim == 2 and not name.startswith("position") and "int" not in name
    )
    assert full - 10_000 == 4 * matrices


def test_a_real_model_is_measured_dense_pruned_and_recorded(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    model = open_model(tiny_checkpoint("llama"))
    rows = model_group(model, "The river rose. " * 99, SMALL)
    assert [row.arm for row in rows] == ["dense", "own gates", "own gates, recorded"]
    assert {row.impl for row in rows} == {resolve("auto")}, "the recorded arm is ours as well"
    assert {row.context for row in rows} == {256}
    assert rows[1].kv_bytes_live < rows[0].kv_bytes_live  # type: ignore[operator]
    short = model_group(model, "The river", SMALL)
    assert short[0].context == len("The river") + SMALL.total + 1


def test_rows_at_every_context_are_those_that_reading_it_alone_would_hold(
    tiny_checkpoint: Callable[..., Path],
) -> None:
    """One reading serves all contexts, batches and weights; each arm holds what it would alone."""
    models = [open_model(tiny_checkpoint("gpt2"), dtype) for dtype in ("float32", "int8")]
    contexts, batches = [200, 64], [1, 3]
    rows = context_groups(
        models, "The river rose. ", contexts=contexts, batches=batches, dropped=[0.0, 0.8],
        timing=SMALL,
    )  # fmt: skip
    narrow = context_groups(
        models[1:], "The river rose. ", contexts=[64], batches=[2], dropped=[0.8], timing=SMALL,
        kv_dtypes=[None, "int8"],
    )  # fmt: skip
    assert [(row.arm, row.baseline) for row in narrow] == [
        ("dense int8", None),
        ("80% dropped int8", "dense int8"),
        ("dense, int8 rows int8", "dense int8"),
        ("80% dropped, int8 rows int8", "dense, int8 rows int8"),
    ]
    head_dim = models[0].loaded.config.head_dim
    assert narrow[2].kv_bytes_live == narrow[0].kv_bytes_live * (head_dim + 2) // (4 * head_dim)  # type: ignore[operator]
    arms = [f"{share} {kind}" for kind in ("float32", "int8")
            for share in ("dense", "0% dropped", "80% dropped")]  # fmt: skip
    groups = [(c, b) for c in sorted(contexts) for b in batches]
    assert [(r.context, r.batch, r.arm) for r in rows] == [
        (*g, arm) for g in groups for arm in arms
    ]
    config = models[0].loaded.config
    entry = 2 * config.kv_heads * config.head_dim * 4
    for row in rows:
        every = row.batch * row.context * config.layers * entry
        assert row.kv_bytes_dense == every
        if "80%" not in row.arm:
            assert row.kv_bytes_live == every - row.batch * config.layers * entry
            continue
        death = scattered(config.layers, max(contexts), 0.8).death[:, : row.context - 1]
        assert row.kv_bytes_live == row.batch * entry * int((death > row.context - 2).sum())
    assert [row.baseline for row in rows[:6]] == [
        None, "dense float32", "dense float32", "dense float32", "dense int8", "dense int8"
    ]  # fmt: skip
    assert rows[0].weights_bytes is not None
    assert rows[3].weights_bytes is not None
    assert rows[3].weights_bytes < rows[0].weights_bytes
    for context in (SMALL.total, 257):
        with pytest.raises(RequestError, match=f"context {context} cannot be measured"):
            context_groups(
                models[:1], "The", contexts=[context], batches=[1], dropped=[], timing=SMALL
            )


def test_a_budget_of_bytes_is_filled_by_every_arm(tiny_checkpoint: Callable[..., Path]) -> None:
    models = [open_model(tiny_checkpoint("llama"), dtype) for dtype in ("float32", "int8")]
    ask = {"contexts": [128], "dropped": [0.5, 0.9], "timing": SMALL}
    alone = context_groups(models, "The river rose. ", batches=[1], **ask)  # type: ignore[arg-type]
    peaks = [row.kv_bytes_peak or 0 for row in alone]
    budget = int(2.5 * peaks[0])
    rows = context_groups(models, "The river rose. ", batches=[1], budgets=[budget], **ask)  # type: ignore[arg-type]
    assert [row.budget_bytes for row in rows] == [None] * 6 + [budget] * 6
    fitted = rows[6:]
    assert [row.arm for row in fitted] == [row.arm for row in alone]
    assert [row.batch for row in fitted] == [budget // peak for peak in peaks]
    assert fitted[0].batch == 2 < fitted[2].batch
    for row, peak in zip(fitted, peaks, strict=True):
        assert row.kv_bytes_peak == row.batch * peak <= budget < (row.batch + 1) * peak
    # A dropped token is read for no row: the ceiling is of tokens, not of steps.
    assert fitted[2].byte_ceiling > rows[2].byte_ceiling  # type: ignore[operator]
    with pytest.raises(RequestError, match="holds no row of"):
        context_groups(models[:1], "The", batches=[1], budgets=[9], **ask)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="needs batch 1 too"):
        context_groups(models[:1], "The", batches=[2], budgets=[budget], **ask)  # type: ignore[arg-type]


def test_a_larger_batch_is_as_much_faster_as_it_gives_more_tokens() -> None:
    members = [
        Member(Arm("dense", lambda: sum(range(2000))), "float32", "none", batch=1),
        Member(Arm("five", lambda: sum(range(2000)), "dense"), "float32", "none", batch=5),
    ]
    one, five = measure(members, "none", 9, Timing(rounds=1, steps=2, warm_up=1))
    assert five.speedup == pytest.approx(five.tokens_per_second / one.tokens_per_second)
    assert (one.batch, five.batch) == (1, 5)


def test_tails_are_of_single_steps_and_the_longest_pause_is_named() -> None:
    now, steps = 0.0, iter([0.0, *[0.002] * 9, 0.05, 0.002, 0.002])

    def step() -> None:
        nonlocal now
        now += next(steps)

    (found,) = take_turns([Arm("one", step)], rounds=4, steps=3, warm_up=1, clock=lambda: now)
    assert found.p50 == pytest.approx(2)
    assert found.longest == pytest.approx(50)
    assert found.p50 <= found.p95 <= found.p99 <= found.longest
    assert found.ms_p80 < found.longest, "a round hides what a step shows"


def test_the_measured_shape_is_gpt2() -> None:
    shape = SHAPES["gpt2-124m"]
    assert (shape["n_layer"], shape["n_embd"], shape["n_head"]) == (12, 768, 12)
    assert (shape["n_positions"], shape["vocab_size"]) == (1024, 50257)


def test_the_command_prints_one_object_per_arm(
    capsys: pytest.CaptureFixture[str], tiny_checkpoint: Callable[..., Path]
) -> None:
    folder = tiny_checkpoint("llama")
    capsys.readouterr()
    words = ["bench", "--shape", "tiny", "--context", "80", "--batch", "1", "--rounds", "2"]
    words += ["--weights", "float32", "--dropped", "0", "80", "--no-rival", "--model", str(folder)]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert len(rows) == 6
    names = "arm model batch context ms_per_step tokens_per_second speedup byte_ceiling threads"
    assert all(set(names.split()) <= set(row) for row in rows)
    assert "take turns" in captured.err
    assert main([*words, "--part", "model"]) == 0
    assert "held/dense" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        *(("--rounds", "0"), ("--batch", "0"), ("--dropped", "101"), ("--shape", "x")),
        *(("--part", "x"), ("--budget", "9"), ("--budget", "0", "--part", "contexts")),
    ],
    ids=str,
)
def test_the_command_refuses_what_it_cannot_measure(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert main(["bench", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1

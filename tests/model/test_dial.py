"""The sparsity dial at the length of text at hand: resolved between lengths, refused beyond."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import dcp
from dcp.errors import ModelError, RequestError
from dcp.evaluate.perplexity import evaluate
from dcp.evaluate.shares import continued, measure_shares, rising
from dcp.evaluate.windows import Windows
from dcp.model.dial import end_share_at, share_at, shift_at
from dcp.model.gate_config import Calibration, GateConfig, Shares
from dcp.model.registry import open_model, shift_for
from dcp.model.weights import load

SHARES = Shares(
    (16, 64, 256), (-3.0, 0.0, 3.0), ((0.5, 0.7, 0.9), (0.2, 0.4, 0.6), (0.0, 0.1, 0.3))
)
DIAL = GateConfig(
    4, (Calibration(0.0, 256, 0.6, 1.0), Calibration(-3.0, 256, 0.9, 1.1)), shares=SHARES
)
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_share_is_that_of_the_length() -> None:
    assert shift_at(DIAL, 0.4, 64) == 0.0
    assert shift_at(DIAL, 0.6, 256) == 0.0
    # Half way between 16 and 64 on a logarithmic scale.
    assert shift_at(DIAL, 0.3, 32) == pytest.approx(0.0)
    assert shift_at(DIAL, 0.55, 64) == pytest.approx(-1.5)


def test_beyond_what_was_measured_the_nearest_length_counts() -> None:
    assert shift_at(DIAL, 0.2, 3) == shift_at(DIAL, 0.2, 16) == 0.0
    assert shift_at(DIAL, 0.6, 4096) == 0.0


@pytest.mark.parametrize("sparsity", [0.8, 0.05, float("nan"), -1.0])
def test_what_no_shift_gives_at_this_length_is_refused_with_what_there_is(sparsity: float) -> None:
    with pytest.raises(RequestError, match=r"at 64 tokens: 0\.100 to 0\.700"):
        shift_at(DIAL, sparsity, 64)


def test_without_shares_the_calibrated_length_counts() -> None:
    plain = replace(DIAL, shares=None)
    assert shift_at(plain, 0.75, 32) == shift_for(plain.calibration, 0.75) == -1.5


@pytest.mark.parametrize("tokens", [16, 30, 63, 256, 1000])
@pytest.mark.parametrize("shift", [-3.0, -1.0, 0.0, 2.9])
def test_shift_and_share_undo_each_other(tokens: int, shift: float) -> None:
    assert shift_at(DIAL, share_at(SHARES, shift, tokens), tokens) == pytest.approx(shift)


@pytest.mark.parametrize("shift", [-2.0, 0.0])
def test_the_share_at_the_end_is_what_the_mean_over_steps_grows_by(shift: float) -> None:
    """From shares at every step, means at powers of two, and from those the shares again."""
    steps = np.arange(1, 1024)
    true = {d: 0.95 * (1 - (1 + steps / (60 + 40 * d)) ** -0.6) for d in (-1.0, 0.0, 1.0)}
    lengths = tuple(16 << n for n in range(7))
    rows = tuple(tuple(float(true[d][: n - 1].mean()) for n in lengths) for d in true)
    shares = Shares(lengths, (-1.0, 0.0, 1.0), rows)
    for tokens in (33, 64, 100, 196, 500, 1000):
        found = end_share_at(shares, shift, tokens)
        assert found == pytest.approx(true[max(shift, -1.0)][tokens - 2], abs=0.02)
        assert found > share_at(shares, shift, tokens)


def test_shares_outlast_the_file_and_damage_is_named() -> None:
    found = DIAL.to_json()
    assert GateConfig.from_json(found) == DIAL
    good = found["shares"]
    for bad in (
        {"tokens": [16]},
        {**good, "tokens": [64, 16, 256]},
        {**good, "tokens": [16, 64]},
        {**good, "rows": [[0.0, 1.2, 0.5, 0.5]]},
        {**good, "rows": good["rows"][::-1]},
        {**good, "rows": []},
        [],
        None,
    ):
        with pytest.raises(ModelError, match="damaged"):
            GateConfig.from_json({**found, "shares": bad})


def test_what_is_measured_is_what_runs_drop(tiny_checkpoint) -> None:
    """Against traces of the same tokens, cut short, one by one."""
    folder = tiny_checkpoint("llama")
    model = open_model(folder)
    texts = [
        "The tide came in over the flats and the boats rose. " * 4,
        "A red kite, a blue one. " * 9,
    ]
    tokens = [model.tokenizer.encode(text).ids[:63] for text in texts]
    ids = np.array(tokens, np.int64)
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    shares = measure_shares(load(folder), windows, [0.0, 2.0])
    assert shares.tokens == (16, 32, 63)
    assert shares.deltas[-2:] == (0.0, 2.0)
    for length in shares.tokens:
        for delta in (0.0, 2.0):
            runs = [
                dcp.record(text, model=folder, new_tokens=0, gate_shift=delta) for text in texts
            ]
            cut = [float(np.mean([run.sparsity_at(t) for t in range(1, length)])) for run in runs]
            here = shares.dropped[shares.deltas.index(delta)][shares.tokens.index(length)]
            assert here == pytest.approx(np.mean(cut), abs=1e-9)
    assert all(a >= b - 1e-9 for n in range(3) for a, b in pairwise(r[n] for r in shares.dropped))
    # An evaluation at the same shifts has counted as much, and what it knows is not read again.
    found = evaluate(load(folder), windows, [0.0, 2.0])
    known = {row.gate_shift: [share for _, share in row.sparsity_of_first] for row in found}
    for delta in (0.0, 2.0):
        assert known[delta] == pytest.approx(shares.dropped[shares.deltas.index(delta)])
    told = measure_shares(load(folder), windows, [0.0, 2.0], known={2.0: [0.25, 0.25, 0.25]})
    assert told.dropped[told.deltas.index(2.0)] == (0.25, 0.25, 0.25)
    assert told.dropped[told.deltas.index(0.0)] == shares.dropped[shares.deltas.index(0.0)]


@pytest.mark.parametrize(("new_tokens", "times"), [(0, 4), (1, 4), (9, 4), (9, 40)])
def test_a_run_resolves_its_share_for_the_tokens_that_it_reads(
    tiny_checkpoint, tmp_path: Path, new_tokens: int, times: int
) -> None:
    """The last new token is drawn and not read; of a text cut short what is left counts."""
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "dialled")
    config = json.loads((folder / "dcp_config.json").read_text())
    (folder / "dcp_config.json").write_text(json.dumps({**config, "shares": SHARES.to_json()}))
    text = "A red kite, a blue one. " * times
    run = dcp.record(text, model=folder, new_tokens=new_tokens, sparsity=0.4, truncate="right")
    assert run.meta.gate_shift == pytest.approx(shift_at(DIAL, 0.4, run.n_queries))
    assert run.meta.gate_shift != pytest.approx(shift_at(DIAL, 0.4, run.n_queries + 1))


_TEXT = (
    "The harbour was quiet when the ferry came in. A dozen people stood on the quay and waited for "
    "the rope to be thrown. Among them was an old man with a dog, who had come every morning since "
    "the spring, although nobody he knew was ever on board. The captain nodded to him, as he did "
    "to everyone, and went to look for his coffee. Behind the sheds the town woke up. "
)


@pytest.mark.parametrize("tokens", [34, 120])
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_a_short_text_drops_about_what_was_asked(tokens: int, sparsity: float) -> None:
    """0.8 was 0.34 at 34 tokens, when it was resolved for 1,024."""
    model = open_model("dcp-mini")
    end = model.tokenizer.encode(_TEXT * 2).offsets[tokens - 1, 1]
    run = dcp.record((_TEXT * 2)[:end], model=model, new_tokens=0, sparsity=sparsity)
    assert run.n_queries == tokens
    assert run.sparsity_mean_steps() == pytest.approx(sparsity, abs=0.1)
    # With the shift of the calibrated length it would be far off.
    old = shift_for(model.info.calibration, sparsity)
    past = dcp.record((_TEXT * 2)[:end], model=model, new_tokens=0, gate_shift=old)
    assert past.sparsity_mean_steps() < sparsity - 0.1


def test_longer_texts_lengthen_the_shares_and_shorter_ones_leave_them() -> None:
    known = Shares((16, 64), (-2.0, 0.0), ((0.5, 0.7), (0.2, 0.4)))
    longer = Shares(
        (16, 64, 256), (-4.0, -2.0, 0.0), ((0.9,) * 3, (0.6, 0.8, 0.9), (0.3, 0.5, 0.6))
    )
    both = continued(known, longer)
    assert both == Shares((16, 64, 256), (-2.0, 0.0), ((0.5, 0.7, 0.9), (0.2, 0.4, 0.6)))
    assert continued(both, known) == both
    assert continued(None, known) == known
    again = replace(known, dropped=((0.6, 0.7), (0.3, 0.4)))
    assert continued(known, again) == again


def test_longer_texts_leave_the_shifts_of_short_ones() -> None:
    known = Shares((16, 64), (-6.0, -2.0, -1.0), ((0.8, 0.9), (0.5, 0.7), (0.3, 0.5)))
    longer = Shares((16, 64, 256), (-2.0, 0.0), ((0.6, 0.8, 0.9), (0.3, 0.5, 0.6)))
    both = continued(known, longer)
    assert both.deltas == known.deltas
    assert [row[:2] for row in both.dropped] == list(known.dropped)
    # As the lowest that was read, as it, half way between.
    assert [row[2] for row in both.dropped] == pytest.approx([0.9, 0.9, 0.75])
    dial = GateConfig(48, shares=both)
    # All that a long text can drop it drops at -2, and a short one goes on to -6.
    assert shift_at(dial, 0.9, 256) == -2
    assert shift_at(dial, 0.9, 64) == -6


def test_the_dial_ends_where_lower_shifts_drop_less() -> None:
    shares = Shares(
        tokens=(16, 64),
        deltas=(-9.0, -6.0, -3.0, 0.0),
        dropped=((0.9, 0.95), (0.7, 0.9), (0.5, 0.93), (0.2, 0.4)),
    )
    kept = rising(shares)
    assert kept.deltas == (-3.0, 0.0)
    assert kept.dropped == ((0.5, 0.93), (0.2, 0.4))
    assert rising(kept) == kept

"""An adapter that changes weights of its base too is that base where its gates decide nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.evaluate.budgets import measure
from dcp.evaluate.calibrate import calibrate, fold
from dcp.evaluate.perplexity import evaluate
from dcp.evaluate.windows import Windows, read_windows
from dcp.kernels.api import native_missing
from dcp.model.blocks import BlockLinear
from dcp.model.config import Sampling
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel, open_model
from dcp.model.vocabulary import restrict
from dcp.model.weights import LoadedModel, load
from dcp.policies.gates import LIFT
from dcp.policies.rule import Eviction
from dcp.runs.next_tokens import next_tokens
from dcp.runs.reader import Reader
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import gates_off
from tests.helpers.far_device import FAR, FarDevice, move
from tests.helpers.tuned import write_tuned

TEXT = "a cab, a bad cab and a dad"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[OpenModel, OpenModel]:
    """The adapter, norms and low ranks of it moved, and its base alone."""
    monkeypatch.setenv("DCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DCP_BASE", raising=False)
    write_tuned(tmp_path)
    tuned = open_model(tmp_path / "tuned")
    assert tuned.loaded.gates is not None
    assert tuned.loaded.gates.tuned == "gates+norms+low rank"
    return tuned, open_model(tmp_path / "tuned", gates=False)


def logprobs(model: OpenModel, **how: object) -> np.ndarray:
    ids = model.tokenizer.encode(TEXT).ids
    run = Engine(model.loaded).run(
        [ids],
        new_tokens=6,
        sampling=Sampling(temperature=0),
        **how,  # type: ignore[arg-type]
    )
    return np.concatenate([part.logprobs for step in run for part in step.rows])


def test_the_base_is_read_to_where_the_model_is(pair: tuple[OpenModel, OpenModel]) -> None:
    tuned, base = pair
    ids = torch.from_numpy(tuned.tokenizer.encode(TEXT).ids)[None].long()
    steps, off = torch.arange(ids.shape[1])[None], MaskedAttend(prune=False)
    with torch.no_grad(), FarDevice():
        move(tuned.loaded.transformer)
        far = tuned.loaded.dense.transformer
        assert {p.device for p in far.parameters()} == {FAR}
        found = far(ids.to("cuda"), steps.to("cuda"), MaskedAttend(prune=False)).cpu()
    assert torch.equal(found, base.loaded.transformer(ids, steps, off))


def test_weights_read_in_inference_mode_are_ordinary_tensors(
    tmp_path: Path, pair: tuple[OpenModel, OpenModel]
) -> None:
    def read(model: LoadedModel) -> torch.Tensor:
        ids = torch.arange(7)[None]
        return model.transformer(ids, ids, MaskedAttend(prune=False))

    with torch.inference_mode():
        model = load(tmp_path / "tuned")
        # It takes over weights of the model, which may have been read outside.
        inside = [read(model.dense), read(pair[0].loaded.dense)]
    assert model.dense is not model
    outside = read(model.dense)
    assert all(torch.equal(each, outside) for each in inside)


def test_runs_of_the_engine(pair: tuple[OpenModel, OpenModel]) -> None:
    tuned, base = pair
    off = logprobs(base)
    kept = logprobs(tuned, gate_shift=1e6)
    # A run of the gates has no need of the base: it is not even read.
    assert "untouched" not in vars(tuned.loaded)
    np.testing.assert_array_equal(logprobs(tuned, prune=False), off)
    assert not np.allclose(kept, off, atol=1e-3, equal_nan=True)
    rule = Eviction("h2o", 8)
    np.testing.assert_array_equal(logprobs(tuned, eviction=rule), logprobs(base, eviction=rule))
    margins = Eviction("gates", 8)
    assert not np.allclose(logprobs(tuned, eviction=margins), off, atol=1e-3, equal_nan=True)


@pytest.fixture
def switched(tmp_path: Path, pair: tuple[OpenModel, OpenModel]) -> tuple[OpenModel, OpenModel]:
    """The adapter of `pair` whose changes apply below a shift of 1, and its gates with none."""
    home = tmp_path / "tuned"
    told = json.loads((home / "dcp_config.json").read_text())
    (home / "dcp_config.json").write_text(json.dumps(told | {"changes_below": 1.0}))
    alone = dataclasses.replace(pair[0], loaded=load(home, changes=False))
    return open_model(home), alone


def test_where_little_is_dropped_the_gates_decide_on_the_base(
    pair: tuple[OpenModel, OpenModel], switched: tuple[OpenModel, OpenModel]
) -> None:
    always, (model, alone) = pair[0], switched
    for shift, runs in ((0.99, always), (1.0, alone), (3.0, alone), (-1.0, always)):
        found, expected = logprobs(model, gate_shift=shift), logprobs(runs, gate_shift=shift)
        np.testing.assert_array_equal(found, expected)
        other = always if runs is alone else alone
        assert not np.allclose(found, logprobs(other, gate_shift=shift), atol=1e-3, equal_nan=True)
    # Under a rule the gates' order counts, which is that of the changed weights.
    margins = Eviction("gates", 8)
    for shift in (0.0, LIFT):
        np.testing.assert_array_equal(
            logprobs(model, eviction=margins, gate_shift=shift),
            logprobs(always, eviction=margins, gate_shift=shift),
        )
    off = logprobs(model, prune=False)
    np.testing.assert_array_equal(off, logprobs(pair[1]))
    np.testing.assert_allclose(logprobs(model, gate_shift=1e6), off, atol=1e-5)


@pytest.mark.parametrize("how", [{"gate_shift": 2.0}, {"policy": "gates", "budget": 8}])
def test_a_trace_is_read_again_by_the_weights_that_made_it(
    switched: tuple[OpenModel, OpenModel], how: dict[str, Any]
) -> None:
    model, alone = switched
    run = record(TEXT, model=model, new_tokens=4, temperature=0, **how)
    assert run.meta.weights_sha256 == model.loaded.weights_sha256 != alone.loaded.weights_sha256
    (again,) = Reader(model, run).scores([run.death])
    np.testing.assert_allclose(again[1:], run.logprob[1:], atol=1e-5)
    read = gates_off(model, run)
    assert read.gates_off_logprob is not None
    far = np.abs(read.gates_off_logprob - run.logprob)[1:]
    if "budget" in how:
        assert far.max() > 1e-3
    elif not (run.death < run.tokens).any():
        assert far.max() < 1e-5


def test_measurements_take_the_weights_of_their_shift(
    pair: tuple[OpenModel, OpenModel], switched: tuple[OpenModel, OpenModel]
) -> None:
    always, (model, alone) = pair[0].loaded, (each.loaded for each in switched)
    ids = np.arange(40, dtype=np.int64).reshape(2, 20) * 3 % model.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    low, high = evaluate(model, windows, [0.0, 2.0])
    assert low == evaluate(always, windows, [0.0])[0]
    (expected,) = evaluate(alone, windows, [2.0])
    for name in ("sparsity", "ppl_pruned", "ppl_gates_off"):
        assert getattr(high, name) == pytest.approx(getattr(expected, name))
    for shift, runs in ((0.0, always), (2.0, alone)):
        own = measure(model, windows, "gates-shift", 8, shift=shift)
        np.testing.assert_allclose(
            own.nats, measure(runs, windows, "gates-shift", 8, shift=shift).nats
        )
        assert model.at(shift).weights_sha256 == runs.weights_sha256
    few = restrict(model, range(9))[0]
    assert few.at(2.0).config.vocab == 9
    assert few.at(2.0) is not few
    assert few.at(0.0) is few


def test_the_dial_is_measured_with_the_weights_of_each_shift(
    tmp_path: Path, pair: tuple[OpenModel, OpenModel]
) -> None:
    home, text = tmp_path / "tuned", tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{TEXT} {n} " * 9 for n in ("cab", "dad", "bad")))
    alone = load(home, changes=False)
    report = calibrate(home, home, [text], 32, [-1.0, 2.0], changes_below=1.0)["results"]
    model = load(home)
    assert model.gates is not None
    assert model.gates.changes_below == 1.0
    windows = read_windows(text, pair[0].tokenizer, 32)
    for runs, shifts in ((pair[0].loaded, [-1.0, 0.0]), (alone, [2.0])):
        for row in evaluate(runs, windows, shifts):
            (own,) = (each for each in report if each["gate_shift"] == row.gate_shift)
            assert own["ppl_pruned"] == pytest.approx(row.ppl_pruned)
            assert own["sparsity"] == pytest.approx(row.sparsity)
    fold(home, 0.5)
    folded = load(home).gates
    assert folded is not None
    assert folded.changes_below == 0.5
    with pytest.raises(RequestError, match="changes_below"):
        calibrate(home, home, [text], 32, [], changes_below=float("nan"))


def test_equal_weights_are_held_once(pair: tuple[OpenModel, OpenModel]) -> None:
    tuned, base = pair[0].loaded, pair[1].loaded
    held, whole = (dict(m.transformer.named_parameters()) for m in (tuned, tuned.dense))
    same = {name for name, p in whole.items() if p.data_ptr() == held[name].data_ptr()}
    plain = dict(base.transformer.named_parameters())
    gates = whole.keys() - plain.keys()
    assert same == {"embed.weight", "unembed.weight"} & whole.keys() | gates
    assert all(torch.equal(whole[name], p) for name, p in plain.items())
    assert tuned.dense is tuned.dense
    assert tuned.dense.weights_sha256 == base.weights_sha256
    assert tuned.dense.transformer is tuned.untouched.transformer
    assert base.dense is base
    few = restrict(tuned, range(9))[0]
    assert few.dense.config.vocab == few.config.vocab == 9
    assert torch.equal(few.dense.transformer.norm.weight, base.transformer.norm.weight)


@pytest.mark.skipif(native_missing() is not None, reason="blocks need the native kernels")
@pytest.mark.parametrize("dtype", [torch.int8, torch.int4])  # type: ignore[attr-defined]
def test_equal_blocks_are_held_once(
    pair: tuple[OpenModel, OpenModel], dtype: torch.dtype, tmp_path: Path
) -> None:
    tuned, base = (load(tmp_path / "tuned", dtype, gates=gates) for gates in (True, False))
    same = {
        name
        for name, block in tuned.dense.transformer.named_buffers()
        if block.data_ptr() == tuned.transformer.get_buffer(name).data_ptr()
    }
    blocks = {name for name, _ in base.transformer.named_buffers()}
    linear = [m for m in tuned.dense.transformer.modules() if isinstance(m, BlockLinear)]
    assert all(m.packed.data is m.blocks for m in linear)
    assert len(blocks) == 4 * base.config.layers + 1
    # Changes of 8 bits are in the blocks, those of 4 lie beside them.
    assert same == ({"unembed.blocks"} if dtype == torch.int8 else blocks)
    ids = torch.from_numpy(pair[0].tokenizer.encode(TEXT).ids)[None].long()
    off = (ids, torch.arange(ids.shape[1])[None], MaskedAttend(prune=False))
    assert torch.equal(tuned.dense.transformer(*off), base.transformer(*off))
    assert not torch.equal(tuned.transformer(*off), base.transformer(*off))


def test_what_a_run_is_compared_with(pair: tuple[OpenModel, OpenModel]) -> None:
    tuned, base = pair
    run = gates_off(tuned, record(TEXT, model=tuned, new_tokens=4, temperature=0))
    ids = torch.from_numpy(run.token_ids.astype(np.int64))[None]
    positions = torch.arange(ids.shape[1])[None]
    dense = base.loaded.transformer(ids, positions, MaskedAttend()).log_softmax(-1)[0]
    expected = dense[:-1].gather(1, ids[0, 1:, None])[:, 0]
    assert run.gates_off_logprob is not None
    np.testing.assert_allclose(run.gates_off_logprob[1:], expected, atol=1e-5)
    off = replay(tuned, run, prune=False)
    np.testing.assert_allclose(off.logprob[1:], expected, atol=1e-5)
    # Its own gates-off reading is itself.
    again = gates_off(tuned, off)
    assert again.kl is not None
    assert float(np.nanmax(again.kl)) < 1e-6
    found = next_tokens(tuned, run, 5)
    for candidate in found.candidates:
        assert candidate.full == pytest.approx(float(dense[5, candidate.token].exp()), abs=1e-5)


def test_what_is_measured_beside_it(pair: tuple[OpenModel, OpenModel]) -> None:
    tuned, base = pair[0].loaded, pair[1].loaded
    ids = np.arange(40, dtype=np.int64).reshape(2, 20) * 3 % tuned.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    (row,) = evaluate(tuned, windows, [1e6])
    (alone,) = evaluate(dataclasses.replace(tuned, read_base=None), windows, [1e6], base)
    assert row.ppl_gates_off == pytest.approx(alone.ppl_dense_finetuned)
    assert row.ppl_pruned != pytest.approx(row.ppl_gates_off, rel=1e-3)
    rival = measure(tuned, windows, "sink", 8)
    np.testing.assert_allclose(rival.nats, measure(base, windows, "sink", 8).nats)
    np.testing.assert_allclose(rival.dense, measure(base, windows, "sink", 8).dense)


def test_its_own_base_as_the_baseline_is_read_once(
    pair: tuple[OpenModel, OpenModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what the gates off are: there is no twin to read beside it."""
    tuned, base = pair[0].loaded, pair[1].loaded
    ids = np.arange(40, dtype=np.int64).reshape(2, 20) * 3 % tuned.config.vocab
    windows = Windows(ids, np.ones_like(ids), np.arange(2))
    (unsaid,) = evaluate(tuned, windows, [0.0])

    def again(*_: object) -> None:
        raise AssertionError("the base was read a second time")

    monkeypatch.setattr("dcp.evaluate.perplexity.score", again)
    (row,) = evaluate(tuned, windows, [0.0], base)
    assert row.ppl_dense_finetuned == row.ppl_gates_off == unsaid.ppl_gates_off
    assert row.ppl_ratio == pytest.approx(unsaid.ppl_pruned / unsaid.ppl_gates_off)
    assert (row.kl, row.sparsity_of_first) == (unsaid.kl, unsaid.sparsity_of_first)

"""Recording: what the engine did becomes a true trace, at every moment."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dcp
from dcp.engine.engine import Engine
from dcp.errors import DeviceError, RequestError
from dcp.kernels.api import resolve
from dcp.model.gate_config import Calibration
from dcp.model.registry import OpenModel, open_model
from dcp.policies.budget import budget_for_sparsity
from dcp.runs.recorder import Recorder, record
from dcp.runs.request import TextRequest
from dcp.trace import ALIVE, SampledWith, Trace
from tests.helpers.oracle import MaskedAttention, deaths

TEXT = "The river rose 🙂 for three days, naïve café"
Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Checkpoint) -> OpenModel:
    return open_model(tiny_checkpoint("llama", drop=0.6))


def test_a_trace_says_what_the_plain_masked_forward_does(model: OpenModel) -> None:
    trace = record(TEXT, model=model, new_tokens=31)
    ids = torch.from_numpy(trace.token_ids.astype(np.int64))
    oracle = MaskedAttention()
    with torch.inference_mode():
        logits = model.loaded.transformer(ids[None, :-1], torch.arange(len(ids) - 1)[None], oracle)
    expected = logits[0].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    np.testing.assert_allclose(trace.logprob[1:], expected, atol=1e-4)
    assert math.isnan(trace.logprob[0])
    for layer, interaction in enumerate(oracle.interactions):
        assert trace.death[layer, :-1].tolist() == deaths(interaction).tolist()
    z = oracle.logits[0].masked_fill(~torch.ones(len(ids) - 1, len(ids) - 1).tril(-1).bool(), 9e9)
    alive = trace.death[0, :-2] == ALIVE
    np.testing.assert_allclose(trace.margin[0, :-2][alive], z.amin(0)[:-1][alive], atol=1e-4)


def test_meta_says_how_the_run_was_made(model: OpenModel) -> None:
    trace = record(TEXT, model=model, new_tokens=5, seed=7, top_k=9, top_p=0.9, gate_shift=0.25)
    meta = trace.meta
    assert trace.text.startswith(TEXT)
    assert trace.prompt_tokens == len(TEXT.encode())
    assert (trace.tokens, trace.n_queries) == (trace.prompt_tokens + 5, trace.prompt_tokens + 4)
    assert meta.sampling == SampledWith(temperature=0.8, top_k=9, top_p=0.9)
    assert (meta.seed, meta.gate_shift, meta.dtype) == (7, 0.25, "float32")
    assert (meta.impl, meta.device) == (resolve("auto"), "cpu")
    assert meta.model == model.info.name
    assert len(meta.weights_sha256) == 64
    memory, config = meta.memory, model.loaded.config
    entry = 2 * config.kv_heads * config.head_dim * 4
    assert memory.entry == entry
    assert memory.dense == config.layers * trace.tokens * entry
    living = int((trace.death[:, : trace.n_queries] == ALIVE).sum())
    assert memory.live == living * entry
    assert 0 < memory.held <= memory.peak
    assert np.isnan(trace.step_seconds[: trace.prompt_tokens]).all()
    assert (trace.step_seconds[trace.prompt_tokens :] > 0).all()
    assert meta.time_to_first_token_s >= meta.prompt_seconds > 0
    assert meta.tokens_per_second > 0


def test_the_same_seed_gives_the_same_trace(model: OpenModel) -> None:
    runs = [record(TEXT, model=model, new_tokens=20, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].token_ids.tolist() == runs[1].token_ids.tolist() != runs[2].token_ids.tolist()
    assert np.array_equal(runs[0].death, runs[1].death)


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}, {"seed": 3}, {"gate_shift": -9.0}],
    ids=str,
)
def test_every_dial_changes_the_result(model: OpenModel, change: dict[str, float]) -> None:
    plain = record(TEXT, model=model, new_tokens=20, seed=1)
    changed = record(TEXT, model=model, new_tokens=20, **{"seed": 1, **change})
    assert plain.token_ids.tolist() != changed.token_ids.tolist()


def test_no_new_tokens_only_scores_the_text(model: OpenModel) -> None:
    trace = record(TEXT, model=model, new_tokens=0)
    assert trace.tokens == trace.prompt_tokens == trace.n_queries
    assert trace.text == TEXT
    assert np.isfinite(trace.logprob[1:]).all()
    assert trace.meta.tokens_per_second is None
    assert trace.meta.time_to_first_token_s is None


def test_one_token_is_a_run(model: OpenModel) -> None:
    trace = record("a", model=model, new_tokens=1)
    assert (trace.tokens, trace.n_queries) == (2, 1)
    assert record("a", model=model, new_tokens=0).tokens == 1


def test_a_snapshot_is_a_valid_trace_at_every_moment(model: OpenModel) -> None:
    recorder = Recorder.begin(TextRequest(TEXT * 4, model=model, new_tokens=30))
    final = record(TEXT * 4, model=model, new_tokens=30)
    snapshots = [recorder.trace()]
    assert snapshots[0].n_queries == 0
    for _ in recorder:
        snapshots.append(recorder.trace())
        counters = recorder.counters()
        assert counters.tokens == snapshots[-1].tokens
        assert counters.new_tokens == counters.tokens - snapshots[-1].prompt_tokens
        assert counters.process_bytes > 2**20
    assert len({snapshot.n_queries for snapshot in snapshots}) > 30
    for snapshot in snapshots:
        n = snapshot.n_queries
        assert snapshot.token_ids.tolist() == final.token_ids[: snapshot.tokens].tolist()
        known = np.where(final.death < n, final.death, ALIVE)[:, : snapshot.tokens]
        assert np.array_equal(snapshot.death, known)
        assert Trace.from_bytes(snapshot.to_bytes()) == snapshot
        settled = snapshot.text.removesuffix("\ufffd")
        assert final.text.startswith(settled)
    assert snapshots[-1].text == final.text


def test_counters_have_nothing_to_say_before_the_first_token(model: OpenModel) -> None:
    recorder = Recorder.begin(TextRequest(TEXT, model=model, new_tokens=3))
    before = recorder.counters()
    assert before.tokens_per_second_now is before.tokens_per_second_mean is None
    assert before.time_to_first_token_s is None
    assert before.kv_bytes_held == before.kv_bytes_live == 0
    for _ in recorder:
        pass
    after = recorder.counters()
    assert after.new_tokens == 3
    assert after.kv_bytes_live < after.kv_bytes_dense
    assert after.tokens_per_second_now is not None
    assert after.tokens_per_second_mean is not None
    assert after.time_to_first_token_s is not None


def test_a_cancelled_run_leaves_a_trace_that_says_so(model: OpenModel) -> None:
    answers = iter([False] * 6 + [True] * 99)
    recorder = Recorder.begin(
        TextRequest(TEXT, model=model, new_tokens=60), cancel=lambda: next(answers)
    )
    for _ in recorder:
        pass
    trace = recorder.trace()
    assert trace.meta.interrupted is True
    assert trace.prompt_tokens < trace.tokens < trace.prompt_tokens + 60
    assert record(TEXT, model=model, new_tokens=1).meta.interrupted is False


def test_end_of_text_stops_only_when_asked(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    free = open_model(tiny_checkpoint("llama"))
    drawn = record(TEXT, model=free, new_tokens=12).token_ids[len(TEXT.encode()) :].tolist()
    stopping = replace(free, stop_ids=(drawn[4],))
    first = drawn.index(drawn[4])
    assert record(TEXT, model=stopping, new_tokens=12).token_ids.tolist()[-12:] == drawn
    stopped = record(TEXT, model=stopping, new_tokens=12, stop_at_eos=True)
    assert stopped.token_ids.tolist()[stopped.prompt_tokens :] == drawn[: first + 1]


def test_a_long_text_is_refused_with_both_counts(model: OpenModel) -> None:
    text = "word " * 60
    with pytest.raises(RequestError, match=r"300 tokens.*256.*249"):
        record(text, model=model, new_tokens=7)


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_cuts_the_named_end_and_says_so(model: OpenModel, side: str) -> None:
    text = "".join(f"{i} 🙂" for i in range(99))
    trace = record(text, model=model, new_tokens=7, truncate=side)  # type: ignore[arg-type]
    assert trace.meta.truncated == side
    assert 240 < trace.prompt_tokens <= 249
    kept = trace.text[: trace.offsets[trace.prompt_tokens - 1, 1]]
    assert text.endswith(kept) if side == "left" else text.startswith(kept)
    assert record("a", model=model, new_tokens=7, truncate=side).meta.truncated is None  # type: ignore[arg-type]


def test_a_text_may_fill_the_context_to_the_last_token(model: OpenModel) -> None:
    assert record("a" * 256, model=model, new_tokens=0).tokens == 256
    assert record("a" * 100, model=model, new_tokens=156).tokens == 256


def test_sparsity_is_a_dial(model: OpenModel) -> None:
    dial = (Calibration(4.0, 256, 0.1, 1.0), Calibration(-4.0, 256, 0.9, 1.5))
    calibrated = replace(model, info=replace(model.info, calibration=dial))
    trace = record(TEXT, model=calibrated, new_tokens=3, sparsity=0.5)
    assert trace.meta.gate_shift == pytest.approx(0.0, abs=1e-9)
    dense = record(TEXT, model=calibrated, new_tokens=3, sparsity=0.1)
    pruned = record(TEXT, model=calibrated, new_tokens=3, sparsity=0.9)
    assert dense.sparsity_mean_steps() < pruned.sparsity_mean_steps()
    with pytest.raises(RequestError, match="not both"):
        record(TEXT, model=calibrated, sparsity=0.5, gate_shift=1.0)
    with pytest.raises(RequestError, match="outside"):
        record(TEXT, model=calibrated, sparsity=0.95)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": " \n\t\u3000"},
        {"text": "a \ud800"},
        {"new_tokens": -1},
        {"new_tokens": 256},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_k": -1},
        {"seed": -1},
        {"gate_shift": math.nan},
        {"gate_shift": math.inf},
        {"truncate": "middle"},
        {"sparsity": 0.5},
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_one_line(model: OpenModel, wrong: dict) -> None:
    with pytest.raises(RequestError) as caught:
        record(**{"text": TEXT, "model": model, **wrong})
    assert "\n" not in str(caught.value)


def test_an_implementation_that_cannot_run_is_refused(model: OpenModel) -> None:
    with pytest.raises(DeviceError):
        record(TEXT, model=model, impl="no-such")


def test_a_model_by_path_is_opened_once(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "copy")
    assert open_model(folder) is open_model(str(folder))
    settings = json.loads((folder / "dcp_config.json").read_text())
    settings["calibration"] = [
        {"delta": 0.0, "context": 256, "sparsity": 0.5, "perplexity_ratio": 1.0}
    ]
    (folder / "dcp_config.json").write_text(json.dumps(settings))
    assert open_model(folder).info.calibration[0].sparsity == 0.5


def test_the_library_call_of_the_readme(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    run = dcp.record("The river rose", model=tiny_checkpoint("llama"), new_tokens=4)
    assert isinstance(run, dcp.Trace)
    run.save(tmp_path / "run.safetensors")
    assert dcp.Trace.load(tmp_path / "run.safetensors") == run
    frame = run.to_frame(())
    assert len(frame) == run.layers * run.tokens
    assert dcp.record is record, "the function, whatever has been imported"


def test_recording_reads_the_engine_and_changes_nothing(model: OpenModel) -> None:
    ids = model.tokenizer.encode(TEXT).ids.tolist()
    run = Engine(model.loaded).run([ids], new_tokens=9)
    drawn = [int(part.tokens[0]) for step in run for part in step.rows if step.phase == "generate"]
    assert record(TEXT, model=model, new_tokens=9).token_ids.tolist() == ids + drawn


def test_a_policy_is_carried_out_on_the_host_and_its_share_counts_the_new_tokens(
    model: OpenModel,
) -> None:
    trace = record(TEXT, model=model, new_tokens=21, policy="window", sparsity=0.5)
    assert trace.meta.impl == "cpu"
    budget = budget_for_sparsity("window", 0.5, trace.tokens, {})
    assert trace.meta.budget == budget
    assert budget != budget_for_sparsity("window", 0.5, trace.prompt_tokens, {})
    named = record(TEXT, model=model, new_tokens=3, policy="window", budget=9, impl="reference")
    assert named.meta.impl == "reference"


def test_what_is_asked_of_the_text_decides_what_is_kept(model: OpenModel) -> None:
    def kept(instruction: str) -> np.ndarray:
        settings = {"instruction": instruction, "chunk": 8}
        return record(
            TEXT, model=model, new_tokens=0, policy="citrus-shared", budget=12,
            policy_settings=settings,
        ).death  # fmt: skip

    assert not np.array_equal(kept("Who rose?"), kept("And what of the boats by the mill?"))

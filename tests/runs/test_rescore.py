"""Reading the same tokens again: what pruning cost, and what one drop did to what came after."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.cli.main import main
from dcp.deaths import ForcedDeaths
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.model.registry import OpenModel, open_model
from dcp.runs.effects import Effect
from dcp.runs.next_tokens import next_tokens
from dcp.runs.plans import Plan, drop_now, matched, put_back
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import check, divergence, effect, gates_off, rescore
from dcp.trace import ALIVE, Trace
from tests.helpers.oracle import MaskedAttention
from tests.helpers.traces import random_trace, with_meta

TEXT = "The river rose 🙂 for three days, naïve café. Then it fell, and nobody spoke of it again."
# Sums of 100 float32 terms in another order, through three layers and a log-softmax.
CLOSE = 2e-5
Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module", params=["gpt2", "llama", "qwen3"])
def model(tiny_checkpoint: Checkpoint, request: pytest.FixtureRequest) -> OpenModel:
    return open_model(tiny_checkpoint(request.param, drop=0.6))


@pytest.fixture(scope="module")
def trace(model: OpenModel) -> Trace:
    return record(TEXT, model=model, new_tokens=21)


@pytest.fixture(scope="module")
def llama(tiny_checkpoint: Checkpoint) -> OpenModel:
    return open_model(tiny_checkpoint("llama", drop=0.6))


def untouched(trace: Trace) -> ForcedDeaths:
    return ForcedDeaths.none(trace.layers, trace.tokens)


def stepped(model: OpenModel, trace: Trace, deaths: ForcedDeaths, prompt: int) -> np.ndarray:
    """Log-probs by the engine: a prompt, then one token a step, each death by order."""
    ids = trace.token_ids.tolist()
    run = Engine(model.loaded).run(
        [ids[:prompt]], new_tokens=len(ids) - prompt, continuations=[ids[prompt:]], deaths=[deaths]
    )
    return np.concatenate([step.rows[0].logprobs for step in run])


# ---- rescore


def test_recorded_deaths_give_the_recorded_logprob(model: OpenModel, trace: Trace) -> None:
    for deaths in (untouched(trace), ForcedDeaths(trace.death), ForcedDeaths.none(trace.layers, 1)):
        np.testing.assert_allclose(rescore(model, trace, deaths), trace.logprob, atol=CLOSE)


def test_a_rescore_equals_stepping_with_the_cache(model: OpenModel, trace: Trace) -> None:
    rng = np.random.default_rng(3)
    for _ in range(3):
        token = int(rng.integers(1, trace.tokens - 30))
        for plan in (put_back(trace, token), drop_now(trace, token, token + 3, layer=1)):
            deaths = plan.deaths(trace)
            found = rescore(model, trace, deaths)
            wanted = stepped(model, trace, deaths, prompt=token + 1)
            np.testing.assert_allclose(found, wanted, atol=CLOSE)


def test_the_batch_of_plans_equals_one_after_another(llama: OpenModel) -> None:
    trace = record(TEXT, model=llama, new_tokens=9)
    plan = drop_now(trace, 12, 14, layer=0)
    found = effect(llama, trace, plan, n=13)
    recorded = rescore(llama, trace, untouched(trace))
    assert len(found.controls.plans) > 7
    for other, change in zip(found.controls.plans, found.control_change, strict=True):
        alone = rescore(llama, trace, other.deaths(trace)) - recorded
        start = other.first + 1
        np.testing.assert_allclose(change, alone[start : start + len(change)], atol=CLOSE)


def test_progress_is_told_and_may_end_the_work(llama: OpenModel) -> None:
    trace = record(TEXT, model=llama, new_tokens=9)
    told: list[float] = []

    def say(share: float, line: str) -> None:
        told.append(share)
        if len(told) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        effect(llama, trace, drop_now(trace, 12, 14, layer=0), progress=say)
    assert told[0] == 0 < told[1] < 1


# ---- put back, drop now


def test_putting_back_what_was_never_dropped_changes_nothing(llama: OpenModel) -> None:
    trace = record(TEXT, model=llama, new_tokens=9)
    layer, token = (int(i) for i in np.argwhere(trace.death == ALIVE)[0])
    plan = put_back(trace, token, layer)
    assert (plan.layers, plan.first, plan.later(trace)) == ((), None, 0)
    assert np.array_equal(plan.deaths(trace).death, trace.death)
    found = effect(llama, trace, plan)
    assert np.isnan(found.change).all()
    assert (found.total, found.controls.plans, found.controls.horizon) == (0.0, (), 0)


def test_a_plan_changes_one_token_alone() -> None:
    trace = random_trace(1)
    plan = put_back(trace, 5)
    changed = np.argwhere(plan.deaths(trace).death != trace.death)
    assert {tuple(pair) for pair in changed} == {(layer, 5) for layer in plan.layers}
    assert plan.layers == tuple(np.flatnonzero(trace.death[:, 5] != ALIVE))
    assert plan.steps == tuple(trace.death[list(plan.layers), 5])
    one = put_back(trace, 5, plan.layers[-1])
    assert one.layers == plan.layers[-1:]


def test_dropping_now_leaves_gone_what_is_gone() -> None:
    trace = random_trace(2)
    layer, token = next(
        (int(i), int(j)) for i, j in np.argwhere(trace.death != ALIVE) if trace.death[i, j] > j + 1
    )
    death = int(trace.death[layer, token])
    assert drop_now(trace, token, death, layer).layers == ()
    plan = drop_now(trace, token, death - 1, layer)
    assert (plan.layers, plan.steps) == ((layer,), (death - 1,))
    assert plan.deaths(trace).death[layer, token] == death - 1


def test_nothing_changes_before_the_drop_and_something_after(
    model: OpenModel, trace: Trace
) -> None:
    token = 10
    for plan in (put_back(trace, token), drop_now(trace, token, token + 1)):
        found = effect(model, trace, plan, n=2)
        assert np.isnan(found.change[: plan.first + 1]).all()
        later = found.change[plan.first + 1 :]
        assert np.isfinite(later).all()
        assert np.abs(later).max() > 1e-4
        recorded = rescore(model, trace, untouched(trace))
        again = rescore(model, trace, plan.deaths(trace))
        np.testing.assert_allclose(
            again[1 : plan.first + 1], recorded[1 : plan.first + 1], atol=CLOSE
        )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: put_back(t, 63), "no token 63"),
        (lambda t: put_back(t, -1), "no token -1"),
        (lambda t: put_back(t, 3, 3), "no layer 3"),
        (lambda t: drop_now(t, 5, 5), "steps 6 to 62"),
        (lambda t: drop_now(t, 5, 63), "steps 6 to 62"),
    ],
)
def test_what_is_not_in_the_trace_is_refused(make: Callable[[Trace], Plan], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        make(random_trace(0))


# ---- controls


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_controls_match_on_layer_age_and_what_is_left(seed: int) -> None:
    trace = random_trace(seed, tokens=200, layers=4)
    rng = np.random.default_rng(seed)
    for token in rng.integers(1, 150, 6):
        for plan in (
            put_back(trace, int(token)),
            put_back(trace, int(token), 1),
            drop_now(trace, int(token), int(token) + 7),
        ):
            controls = matched(trace, plan, seed=seed, horizon=20)
            assert len({other.token for other in controls.plans}) == len(controls.plans) <= 20
            for other in controls.plans:
                assert other.token not in (0, plan.token)
                assert set(other.layers) <= set(plan.layers)
                assert len(other.layers) >= controls.shared * len(plan.layers)
                here = [plan.layers.index(layer) for layer in other.layers]
                ratio = np.exp(np.abs(np.log(other.ages / plan.ages[here])).mean())
                assert ratio <= controls.ratio + 1e-6
                assert other.later(trace) >= controls.horizon == min(20, plan.later(trace))
                death = trace.death[list(other.layers), other.token]
                if plan.kind == "put back":
                    assert other.steps == tuple(death)
                else:
                    assert (death > other.steps).all()
                    assert np.array_equal(other.ages, plan.ages[here])


def test_controls_are_seeded_and_as_many_as_asked_for() -> None:
    trace = random_trace(5, tokens=300, layers=2)
    plan = put_back(trace, 40, 0)
    draws = [matched(trace, plan, seed=seed, n=11).plans for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 11


def test_a_closer_match_is_taken_when_there_are_enough() -> None:
    trace = random_trace(5, tokens=300, layers=2)
    plan = put_back(trace, 40, 0)
    ratios = [matched(trace, plan, n=n).ratio for n in (1, 20, 10_000)]
    assert ratios == sorted(ratios)
    assert ratios[-1] == 4.0


def test_all_layers_are_shared_wherever_there_are_enough() -> None:
    trace = random_trace(6, tokens=200, layers=5)
    token = int(np.argmax((trace.death != ALIVE).sum(axis=0)))
    plan = put_back(trace, token)
    shares = [matched(trace, plan, n=n).shared for n in (1, 20, 10_000)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1.0, 0.5)


# ---- effects


def an_effect(change: list[float], controls: list[list[float]]) -> Effect:
    plan = Plan("put back", 0, (0,), (1,))
    trace = random_trace(0, tokens=40)
    found = matched(trace, put_back(trace, 3), horizon=len(controls[0]))
    full = np.array([np.nan, np.nan, *change], np.float32)
    return Effect(plan, full, replace(found, horizon=len(controls[0])), np.float32(controls))


def test_the_sum_its_rank_and_the_band() -> None:
    found = an_effect([1.0, 2.0, 50.0], [[i / 10, -i / 10] for i in range(21)])
    assert found.after.tolist() == [1.0, 2.0]
    assert found.total == 3.0
    assert (found.below, found.as_large) == (21, 0)
    low, high = found.band()
    np.testing.assert_allclose(low, [0.1, -1.9], atol=1e-6)
    np.testing.assert_allclose(high, [1.9, -0.1], atol=1e-6)
    low, high = found.band(0.5)
    np.testing.assert_allclose(low, [0.5, -1.5], atol=1e-6)
    weak = an_effect([-0.5, 0.0], [[1.0, 0.0], [-0.4, 0.0], [-0.6, 0.0], [0.1, 0.0]])
    assert (weak.below, weak.as_large) == (1, 2)


def test_without_controls_there_is_no_band() -> None:
    found = an_effect([1.0, 2.0], [[0.0, 0.0]])
    found = replace(found, control_change=np.zeros((0, 2), np.float32))
    assert (found.below, found.as_large) == (0, 0)
    assert np.isnan(np.stack(found.band())).all()


# ---- gates off


def test_gates_off_is_the_dense_run(model: OpenModel, trace: Trace) -> None:
    full = gates_off(model, trace)
    ids = trace.token_ids.tolist()
    dense = Engine(model.loaded).run([ids], new_tokens=0, prune=False)
    wanted = np.concatenate([step.rows[0].logprobs for step in dense])
    np.testing.assert_allclose(full.gates_off_logprob, wanted, atol=CLOSE)
    assert full.meta == replace(
        trace.meta, lost_attention_on_token_0=full.meta.lost_attention_on_token_0
    )
    assert np.array_equal(full.death, trace.death)


def test_kl_is_that_of_the_two_predictions(model: OpenModel, trace: Trace) -> None:
    full = gates_off(model, trace)
    ids = torch.from_numpy(trace.token_ids.astype(np.int64))[None]
    at = torch.arange(trace.tokens)[None]
    died = torch.from_numpy(trace.death.copy())[:, None, :]
    visible = (at <= at.T) & (died > at.T)
    with torch.inference_mode():
        pruned = model.loaded.transformer(ids, at, MaskedAttention(visible=visible))[0, :-1]
        off = model.loaded.transformer(ids, at, MaskedAttention(prune=False))[0, :-1]
    p, q = off.double().log_softmax(-1), pruned.double().log_softmax(-1)
    wanted = (p.exp() * (p - q)).sum(-1)
    np.testing.assert_allclose(full.kl[1:], wanted, atol=1e-5)
    assert (full.kl[1:] >= 0).all()
    assert full.kl[1:].max() > 1e-3
    assert np.isnan(full.kl[0])


class Seen(MaskedAttention):
    """Keeps the attention of a run in which nothing is dropped, mean over heads."""

    def __call__(self, layer, q, k, v, gates):  # type: ignore[no-untyped-def]
        (a, b), length = (x[0].transpose(0, 1) for x in (q, k)), q.shape[1]
        b = b.repeat_interleave(len(a) // len(b), 0)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = (a @ b.transpose(1, 2) / a.shape[2] ** 0.5).masked_fill(later, -torch.inf)
        self.shares = [*getattr(self, "shares", []), scores.softmax(-1).mean(0).numpy()]
        return super().__call__(layer, q, k, v, gates)


def test_lost_attention_sat_on_dropped_tokens(model: OpenModel, trace: Trace) -> None:
    full = gates_off(model, trace)
    ids = torch.from_numpy(trace.token_ids.astype(np.int64))[None]
    seen = Seen(prune=False)
    with torch.inference_mode():
        model.loaded.transformer(ids, torch.arange(trace.tokens)[None], seen)
    steps = np.arange(trace.n_queries)
    for layer, share in enumerate(seen.shares):
        gone = trace.death[layer] <= np.arange(trace.tokens)[:, None]
        wanted = (share * gone)[:, 1:].sum(axis=1)[: trace.n_queries]
        np.testing.assert_allclose(full.lost_attention[layer, steps], wanted, atol=1e-5)
        on_sink = share[steps, 0][gone[steps, 0]]
        found = full.meta.lost_attention_on_token_0[layer]
        assert found == pytest.approx(on_sink.mean() if len(on_sink) else 0.0, abs=1e-5)
    assert np.isnan(full.lost_attention[:, trace.n_queries :]).all()
    assert full.lost_attention[:, 1:20].max() > 0


def test_where_nothing_is_dropped_nothing_is_lost(tiny_checkpoint: Checkpoint) -> None:
    model = open_model(tiny_checkpoint("llama", drop=0))
    full = gates_off(model, record(TEXT, model=model, new_tokens=3))
    assert full.kl[1:].max() < 1e-6
    assert np.nanmax(full.lost_attention) == 0
    np.testing.assert_allclose(full.gates_off_logprob, full.logprob, atol=CLOSE)


def test_a_text_of_one_token_has_nothing_to_compare(llama: OpenModel) -> None:
    trace = record("x", model=llama, new_tokens=0)
    full = gates_off(llama, trace)
    assert np.isnan([full.kl[0], full.gates_off_logprob[0]]).all()
    assert np.isnan(rescore(llama, trace, untouched(trace))).tolist() == [True]
    assert effect(llama, trace, put_back(trace, 0)).total == 0


def test_a_trace_with_everything_dropped_can_be_put_back(llama: OpenModel) -> None:
    trace = record(TEXT, model=llama, new_tokens=2, gate_shift=-1e6)
    queries = trace.n_queries
    assert (trace.death[:, : queries - 1] == np.arange(1, queries)).all()
    found = effect(llama, trace, put_back(trace, 4))
    assert found.plan.layers == (0, 1, 2)
    assert len(found.controls.plans) == 20
    assert found.controls.ratio == 1.1
    assert np.nanmax(gates_off(llama, trace).lost_attention) <= 1


def test_the_filled_trace_survives_a_file(llama: OpenModel, tmp_path: Path) -> None:
    full = gates_off(llama, record(TEXT, model=llama, new_tokens=2))
    full.save(tmp_path / "run.safetensors")
    assert Trace.load(tmp_path / "run.safetensors") == full


# ---- other weights


def test_a_trace_of_other_weights_is_refused_in_one_line(
    llama: OpenModel, tiny_checkpoint: Checkpoint
) -> None:
    other = open_model(tiny_checkpoint("llama", drop=0.6, seed=1))
    trace = record(TEXT, model=other, new_tokens=2)
    for ask in (
        lambda: check(llama, trace),
        lambda: gates_off(llama, trace),
        lambda: rescore(llama, trace, untouched(trace)),
        lambda: effect(llama, trace, put_back(trace, 3)),
    ):
        with pytest.raises(RequestError, match="other weights") as refused:
            ask()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tokens", "layers", "ids", "said"),
    [(63, 2, 8192, "2 layers"), (300, 3, 8192, "300 tokens"), (63, 3, 8192, "does not know")],
)
def test_a_forged_hash_meets_the_other_checks(
    llama: OpenModel, tokens: int, layers: int, ids: int, said: str
) -> None:
    forged = random_trace(0, tokens=tokens, layers=layers)
    forged = with_meta(forged, weights_sha256=llama.loaded.weights_sha256)
    with pytest.raises(RequestError, match=said):
        check(llama, forged)


# ---- replay and divergence


def test_a_replay_at_the_same_setting_is_the_same_run(model: OpenModel, trace: Trace) -> None:
    again = replay(model, trace)
    assert np.array_equal(again.death, trace.death)
    np.testing.assert_allclose(again.logprob, trace.logprob, atol=CLOSE)
    np.testing.assert_allclose(again.margin, trace.margin, atol=1e-4)
    assert (again.prompt_tokens, again.n_queries) == (trace.prompt_tokens, trace.n_queries)
    assert np.isnan(again.step_seconds).all()


def test_a_replay_elsewhere_drops_otherwise_and_says_so(model: OpenModel, trace: Trace) -> None:
    sparser, off = replay(model, trace, gate_shift=-0.5), replay(model, trace, prune=False)
    assert sparser.sparsity_mean_steps() > trace.sparsity_mean_steps() > 0
    assert off.sparsity_mean_steps() == 0
    assert np.array_equal(sparser.token_ids, trace.token_ids)
    assert (sparser.meta.gate_shift, off.meta.replayed.gates) == (-0.5, "off")
    full = gates_off(model, trace)
    np.testing.assert_allclose(off.logprob, full.gates_off_logprob, atol=CLOSE)
    np.testing.assert_allclose(divergence(model, off, model, trace), full.kl, atol=1e-5)
    assert np.nanmax(divergence(model, trace, model, trace)) == 0


def test_a_stopped_replay_leaves_no_half_trace(llama: OpenModel) -> None:
    trace = record(TEXT, model=llama, new_tokens=9)
    with pytest.raises(RequestError, match="stopped"):
        replay(llama, trace, cancel=lambda: True)


def test_other_tokens_are_neither_replayed_nor_compared(llama: OpenModel) -> None:
    with pytest.raises(RequestError, match="other tokens"):
        replay(llama, random_trace(0))
    one, two = (record(TEXT[:n], model=llama, new_tokens=0) for n in (20, 21))
    with pytest.raises(RequestError, match="different tokens"):
        divergence(llama, one, llama, two)


# ---- the command line


def test_the_command_line_fills_the_optional_fields(
    llama: OpenModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.safetensors"
    asked = ["trace", "--text", TEXT, "--model", str(llama.info.path), "--new-tokens", "5"]
    assert main([*asked, "--json", "--out", str(out), "--gates-off"]) == 0
    said = json.loads(capsys.readouterr().out)["gates_off"]
    trace = Trace.load(out)
    assert said["kl"] == pytest.approx(np.nanmean(trace.kl))
    assert len(said["lost_attention_per_layer"]) == trace.layers
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gates_off"] is None


@pytest.mark.parametrize("step", [0, 7, -1])
def test_next_tokens_are_what_the_run_and_the_gates_off_run_said(
    model: OpenModel, trace: Trace, step: int
) -> None:
    step = step % (trace.n_queries - 1)
    found = next_tokens(model, trace, step, most=5)
    assert found.drawn is not None
    assert found.drawn.token == trace.token_ids[step + 1]
    off = gates_off(model, trace)
    assert np.log(found.drawn.pruned) == pytest.approx(trace.logprob[step + 1], abs=CLOSE)
    assert off.gates_off_logprob is not None
    assert off.kl is not None
    assert np.log(found.drawn.full) == pytest.approx(off.gates_off_logprob[step + 1], abs=CLOSE)
    assert found.kl == pytest.approx(float(off.kl[step + 1]), abs=CLOSE)
    larger = [max(row.pruned, row.full) for row in found.candidates]
    assert larger == sorted(larger, reverse=True)
    assert 5 <= len(larger) <= 10
    assert sum(row.pruned for row in found.candidates) <= 1 + CLOSE
    for likeliest in (max(row.pruned for row in found.candidates), larger[0]):
        assert found.drawn.pruned <= likeliest + CLOSE
    with pytest.raises(RequestError, match="is not one of the run's"):
        next_tokens(model, trace, trace.n_queries)


def test_a_rules_run_is_of_these_weights_whether_its_model_had_gates_or_not() -> None:
    """The hash of a model opened without gates leaves them out, and a rule needs none."""
    made = record("The river rose for three days.", policy="tova", budget=4, new_tokens=3)
    gated, plain = open_model("dcp-mini"), open_model("dcp-mini", gates=False)
    assert made.meta.weights_sha256 == plain.loaded.weights_sha256 != gated.loaded.weights_sha256
    for model in (gated, plain):
        check(model, made)
    with pytest.raises(RequestError, match="other weights"):
        check(gated, with_meta(made, weights_sha256="0" * 64))
    with pytest.raises(RequestError, match="other weights"):
        check(gated, with_meta(made, policy=None, budget=None))

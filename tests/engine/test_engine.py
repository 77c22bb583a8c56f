"""The engine's equalities: decoding step by step is one masked forward, and its other promises.

Comparison with the masked forward. The engine's deaths become the mask of a plain forward over the
whole sequence (no cache, no chunks). Along it the gate logits must agree with every death: positive
before it, not positive at it. Only logits within BUDGET of zero may disagree, and are counted. The
log-probs then must agree within BUDGET.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcp.deaths import ALIVE, ForcedDeaths
from dcp.engine.engine import Engine, Run, Step
from dcp.errors import DeviceError, RequestError
from dcp.kernels import api
from dcp.model import cache
from dcp.model.config import ARCHITECTURES, Sampling
from dcp.model.native import NativeCache
from dcp.model.weights import LoadedModel, load
from tests.helpers.oracle import MaskedAttention, deaths

BUDGET = 2e-5
GREEDY = Sampling(temperature=0)
DROPS = [0.0, 0.5, 0.8, 0.99]
# Where decoding goes its own way; prompts are read by cpu's kernels in both.
DECODING = ["cpu", "native"] if api.native_missing() is None else ["cpu"]


@pytest.fixture(scope="module")
def models(tiny_checkpoint):
    """models(architecture, drop) -> LoadedModel, each loaded once."""
    loaded: dict[tuple[str, float], LoadedModel] = {}

    def model(architecture: str = "llama", drop: float = 0.8) -> LoadedModel:
        key = (architecture, drop)
        if key not in loaded:
            loaded[key] = load(tiny_checkpoint(architecture, drop=drop))
        return loaded[key]

    return model


def text(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 256, length).tolist()


def finish(run: Run) -> list[Step]:
    return list(run)


def tokens_of(steps: list[Step], row: int) -> list[int]:
    return [int(t) for s in steps for part in s.rows if part.row == row for t in part.tokens]


def logprobs_of(steps: list[Step], row: int) -> np.ndarray:
    return np.concatenate([p.logprobs for s in steps for p in s.rows if p.row == row])


def drops_of(steps: list[Step], row: int) -> set[tuple[int, int, int]]:
    return {
        (int(layer), int(position), int(step))
        for s in steps
        for part in s.rows
        if part.row == row
        for layer, position, step in zip(
            part.drops.layer, part.drops.position, part.drops.step, strict=True
        )
    }


def check_against_masked_forward(
    model: LoadedModel,
    ids: Sequence[int],
    death: np.ndarray,
    margin: np.ndarray,
    logprobs: np.ndarray,
    shift: float = 0.0,
) -> int:
    """Assert what the module says of one row; how many logits lay within the budget of zero."""
    T = len(ids)
    steps = torch.arange(T)[:, None]
    born = torch.arange(T)
    visible = (born <= steps) & (steps < torch.from_numpy(death)[:, None, :])
    attend = MaskedAttention(visible=visible, shift=shift)
    with torch.inference_mode():
        logits = model.transformer(torch.tensor([ids]), born[None], attend)[0].double()
    expected = torch.log_softmax(logits, -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    np.testing.assert_allclose(logprobs[1:], expected.numpy(), atol=BUDGET, rtol=0)
    ties = 0
    for layer, z in enumerate(attend.logits):
        z = z.numpy()
        for j in range(T):
            end = min(int(death[layer, j]), T - 1)
            asked = z[j + 1 : end + 1, j]
            lived = asked[: death[layer, j] - j - 1]
            assert (lived > -BUDGET).all()
            if death[layer, j] < T:
                assert asked[-1] <= BUDGET
            if len(asked):
                assert margin[layer, j] == pytest.approx(asked.min(), abs=BUDGET)
            else:
                assert np.isnan(margin[layer, j])
            ties += int((np.abs(asked) <= BUDGET).sum())
    return ties


@pytest.mark.parametrize("impl", DECODING)
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_step_by_step_decoding_is_one_masked_forward(
    models, architecture, drop, impl, record_property
):
    model = models(architecture, drop)
    prompts = [text(1, 1), text(31, 2), text(62, 3)]
    run = Engine(model, impl).run(prompts, new_tokens=33, sampling=Sampling(1.0), chunk=7)
    steps = finish(run)
    ties = 0
    for row in range(3):
        ids = tokens_of(steps, row)
        assert len(ids) == len(prompts[row]) + 33
        # The token drawn last has not been read: the forward covers what was.
        death, margin = run.lives(row)
        assert (death[:, -1] == ALIVE).all()
        assert np.isnan(margin[:, -1]).all()
        ties += check_against_masked_forward(
            model, ids[:-1], death[:, :-1], margin[:, :-1], logprobs_of(steps, row)[:-1]
        )
        assert np.isnan(logprobs_of(steps, row)[0])
        share = (death != ALIVE).mean()
        assert share == 0 if drop == 0 else share > drop / 6
    record_property("logits within the budget of zero", ties)
    assert ties <= 2


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_deaths_are_those_of_the_free_masked_forward(models, architecture, drop):
    """Here the forward decides for itself: p = [z > 0], I its cumulative product."""
    model = models(architecture, drop)
    ids = text(63, 5)
    free = MaskedAttention()
    with torch.inference_mode():
        model.transformer(torch.tensor([ids]), torch.arange(63)[None], free)
    expected = torch.stack([deaths(interaction) for interaction in free.interactions])
    for impl in ("reference", "cpu"):
        for chunk in (1, 63):
            run = Engine(model, impl).run([ids], new_tokens=0, chunk=chunk)
            finish(run)
            assert torch.equal(torch.from_numpy(run.lives(0)[0]).long(), expected.long())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_pruning_log_probs_and_logits_are_those_of_transformers(
    models, tiny_checkpoint, architecture
):
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tiny_checkpoint(architecture, drop=0.8)
    ).eval()
    model = models(architecture)
    ids = text(101, 7)
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids])).logits[0]
        dense = MaskedAttention(prune=False)
        ours = model.transformer(torch.tensor([ids]), torch.arange(101)[None], dense)[0]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    steps = finish(
        Engine(model).run([ids[:60]], new_tokens=41, continuations=[ids[60:]], prune=False)
    )
    log_p = torch.log_softmax(expected, -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    np.testing.assert_allclose(logprobs_of(steps, 0)[1:], log_p.numpy(), atol=1e-4, rtol=0)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_chunks_batches_and_slot_order_change_nothing(models, data):
    """Any split of the same work gives the same deaths and the same tokens."""
    architecture = data.draw(st.sampled_from(ARCHITECTURES))
    model = models(architecture, data.draw(st.sampled_from(DROPS)))
    lengths = data.draw(st.lists(st.integers(1, 70), min_size=1, max_size=4))
    prompts = [text(n, 11 * n + i) for i, n in enumerate(lengths)]
    sampling = Sampling(0.9, top_k=data.draw(st.sampled_from([0, 5])), seed=3)
    ask = {"new_tokens": 9, "sampling": sampling}
    one = Engine(model, "reference").run(prompts, chunk=64, **ask)
    steps = finish(one)
    row = data.draw(st.integers(0, len(prompts) - 1))
    chunk = data.draw(st.integers(1, 80))
    alone = Engine(model).run([prompts[row]], chunk=chunk, streams=[row], **ask)
    again = finish(alone)
    assert tokens_of(again, 0) == tokens_of(steps, row)
    assert drops_of(again, 0) == drops_of(steps, row)
    for mine, theirs in zip(alone.lives(0), one.lives(row), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=BUDGET, rtol=0)


def test_any_permutation_of_the_slots_changes_nothing(models):
    """Between steps the rows of every layer are shuffled; positions are logical."""
    model = models("qwen3")
    prompt, continuation = text(40, 1), text(30, 2)
    ask = {"new_tokens": 30, "continuations": [continuation]}
    plain = Engine(model).run([prompt], **ask)
    expected = finish(plain)
    shuffled = Engine(model).run([prompt], **ask)
    g = np.random.default_rng(0)
    steps = []
    for step in shuffled:
        steps.append(step)
        # Rows are counted by the slots again until the next step.
        if isinstance(shuffled._cache, NativeCache):
            shuffled._cache.settle(0)
        for slots in shuffled._cache._slots[0]:  # type: ignore[attr-defined]
            shuffle(slots, g)
    assert drops_of(steps, 0) == drops_of(expected, 0)
    np.testing.assert_allclose(logprobs_of(steps, 0), logprobs_of(expected, 0), atol=BUDGET, rtol=0)


def shuffle(slots: cache.Slots, g: np.random.Generator) -> None:
    n = slots.count
    order = g.permutation(n)
    for table in (slots.k.numpy(), slots.v.numpy(), slots.k_int.numpy()):
        table[:n] = table[:n][order]
    slots.positions[:n] = slots.positions[:n][order]
    slots.margins[:n] = slots.margins[:n][order]


@pytest.mark.parametrize("shift", [-1.5, 0.0, 2.0, 100.0])
def test_the_gate_shift_is_added_to_beta(models, shift):
    model = models("llama", 0.5)
    ids = text(50, 4)
    run = Engine(model).run([ids], new_tokens=0, gate_shift=shift)
    steps = finish(run)
    check_against_masked_forward(model, ids, *run.lives(0), logprobs_of(steps, 0), shift)


def test_a_gate_shift_down_drops_more(models):
    counts = []
    for shift in (-2.0, 0.0, 2.0):
        run = Engine(models("gpt2", 0.5)).run([text(50, 4)], new_tokens=0, gate_shift=shift)
        finish(run)
        counts.append(int((run.lives(0)[0] != ALIVE).sum()))
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("chunk", [1, 5, 64])
@pytest.mark.parametrize("prune", [True, False])
def test_a_forced_schedule_is_obeyed_and_gates_leave_no_margin(models, chunk, prune):
    model = models("mistral")
    ids = text(40, 9)
    g = np.random.default_rng(1)
    schedule = np.arange(40) + g.integers(1, 60, (3, 40))
    schedule[g.random((3, 40)) < 0.3] = ALIVE
    run = Engine(model).run(
        [ids[:30]], new_tokens=10, continuations=[ids[30:]], deaths=[ForcedDeaths(schedule)],
        chunk=chunk, prune=prune,
    )  # fmt: skip
    steps = finish(run)
    death, margin = run.lives(0)
    # The token at 39 is never read, so what should die there lives.
    np.testing.assert_array_equal(death, np.where(schedule < 39, schedule, ALIVE))
    assert np.isnan(margin).all()
    visible = torch.arange(39)[:, None] < torch.from_numpy(death[:, None, :39])
    mask = MaskedAttention(visible=visible & torch.ones(39, 39, dtype=torch.bool).tril())
    with torch.inference_mode():
        logits = model.transformer(torch.tensor([ids[:39]]), torch.arange(39)[None], mask)[0]
    log_p = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    np.testing.assert_allclose(logprobs_of(steps, 0)[1:], log_p.numpy(), atol=BUDGET, rtol=0)


def test_put_it_back_and_drop_it_now_change_one_life(models):
    model = models("llama", 0.5)
    ids = text(60, 3)
    base = Engine(model).run([ids], new_tokens=0)
    finish(base)
    death, _ = base.lives(0)
    layer, token = (int(i) for i in np.argwhere(death[:2] < 40)[0])
    orders = ForcedDeaths.none(3, 60)
    kept = Engine(model).run([ids], new_tokens=0, deaths=[orders.keep(token, layer)])
    finish(kept)
    assert kept.lives(0)[0][layer, token] == ALIVE
    np.testing.assert_array_equal(kept.lives(0)[0][:layer], death[:layer])
    alive = int(np.flatnonzero(death[0, :30] == ALIVE)[0])
    gone = Engine(model).run([ids], new_tokens=0, deaths=[orders.drop(alive, 41, 0)])
    finish(gone)
    changed = gone.lives(0)[0][0] != death[0]
    assert np.flatnonzero(changed).tolist() == [alive]
    assert gone.lives(0)[0][0, alive] == 41
    everywhere = Engine(model).run([ids], new_tokens=0, deaths=[orders.drop(alive, 41)])
    finish(everywhere)
    assert (everywhere.lives(0)[0][:, alive] == 41).all()


def test_forced_deaths_refuse_what_cannot_be():
    for table in ([[0, 5]], [[3, 1]], [[-2, 5]]):
        with pytest.raises(RequestError, match="cannot die"):
            ForcedDeaths(np.array(table))
    with pytest.raises(RequestError):
        ForcedDeaths(np.zeros(5, dtype=int))
    with pytest.raises(RequestError):
        ForcedDeaths.none(2, 5).keep(5)
    with pytest.raises(RequestError):
        ForcedDeaths.none(2, 5).drop(1, 3, layer=2)


def test_a_row_stops_alone_and_its_memory_goes(models):
    engine = Engine(models("llama"))
    prompts = [text(9, 1), text(17, 2)]
    free = finish(engine.run(prompts, new_tokens=12, sampling=GREEDY))
    stop = tokens_of(free, 0)[9 + 4]
    assert stop not in tokens_of(free, 0)[9 : 9 + 4]
    run = engine.run(prompts, new_tokens=12, sampling=GREEDY, stop_ids=[stop])
    steps = finish(run)
    assert tokens_of(steps, 0) == tokens_of(free, 0)[: 9 + 5]
    ends = {p.row: p.finished for s in steps for p in s.rows if p.finished}
    assert ends[0] == "stop"
    assert run._cache.memory(0).held == 0
    expected = tokens_of(free, 1)
    cut = expected.index(stop, 17) + 1 if stop in expected[17:] else len(expected)
    assert tokens_of(steps, 1) == expected[:cut]
    assert run.lives(0)[0].shape == (3, 14)


def test_each_row_has_its_own_length_and_zero_only_scores(models):
    steps = finish(Engine(models("qwen2")).run([text(9, 1), text(5, 2)], new_tokens=[0, 3]))
    assert len(tokens_of(steps, 0)) == 9
    assert len(tokens_of(steps, 1)) == 8
    assert {p.row: p.finished for s in steps for p in s.rows if p.finished} == {
        0: "length",
        1: "length",
    }


def test_teacher_forcing_scores_the_given_continuation(models):
    model = models("gpt2")
    ids = text(40, 8)
    whole = finish(Engine(model).run([ids], new_tokens=0))
    given = finish(Engine(model).run([ids[:11]], new_tokens=29, continuations=[ids[11:]]))
    assert tokens_of(given, 0) == ids
    np.testing.assert_allclose(logprobs_of(given, 0), logprobs_of(whole, 0), atol=BUDGET, rtol=0)
    partly = finish(Engine(model).run([ids[:11]], new_tokens=29, continuations=[ids[11:14]]))
    assert tokens_of(partly, 0)[:14] == ids[:14]
    assert len(tokens_of(partly, 0)) == 40


def test_cancel_ends_between_steps_and_leaves_a_valid_state(models):
    asked = []
    run = Engine(models("llama")).run(
        [text(20, 1)], new_tokens=50, chunk=8, cancel=lambda: asked.append(0) or len(asked) > 6
    )
    steps = finish(run)
    assert run.interrupted
    assert len(steps) == 6
    assert run.lives(0)[0].shape == (3, len(tokens_of(steps, 0)))
    early = Engine(models("llama")).run([text(20, 1)], new_tokens=5, chunk=8, cancel=lambda: True)
    assert finish(early) == []
    assert early.lives(0)[0].shape == (3, 0)


def test_an_unscored_prompt_changes_only_its_log_probs(models):
    ask = {"new_tokens": 8, "sampling": Sampling(0.9), "chunk": 5}
    scored = finish(Engine(models("llama")).run([text(20, 1)], **ask))
    quick = finish(Engine(models("llama")).run([text(20, 1)], score_prompt=False, **ask))
    assert tokens_of(quick, 0) == tokens_of(scored, 0)
    assert np.isnan(logprobs_of(quick, 0)[:20]).all()
    np.testing.assert_allclose(
        logprobs_of(quick, 0)[20:], logprobs_of(scored, 0)[20:], atol=BUDGET, rtol=0
    )


def test_streams_name_the_draws(models):
    engine, ask = Engine(models("llama")), {"new_tokens": 12, "sampling": Sampling(1.5)}
    both = finish(engine.run([text(5, 1), text(5, 1)], **ask))
    assert tokens_of(both, 0) != tokens_of(both, 1)
    same = finish(engine.run([text(5, 1), text(5, 1)], streams=[1, 1], **ask))
    assert tokens_of(same, 0) == tokens_of(same, 1) == tokens_of(both, 1)


def test_memory_counts_what_lives_and_falls_when_tokens_die(models):
    model = models("llama", 0.99)
    run = Engine(model).run([text(200, 1)], new_tokens=20, chunk=32)
    parts = [part for step in run for part in step.rows]
    death, _ = run.lives(0)
    entry = 2 * 2 * 8 * 4
    last = parts[-1]
    assert last.queries == 219
    assert last.memory.live == int((death[:, :219] == ALIVE).sum()) * entry
    assert last.memory.dense == 3 * 220 * entry
    assert last.memory.live <= last.memory.held <= last.memory.peak
    assert last.memory.held < 0.5 * last.memory.dense
    dense = finish(Engine(model).run([text(200, 1)], new_tokens=20, prune=False))[-1].rows[0].memory
    assert dense.live == 3 * 219 * entry
    assert dense.held >= dense.live


def test_gates_stay_float32_in_bfloat16(models, tiny_checkpoint):
    """Deaths of a bfloat16 run follow float32 logits of its own hidden states: margins would else
    lie on bfloat16's grid."""
    model = load(tiny_checkpoint("llama", drop=0.5), torch.bfloat16)
    run = Engine(model).run([text(50, 1)], new_tokens=8)
    finish(run)
    _, margin = run.lives(0)
    found = torch.from_numpy(margin[np.isfinite(margin)])
    assert (found != found.bfloat16().float()).float().mean() > 0.9


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"prompts": []}, "no prompt"),
        ({"prompts": [[]]}, "no tokens"),
        ({"prompts": [[1] * 250], "new_tokens": 7}, "context of 256"),
        ({"prompts": [[259]]}, "token id 259"),
        ({"prompts": [[-1]]}, "token id -1"),
        ({"new_tokens": -1}, "0 or more"),
        ({"new_tokens": [1, 2]}, "2 entries"),
        ({"continuations": [[300]]}, "token id 300"),
        ({"chunk": 0}, "at least 1"),
        ({"gate_shift": float("nan")}, "finite"),
        ({"deaths": [ForcedDeaths.none(2, 5)]}, "2 layers"),
    ],
)
def test_bad_requests_are_refused_in_one_line(models, ask, says):
    with pytest.raises(RequestError, match=says) as refused:
        Engine(models("llama")).run(**{"prompts": [[1, 2]], "new_tokens": 1} | ask)
    assert "\n" not in str(refused.value)


def test_an_implementation_that_cannot_run_is_refused(models):
    with pytest.raises(DeviceError):
        Engine(models("llama"), "triton")


def test_the_engine_records_which_implementation_it_uses(models):
    assert Engine(models("llama")).impl == api.resolve("auto")
    assert Engine(models("llama"), "cpu").impl == "cpu"
    assert Engine(models("llama"), "reference").impl == "reference"


def test_a_base_model_without_gates_runs_dense_and_under_orders(models, tiny_checkpoint):
    base = load(tiny_checkpoint("llama", drop=0.8), gates=False)
    off = finish(Engine(models("llama")).run([text(20, 1)], new_tokens=5, prune=False))
    run = Engine(base).run([text(20, 1)], new_tokens=5)
    assert tokens_of(finish(run), 0) == tokens_of(off, 0)
    assert (run.lives(0)[0] == ALIVE).all()
    orders = ForcedDeaths.none(3, 25).drop(3, 9)
    run = Engine(base).run([text(20, 1)], new_tokens=5, deaths=[orders])
    finish(run)
    assert (run.lives(0)[0][:, 3] == 9).all()


def test_step_seconds_are_wall_time_and_phases_follow(models):
    steps = finish(Engine(models("llama")).run([text(20, 1)], new_tokens=3, chunk=8))
    assert [s.phase for s in steps] == ["prompt"] * 3 + ["generate"] * 3
    assert all(s.seconds > 0 for s in steps)
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].seconds = 0.0

"""The compiled decode step says what the layers in Python say, for every weight and team."""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcp.deaths import ALIVE, GATE, ForcedDeaths
from dcp.engine.engine import Engine, Run
from dcp.errors import DeviceError
from dcp.kernels import api
from dcp.model.blocks import BlockLinear
from dcp.model.checkpoint import Checkpoint
from dcp.model.config import ARCHITECTURES, Sampling
from dcp.model.int8 import quantise
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel, load
from tests.helpers.tuned import write_tuned

if missing := api.native_missing():
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing, allow_module_level=True)

WEIGHTS = [torch.float32, torch.int8, torch.int4]  # type: ignore[attr-defined]
# Log-probs in float32; block weights see inputs rounded to 16 bits, and where the two loops differ
# by a float's last bit a rounding can go the other way.
BUDGET = {torch.float32: 2e-5, torch.int8: 5e-4, torch.int4: 5e-4}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def models(tiny_checkpoint):
    loaded: dict[tuple[str, torch.dtype], LoadedModel] = {}

    def model(architecture: str, dtype: torch.dtype) -> LoadedModel:
        key = (architecture, dtype)
        if key not in loaded:
            loaded[key] = load(tiny_checkpoint(architecture, drop=0.8), dtype)
        return loaded[key]

    return model


@pytest.fixture
def team(request):
    """So many threads for torch and the native step."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def text(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 256, length).tolist()


def said(run: Run) -> list[tuple[list[int], list[float], list[tuple[int, int]]]]:
    """Of each row: its tokens, their log-probs, its live and dense bytes at each step."""
    found = [([], [], []) for _ in run.request.prompts]
    for step in run:
        for part in step.rows:
            tokens, scores, sizes = found[part.row]
            tokens += part.tokens.tolist()
            scores += part.logprobs.tolist()
            sizes.append((part.memory.live, part.memory.dense))
    return found


def check_same(model: LoadedModel, dtype: torch.dtype, **ask) -> None:
    runs = [Engine(model, impl).run(**ask) for impl in ("cpu", "native")]
    plain, native = map(said, runs)
    other = 0
    for row, (theirs, mine) in enumerate(zip(plain, native, strict=True)):
        pairs = enumerate(zip(theirs[0], mine[0], strict=True))
        same = next((i for i, (a, b) in pairs if a != b), None)
        np.testing.assert_allclose(mine[1][:same], theirs[1][:same], atol=BUDGET[dtype], rtol=0)
        if same is not None:
            other += 1
            continue
        assert (mine[0], mine[2]) == (theirs[0], theirs[2])
        for ours, expected in zip(runs[1].lives(row), runs[0].lives(row), strict=True):
            np.testing.assert_allclose(ours, expected, atol=BUDGET[dtype], rtol=0)
    # A draw within the budget of the edge between two tokens may fall to either, once in a while.
    assert other <= (dtype != torch.float32)


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_native_step_is_the_loop_in_python(models, architecture, dtype):
    model = models(architecture, dtype)
    prompts = [text(n, n) for n in (1, 40, 63)]
    ask = {"new_tokens": [50, 31, 9], "sampling": Sampling(1.0, seed=2), "gate_shift": 0.5}
    check_same(model, dtype, prompts=prompts, **ask)
    check_same(model, dtype, prompts=prompts, prune=False, **ask)


@pytest.mark.parametrize("team", [1, 2], indirect=True)
@pytest.mark.parametrize("dtype", WEIGHTS)
def test_what_an_adapter_changes_is_read_alike(tmp_path, monkeypatch, dtype, team):
    """Low ranks are inside weights of 32 and 8 bits, and beside those of 4."""
    monkeypatch.setenv("DCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DCP_BASE", raising=False)
    tuned = Checkpoint.read(write_tuned(tmp_path), tmp_path / "base")
    model = load(tuned, dtype)
    vocab = model.config.vocab
    ask = {"prompts": [[i % vocab for i in text(n, n)] for n in (9, 30)], "new_tokens": 12}
    check_same(model, dtype, **ask)
    if dtype != torch.float32:
        # Nothing but the base's weights is rounded: what the change does is there in full.
        wide, rounded = (
            ask_logits(load(found, kind), ask["prompts"][0])
            for found, kind in ((tuned, torch.float32), (tuned, dtype))
        )
        before = ask_logits(load(tuned, gates=False), ask["prompts"][0])
        assert (rounded - wide).norm() < 0.1 * (wide - before).norm()
    apart = load(tuned, apart=True)
    check_same(apart, torch.float32, **ask)


def ask_logits(model: LoadedModel, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        steps = torch.arange(len(ids))[None]
        return model.transformer(torch.tensor([ids]), steps, MaskedAttend(prune=False))


@pytest.mark.parametrize("team", [2, 3], indirect=True)
@pytest.mark.parametrize("dtype", WEIGHTS)
def test_a_team_of_threads_says_the_same(models, dtype, team):
    prompts = [text(1, 1), text(40, 2)]
    check_same(models("qwen3", dtype), dtype, prompts=prompts, new_tokens=12)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_orders_gates_and_their_mixtures_are_obeyed_alike(models, data):
    model = models(data.draw(st.sampled_from(ARCHITECTURES)), torch.float32)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    prompts = [text(n, n) for n in data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))]
    orders = []
    for _ in prompts:
        table = np.arange(90) + rng.integers(1, 40, (3, 90))
        kind = rng.random((3, 90))
        table[kind < 0.3] = ALIVE
        table[kind > data.draw(st.sampled_from([0.5, 2.0]))] = GATE
        orders.append(data.draw(st.sampled_from([None, ForcedDeaths(table)])))
    check_same(
        model,
        torch.float32,
        prompts=prompts,
        new_tokens=40,
        deaths=orders,
        prune=data.draw(st.booleans()),
        sampling=Sampling(1.0),
    )


def test_everything_may_die_but_the_newest(models):
    """A gate shift far down: each step leaves one row, whose place the next one takes."""
    model = models("llama", torch.float32)
    run = Engine(model, "native").run([text(20, 1)], new_tokens=30, gate_shift=-1e6)
    for step in run:
        last = step.rows[0].memory
    assert last.live == 3 * 2 * 2 * 8 * 4
    death, margin = run.lives(0)
    assert (death[:, :-2] == np.arange(1, death.shape[1] - 1)).all()
    assert np.isfinite(margin[:, :-2]).all()


def test_block_weights_are_what_decoding_reads(models):
    model = models("llama", torch.int4)  # type: ignore[attr-defined]
    assert isinstance(model.transformer.unembed, BlockLinear)
    assert model.transformer.unembed.packed.bits == 8
    assert {block.mlp.up.packed.bits for block in model.transformer.blocks} == {4}
    wider = models("llama", torch.int8)
    assert {block.mlp.up.packed.bits for block in wider.transformer.blocks} == {8}


def test_models_it_does_not_run_are_refused_by_name_and_auto_takes_cpu(models, tiny_checkpoint):
    narrow = load(tiny_checkpoint("llama", drop=0.8), torch.bfloat16)
    rows = load(tiny_checkpoint("llama", drop=0.8))
    quantise(rows.transformer)
    for model in (narrow, rows):
        with pytest.raises(DeviceError, match="native"):
            Engine(model, "native")
        assert Engine(model).impl == "cpu"
    assert Engine(models("llama", torch.float32)).impl == "native"


def test_a_run_says_where_its_time_went(models):
    run = Engine(models("gpt2", torch.float32), "native").run([text(9, 1)], new_tokens=20)
    said(run)
    spent = run._cache.seconds()  # type: ignore[attr-defined]
    assert min(spent.values()) >= 0
    assert spent["products"] > 0

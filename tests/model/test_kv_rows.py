"""Cache rows in fewer bits: what they lose is bounded, and nothing but that loss is different."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcp.arguments import KV_DTYPES
from dcp.cli.main import main
from dcp.deaths import ALIVE
from dcp.engine.engine import Engine
from dcp.errors import RequestError
from dcp.kernels import api
from dcp.kernels.row_bytes import entry_bytes, kv_width
from dcp.model.config import ARCHITECTURES, Sampling
from dcp.model.kv_rows import kv_dtype_of, narrowed, rounded, widened
from dcp.model.masked import MaskedAttend
from dcp.model.registry import open_model
from dcp.model.rounded import RoundedAttend
from dcp.model.weights import load
from dcp.policies.rule import Eviction
from dcp.runs.plans import put_back
from dcp.runs.recorder import record
from dcp.runs.replay import replay
from dcp.runs.rescore import effect, gates_off
from dcp.runs.settled import depths
from dcp.trace import Trace

GREEDY = Sampling(temperature=0)
NARROW = [name for name in KV_DTYPES if name != "float32"]
# Of the largest number of a head: half a step of each type (a half float's step is rounded too).
LOSS = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 0.5 / 127 * 1.13}


@pytest.mark.parametrize("name", KV_DTYPES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(d=st.integers(1, 70), scale=st.floats(-4, 4), seed=st.integers(0, 99))
def test_a_row_loses_half_a_step_at_most_and_rounding_twice_is_rounding_once(name, d, scale, seed):
    dtype = kv_dtype_of(name, torch.float32)
    x = torch.randn(3, 2, d, generator=torch.Generator().manual_seed(seed)) * 10**scale
    rows = narrowed(x, dtype)
    assert rows.shape[-1] == kv_width(d, dtype)
    assert rows.dtype == dtype
    error = (widened(rows, torch.float32) - x).abs().amax(-1)
    # A half float's own smallest step is 2^-24, that of an int8 row 127 times as much.
    assert (error <= LOSS[name] * x.abs().amax(-1) + 127 * 2**-25).all()
    again = rounded(rounded(x, dtype), dtype)
    assert (again - rounded(x, dtype)).abs().amax() <= x.abs().amax() * (name == "int8") / 127 / 2


def test_the_ends_of_a_half_float_are_kept_finite_and_zeros_stay_zero():
    x = torch.tensor([[1e9, -1e9, 3.0], [0.0, 0.0, 0.0], [1e-9, 0.0, -1e-9]])
    for name in NARROW:
        got = rounded(x, kv_dtype_of(name, torch.float32))
        assert got[0].isfinite().all() or name == "int8"
        assert not got[1].any()
        assert got[2].abs().max() <= 2e-9
    assert rounded(x[:1] / 1e3, torch.int8).isfinite().all()


def test_bytes_of_an_entry_are_those_of_its_numbers():
    sizes = {name: entry_bytes(3, 64, kv_dtype_of(name, torch.float32)) for name in KV_DTYPES}
    assert sizes == {"float32": 1536, "float16": 768, "bfloat16": 768, "int8": 2 * 3 * (64 + 2)}


def ids_of(length: int, seed: int = 3) -> list[int]:
    return np.random.default_rng(seed).integers(0, 250, length).tolist()


def run_of(model, impl, ids, prompt, name, **options):
    """Log-probs, deaths and last bytes of ``ids`` read with a prompt of ``prompt`` tokens."""
    run = Engine(model, impl).run(
        [ids[:prompt]], new_tokens=len(ids) - prompt, continuations=[ids[prompt:]],
        sampling=GREEDY, kv_dtype=name, **options,
    )  # fmt: skip
    scores, memory = [], []
    for step in run:
        scores += step.rows[0].logprobs.tolist()
        memory.append(step.rows[0].memory)
    return np.array(scores), run.lives(0)[0], memory


@pytest.mark.parametrize(
    ("name", "impl"),
    [
        ("int8", "reference"),
        *((name, "cpu") for name in NARROW),
        ("float32", "native"),
        *((name, "native") for name in NARROW),
    ],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stepping_with_rounded_rows_is_a_masked_forward_of_rounded_keys_and_values(
    architecture, name, impl, tiny_checkpoint
):
    """Chunks, steps and any implementation: every query reads the same rounded rows, its own too,
    and deaths move under their rounding alone."""
    if impl == "native" and (missing := api.native_missing()):
        pytest.skip(missing)
    model = load(tiny_checkpoint(architecture, drop=0.8))
    ids, dtype = ids_of(63), kv_dtype_of(name, torch.float32)
    masked = MaskedAttend()
    with torch.inference_mode():
        tensor = torch.tensor([ids])
        logits = model.transformer(
            tensor, torch.arange(len(ids))[None], RoundedAttend(masked, dtype)
        )[0]
    wanted = logits.log_softmax(-1)[:-1].gather(1, tensor[0, 1:, None])[:, 0].numpy()
    death = masked.deaths[:, 0].numpy()
    death = np.where(death >= len(ids) - 1, ALIVE, death)
    for prompt in (1, 40):
        scores, found, memory = run_of(model, impl, ids, prompt, name, chunk=16)
        # Where two sums of floats straddle the border of a rounding, a number moves by its step.
        np.testing.assert_allclose(scores[1:], wanted, atol=2e-5 if name == "float32" else 2e-3)
        assert np.array_equal(found, death)
        config, seen = model.config, memory[-1]
        entry = entry_bytes(config.kv_heads, config.head_dim, dtype)
        alive = int((found[:, : len(ids) - 1] == ALIVE).sum())
        assert seen.live == alive * entry
        assert seen.dense == config.layers * len(ids) * entry
        assert seen.live <= seen.held <= seen.peak


def test_memory_held_is_that_of_the_type(tiny_checkpoint):
    """Beside keys and values lie gate keys and tables, which no type narrows."""
    model = load(tiny_checkpoint("llama", drop=0.8))
    ids, held, config = ids_of(200), {}, model.config
    for name in KV_DTYPES:
        memory = run_of(model, "cpu", ids, 199, name, prune=False)[2][-1]
        held[name] = memory.held
        assert memory.live == 199 * config.layers * entry_bytes(
            config.kv_heads, config.head_dim, kv_dtype_of(name, torch.float32)
        )
    assert held["int8"] < held["float16"] == held["bfloat16"] < held["float32"]


@pytest.mark.parametrize("name", ["bfloat16", "int8"])
def test_a_rule_reads_rounded_rows_too(name, tiny_checkpoint):
    """Step by step or in a prompt, a rule on keys or on attention decides on the same numbers."""
    model = load(tiny_checkpoint("gpt2", drop=0.8))
    ids = ids_of(50)
    for policy in ("keynorm", "tova"):
        eviction = Eviction(policy, 12, {})
        one, two = (
            run_of(model, "cpu", ids, prompt, name, eviction=eviction)[:2] for prompt in (1, 49)
        )
        assert np.array_equal(one[1], two[1])
        np.testing.assert_allclose(one[0][1:], two[0][1:], atol=2e-3)
        plain = run_of(model, "cpu", ids, 1, None, eviction=eviction)[0]
        assert np.abs(plain[1:] - one[0][1:]).max() > 0


@pytest.mark.parametrize("name", [None, *NARROW])
def test_a_trace_says_how_its_rows_were_kept_and_is_read_again_so(name, tmp_path):
    text = "The museum opened in 1901. It closed again in 1914."
    run = record(text, model="dcp-mini", new_tokens=6, temperature=0, kv_dtype=name)
    assert run.meta.kv_dtype == name
    run.save(tmp_path / "run.safetensors")
    assert Trace.load(tmp_path / "run.safetensors") == run
    model = open_model("dcp-mini")
    again = replay(model, run)
    assert again.meta.kv_dtype == name
    assert again.meta.memory.entry == run.meta.memory.entry
    assert np.array_equal(again.death, run.death)
    np.testing.assert_allclose(again.logprob[1:], run.logprob[1:], atol=2e-3)
    config = model.loaded.config
    bytes_each = entry_bytes(config.kv_heads, config.head_dim, kv_dtype_of(name, torch.float32))
    assert run.meta.memory.entry == bytes_each
    # What its own deaths cost is measured on the same rows: nothing of the rounding counts.
    found = gates_off(model, run)
    unnamed = dataclasses.replace(run, meta=dataclasses.replace(run.meta, kv_dtype=None))
    plain = gates_off(model, unnamed)
    same = np.array_equal(found.gates_off_logprob[1:], plain.gates_off_logprob[1:])
    assert same == (name is None)
    asked = [depths(model, one).confidence for one in (run, unnamed)]
    assert np.array_equal(*asked) == (name is None)
    token = int(np.flatnonzero((run.death != ALIVE).any(axis=0))[0])
    assert effect(model, run, put_back(run, token), n=2).change.shape == (run.tokens,)


def test_an_unknown_type_is_refused_in_a_line_that_names_the_others():
    """In a request, and in a file that says so of itself."""
    run, model = record("A text.", model="dcp-mini", new_tokens=1), open_model("dcp-mini")
    odd = dataclasses.replace(run, meta=dataclasses.replace(run.meta, kv_dtype="int3"))
    for ask in (
        lambda: record("A text.", model=model, new_tokens=1, kv_dtype="int4"),
        lambda: replay(model, odd),
        lambda: gates_off(model, odd),
    ):
        with pytest.raises(RequestError, match="float16, bfloat16, int8") as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_the_command_line_says_how_rows_were_kept(capsys):
    words = ["trace", "--text", "The museum opened.", "--model", "dcp-mini", "--new-tokens", "2"]
    assert main([*words, "--kv-dtype", "int8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = open_model("dcp-mini").loaded.config
    entry = entry_bytes(config.kv_heads, config.head_dim, torch.int8)
    assert (found["kv_dtype"], found["kv_bytes_per_entry"]) == ("int8", entry)
    assert found["kv_bytes_dense"] == config.layers * found["tokens"] * entry
    assert main([*words, "--kv-dtype", "int4"]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "float32, float16, bfloat16, int8" in said.err
    assert said.err.count("\n") == 1

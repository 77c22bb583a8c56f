"""What a run says of itself: old files open, unknown keys stay, wrong types stop at the door."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcp.errors import RequestError, TraceError
from dcp.figures.paper.caption import caption
from dcp.figures.paper.provenance import recording
from dcp.figures.paper.request import Subject
from dcp.stats.compare import Pair
from dcp.stats.cost import computed
from dcp.trace import Meta, Replayed, SampledWith, Trace
from dcp.trace import file as trace_file
from dcp.viewer.payload import payload
from tests.helpers.traces import DESIGN, make_trace, meta_of, random_trace

SAMPLES = sorted((Path(__file__).parents[2] / "assets" / "traces").glob("*.safetensors"))
MUTATIONS = 400

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 0.5, -0.5, 1e300),
    *("", "x", "0" * 64, "cpu", "![x](https://example.org/x.png)", "<img src=x>", "**b**\n# h"),
    *("\x00", "\u202e", "é" * 2000, "nan", [], [0.1, 0.2], ["a"], [[]], {}, {"a": None}),
    *({"gates": "off"}, {"temperature": None}, {"x": {"y": [1, 2]}}, {"model": []}),
)


def full_meta(**more: Any) -> dict[str, Any]:
    """Every key that this version knows."""
    return meta_of(
        "It rained.", 3, 3, context=64, threads=2, offsets="code points", truncated="left",
        interrupted=True, prompt_seconds=0.5, time_to_first_token_s=0.6, tokens_per_second=9.5,
        replayed={"model": "a", "weights_sha256": "ab", "gate_shift": 1, "gates": "off"},
        document="d:0", control="random", control_seed=3, lost_attention_on_token_0=[0.1, 0.2, 0],
        policy="h2o", budget=9, policy_settings={"recent": 0.25}, exit_threshold=0.5,
        vocabulary={"kept": 3, "of": 9, "bytes": 96, "bytes_saved": 192},
        **more,
    )  # fmt: skip


def test_every_key_is_read_typed_and_written_back() -> None:
    meta = Meta.from_json(full_meta())
    assert meta.sampling == SampledWith(temperature=0.8, top_k=0, top_p=1.0)
    assert (meta.memory.held, meta.memory.entry, meta.memory.row) == (1500, 32, 40)
    assert meta.replayed == Replayed("a", "ab", 1, "off")
    assert meta.gates_off
    assert meta.lost_attention_on_token_0 == (0.1, 0.2, 0)
    assert meta.to_json() == full_meta()


@pytest.mark.parametrize("path", [*SAMPLES, DESIGN], ids=lambda path: path.stem)
def test_traces_of_old_files_open_and_are_written_as_they_were(path: Path) -> None:
    _, before = trace_file.unpack(path.read_bytes())
    trace = Trace.load(path)
    _, after = trace_file.unpack(trace.to_bytes())
    assert after | before == after
    assert all(after[key] in (None, False, "code points") for key in after.keys() - before.keys())


def test_unknown_keys_are_kept_wherever_they_stand() -> None:
    odd = full_meta(note={"a": [1, None, "é"]}, novelty="h2o")
    for part in ("sampling", "memory", "replayed"):
        odd[part] = {**odd[part], "later": 1.5}
    meta = Meta.from_json(odd)
    assert meta.other == {"note": {"a": [1, None, "é"]}, "novelty": "h2o"}
    assert meta.memory.other == {"later": 1.5}
    assert meta.to_json() == odd


def test_what_a_file_does_not_say_is_none() -> None:
    silent = {"sampling": {"temperature": None}, "tokens_per_second": None}
    meta = Meta.from_json(meta_of("a", 1, 1, **silent))
    assert meta.sampling.temperature is None
    assert meta.tokens_per_second is None
    assert not meta.gates_off
    assert "context" not in meta.to_json()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("impl", "![x](https://example.org/x.png)"),
        ("device", "<b>"),
        ("dtype", ""),
        ("weights_sha256", "`" * 64),
        ("model", "a\nb"),
        ("model", ["a"]),
        ("document", ["a"]),
        ("policy", "<b>"),
        ("budget", 0),
        ("policy_settings", ["a"]),
        ("policy_settings", "recent=1"),
        ("policy_settings", {"recent": float("nan")}),
        ("vocabulary", 3),
        ("context", 0),
        ("seed", 1.5),
        ("interrupted", 1),
        ("offsets", "bytes"),
        ("truncated", "middle"),
        ("tokens_per_second", "fast"),
        ("prompt_seconds", -1),
        ("versions", {"torch": 2}),
        ("lost_attention_on_token_0", [2.0]),
        ("lost_attention_on_token_0", "0.1"),
        ("replayed", {"gates": "off"}),
        ("replayed", "elsewhere"),
        ("sampling", {"temperature": -1}),
        ("sampling", {"top_p": 2}),
        ("memory", {"kv_bytes_live": 1.0}),
    ],
)
def test_a_field_of_another_kind_is_refused_by_name_in_one_line(key: str, value: Any) -> None:
    with pytest.raises(TraceError, match=key) as error:
        Meta.from_json(full_meta(**{key: value}) if key == "text" else {**full_meta(), key: value})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_shares_of_another_number_of_layers_are_refused() -> None:
    trace = random_trace(layers=3)
    odd = {**trace.meta.to_json(), "lost_attention_on_token_0": [0.1] * 4}
    with pytest.raises(TraceError, match="number of layers"):
        Trace.from_bytes(repacked(trace, odd))


def test_a_run_in_which_nothing_was_read_makes_no_figure() -> None:
    trace = make_trace(["Word"], np.full((3, 1), -1), n_queries=0)
    with pytest.raises(RequestError, match="before it read a token"):
        Subject([(trace, ())])


def repacked(trace: Trace, meta: dict[str, Any]) -> bytes:
    arrays, _ = trace_file.unpack(trace.to_bytes())
    return trace_file.pack(arrays, json.dumps(meta))


def mutated(rng: random.Random, meta: dict[str, Any]) -> dict[str, Any]:
    """The meta with one or two values, anywhere in it, changed, added or taken away."""
    found: dict[str, Any] = json.loads(json.dumps(meta))
    for _ in range(rng.randint(1, 2)):
        at = found
        key = rng.choice([*found, "unknown"])
        if isinstance(at.get(key), dict) and at[key] and rng.random() < 0.6:
            at = at[key]
            key = rng.choice([*at, "unknown"])
        if rng.random() < 0.15:
            at.pop(key, None)
        else:
            at[key] = rng.choice(ODD)
    return found


def opened_or_said(data: bytes) -> Trace | str:
    """The trace, or what the refusal says."""
    try:
        return Trace.from_bytes(data)
    except TraceError as error:
        return str(error)


def use(trace: Trace) -> None:
    """All that a page, a figure's caption and an export make of a meta."""
    json.dumps(payload(trace), allow_nan=False)
    computed(trace)
    Pair(trace, trace).numbers()
    said = [recording(trace, "a.txt", "b.safetensors"), repr(trace)]
    if trace.n_queries:
        said.append(caption(Subject([(trace, ())])))
    assert all("\n" not in line for line in said)


@pytest.mark.parametrize("start", range(0, MUTATIONS, 100))
def test_a_mutated_meta_is_refused_in_one_line_or_used_without_harm(start: int) -> None:
    trace = random_trace(3, layers=3, tokens=17, prompt_tokens=9)
    good = {**full_meta(), **trace.meta.to_json()}
    opened = 0
    for seed in range(start, start + 100):
        odd = mutated(random.Random(seed), good)
        found = opened_or_said(repacked(trace, odd))
        if isinstance(found, str):
            assert "\n" not in found, odd
            assert len(found) < 500, odd
            continue
        opened += 1
        use(found)
        assert Trace.from_bytes(found.to_bytes()) == found
    # Both doors are tried: neither all refused nor all let in.
    assert 5 < opened < 95

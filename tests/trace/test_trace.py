"""The trace: what is valid, what loads back equal, what is refused, and what its numbers mean."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from dcp.errors import RequestError, TraceError
from dcp.trace import ALIVE, Meta, Trace
from dcp.trace import file as trace_file
from dcp.trace.deciders import decided_at
from tests.helpers.traces import design_trace, make_trace, meta_of, random_trace

sizes = st.sampled_from([1, 2, 3, 17, 63, 130])


def parts(trace: Trace) -> dict[str, Any]:
    """The constructor's arguments, arrays writable."""
    names = ["token_ids", "offsets", "death", "margin", "logprob", "step_seconds"]
    return {name: getattr(trace, name).copy() for name in names} | {"meta": trace.meta.to_json()}


def trace_of(parts: dict[str, Any]) -> Trace:
    """A trace from such arguments, with the meta as JSON."""
    return Trace(**{**parts, "meta": Meta.from_json(parts["meta"])})


def one_line(error: pytest.ExceptionInfo[TraceError]) -> bool:
    return "\n" not in str(error.value) and len(str(error.value)) < 500


# ---- in and out


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), layers=st.integers(1, 5), tokens=sizes, data=st.data())
def test_every_trace_loads_back_equal(
    seed: int, layers: int, tokens: int, data: st.DataObject
) -> None:
    prompt = data.draw(st.integers(1, tokens))
    trace = random_trace(seed, layers=layers, tokens=tokens, prompt_tokens=prompt)
    assert Trace.from_bytes(trace.to_bytes()) == trace


def test_optional_fields_survive_the_file(tmp_path: Path) -> None:
    given_parts = parts(random_trace())
    shape = given_parts["death"].shape
    given_parts["meta"] = Meta.from_json(given_parts["meta"])
    trace = Trace(
        **given_parts,
        gates_off_logprob=given_parts["logprob"],
        kl=np.zeros(shape[1], np.float32),
        lost_attention=np.full(shape, 0.5, np.float32),
    )
    trace.save(tmp_path / "a.safetensors")
    again = Trace.load(tmp_path / "a.safetensors")
    assert again == trace
    assert again != random_trace()
    assert again.lost_attention is not None


@pytest.mark.parametrize("name", ["token_ids", "offsets", "death", "margin", "logprob"])
def test_a_change_in_any_field_makes_traces_unequal(name: str) -> None:
    changed = parts(random_trace(tokens=20))
    array = changed[name]
    if name == "offsets":
        array[-1, 0] -= 1
    elif name == "death":
        array[0, 3] = ALIVE if array[0, 3] != ALIVE else 19
        changed["margin"][0, 3] = np.nan
    else:
        array.flat[1] = 7 if name == "token_ids" else -7
    assert trace_of(changed) != random_trace(tokens=20)


def test_arrays_are_read_only_copies() -> None:
    given_parts = parts(random_trace())
    trace = trace_of(given_parts)
    given_parts["death"][:] = ALIVE
    given_parts["meta"]["text"] = "other"
    assert trace == random_trace()
    with pytest.raises(ValueError, match="read-only"):
        trace.death[0, 0] = 5


def test_a_saved_trace_needs_no_pickle_and_keeps_meta_under_one_key() -> None:
    data = random_trace().to_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert set(header["__metadata__"]) == {"meta"}
    assert json.loads(header["__metadata__"]["meta"])["format"] == 1


def test_trace_imports_without_torch_or_any_plotting() -> None:
    code = (
        "import sys; sys.modules['torch'] = None;"
        "import dcp.trace, dcp.speech.words, dcp.speech.tagger, dcp.stats;"
        "heavy = {'spacy', 'streamlit', 'matplotlib', 'plotly', 'transformers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- what is refused


BROKEN: list[tuple[str, Any, str]] = [
    ("death", lambda a: a.__setitem__((0, 5), 5), "death is out of range"),
    ("death", lambda a: a.__setitem__((0, 5), 62 + 1), "death is out of range"),
    ("death", lambda a: a.__setitem__((0, 5), -1), "death is out of range"),
    ("death", lambda a: a.__setitem__((0, 62), ALIVE - 1), "death is out of range"),
    ("offsets", lambda a: a.__setitem__((62, 1), 10**6), "outside of the text"),
    ("offsets", lambda a: a.__setitem__((3, 0), 0), "left to right"),
    ("offsets", lambda a: a.__setitem__(0, (5, 4)), "end before they start"),
    ("token_ids", lambda a: a.__setitem__(0, -1), "negative id"),
    ("margin", lambda a: a.__setitem__((0, 0), np.inf), "infinities"),
    ("margin", lambda a: a.__setitem__(slice(None), 1.0), "margin of a dropped token"),
    ("logprob", lambda a: a.__setitem__(0, -1), "first token must be nan"),
    ("logprob", lambda a: a.__setitem__(1, 0.5), "logprob is above 0"),
    ("step_seconds", lambda a: a.__setitem__(62, -1), "negative"),
    ("step_seconds", lambda a: a.__setitem__(0, 1), "prompt must be nan"),
]


@pytest.mark.parametrize(("name", "spoil", "says"), BROKEN)
def test_values_out_of_range_are_refused(name: str, spoil: Any, says: str) -> None:
    broken = parts(random_trace(prompt_tokens=40))
    spoil(broken[name])
    with pytest.raises(TraceError, match=says):
        trace_of(broken)


@pytest.mark.parametrize("name", ["token_ids", "offsets", "death", "margin", "logprob"])
def test_wrong_dtypes_and_shapes_are_refused(name: str) -> None:
    good = parts(random_trace())
    for array in (
        good[name].astype(np.float64),
        good[name][:0],
        good[name][..., None],
        good[name][..., :1],
        np.concatenate([good[name], good[name]]),
        None,
        "text",
    ):
        with pytest.raises(TraceError) as error:
            trace_of({**good, name: array})
        assert one_line(error)


@pytest.mark.parametrize("key", sorted(meta_of("", 0, 0)))
def test_every_required_meta_key_is_required_and_typed(key: str) -> None:
    good = parts(random_trace())
    for meta in (
        {k: v for k, v in good["meta"].items() if k != key},
        {**good["meta"], key: None},
        {**good["meta"], key: True},
    ):
        with pytest.raises(TraceError):
            trace_of({**good, "meta": meta})


@pytest.mark.parametrize(
    "more",
    [
        {"note": float("nan")},
        {"note": {1, 2}},
        {"note": b"x"},
        {"text": "lone \ud800"},
        {"n_queries": 64},
        {"n_queries": -1},
        {"n_queries": 10**400},
        {"prompt_tokens": 64},
        {"memory": {}},
        {"memory": {"kv_bytes_live": -1}},
        {"gate_shift": 10**400},
        {"note": [{"deep": -(2**63) - 1}]},
        {"sampling": {"temperature": "warm"}},
        {"sampling": {"temperature": True}},
        {"note": json.loads("[" * 40 + "]" * 40)},
    ],
)
def test_meta_that_is_not_plain_or_not_true_is_refused(more: dict[str, Any]) -> None:
    good = parts(random_trace())
    with pytest.raises(TraceError) as error:
        trace_of({**good, "meta": {**good["meta"], **more}})
    assert one_line(error)


@pytest.mark.parametrize("version", [0, 2, 999, "1", None, True, 1.5, "x" * 10_000])
def test_an_unknown_format_is_refused_by_name(version: Any) -> None:
    good = parts(random_trace())
    with pytest.raises(TraceError, match=re.escape(repr(version)[:20])) as error:
        trace_of({**good, "meta": {**good["meta"], "format": version}})
    assert one_line(error)


def hostile() -> dict[str, bytes]:
    """Files that are no traces, each by what is wrong with it."""
    good = random_trace().to_bytes()
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    arrays, meta = trace_file.unpack(good)

    def pack(edited: Any) -> bytes:
        text = json.dumps(edited).encode()
        return struct.pack("<Q", len(text)) + text + good[8 + length :]

    def with_meta(text: str) -> bytes:
        return save(arrays, metadata={"meta": text})

    def edited(name: str, **change: Any) -> bytes:
        return pack({**header, name: {**header[name], **change}})

    deep = "[" * 100_000 + "]" * 100_000
    return {
        "empty": b"",
        "short": b"abc",
        "text": b"This is a text file, and a rather long one at that.",
        "huge header": struct.pack("<Q", 2**63) + good[8:],
        "header of zero": struct.pack("<Q", 0) + good[8:],
        "header not JSON": struct.pack("<Q", 4) + b"{{{{",
        "header a list": struct.pack("<Q", 2) + b"[]",
        "header deep": struct.pack("<Q", len(deep)) + deep.encode(),
        "header not UTF-8": struct.pack("<Q", 2) + b"\xff\xfe",
        "truncated": good[: len(good) // 2],
        "one byte short": good[:-1],
        "one byte more": good + b"x",
        "no metadata": save(arrays),
        "metadata a string": pack({**header, "__metadata__": "meta"}),
        "meta not JSON": with_meta("{not json"),
        "meta a list": with_meta("[1]"),
        "meta deep": with_meta(deep),
        "meta with NaN": with_meta(json.dumps({**meta, "gate_shift": float("nan")})),
        "meta with a huge number": with_meta('{"format": 1' + "0" * 5000 + "}"),
        "overlapping tensors": edited("margin", data_offsets=[0, 756]),
        "offsets beyond the file": edited("margin", data_offsets=[0, 2**60]),
        "negative shape": edited("margin", shape=[-1, 63]),
        "huge shape": edited("margin", shape=[2**40, 2**40]),
        "tensor a number": pack({**header, "margin": 3}),
        "float64": save({**arrays, "margin": arrays["margin"].astype(np.float64)}, {"meta": "{}"}),
        "unknown tensor": save(
            {**arrays, "evil": arrays["margin"]}, metadata={"meta": json.dumps(meta)}
        ),
        "tensor missing": save(
            {k: v for k, v in arrays.items() if k != "death"}, metadata={"meta": json.dumps(meta)}
        ),
        "empty arrays": save(
            {k: v[:0] for k, v in arrays.items()}, metadata={"meta": json.dumps(meta)}
        ),
    }


@pytest.mark.parametrize("kind", sorted(hostile()))
def test_hostile_files_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(hostile()[kind])
    with pytest.raises(TraceError) as error:
        Trace.load(tmp_path / "bad.safetensors")
    assert one_line(error)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_gives_a_trace_error_or_a_valid_trace(data: st.DataObject) -> None:
    good = random_trace(tokens=5).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    new = data.draw(st.binary(min_size=0, max_size=9))
    damaged = good[:at] + new + good[at + data.draw(st.integers(0, 9)) :]
    with contextlib.suppress(TraceError):
        Trace.from_bytes(damaged)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    with open(path, "wb") as file:
        file.truncate(trace_file.MAX_BYTES + 1)
    with pytest.raises(TraceError, match="too large"):
        Trace.load(path)


@pytest.mark.parametrize("name", ["missing", "folder", "no/such/folder", "nul\0byte", "x" * 300])
def test_paths_that_hold_no_trace_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TraceError) as error:
        Trace.load(str(tmp_path) + "/" + name)
    assert one_line(error)
    if name != "missing":
        with pytest.raises(TraceError) as error:
            random_trace().save(str(tmp_path) + "/" + name)
        assert one_line(error)
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    random_trace(1).save(path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TraceError, match="No space left"):
        random_trace(2).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    assert Trace.load(path) == random_trace(1)


# ---- what the numbers mean


def small() -> Trace:
    """Two layers, four tokens, four queries. Visible at steps 0..3:

    layer 0   t=0: 0     t=1: 0,1   t=2: 1,2 (0 dropped at 2)   t=3: 2,3 (1 dropped at 3)
    layer 1   t=0: 0     t=1: 1 (0 dropped at 1)   t=2: 1,2     t=3: 1,2,3
    """
    return make_trace(["It", " is", " so", "."], np.array([[2, 3, -1, -1], [1, -1, -1, -1]]))


def test_visibility_and_held_entries_by_hand() -> None:
    trace = small()
    assert trace.visible(2).tolist() == [[False, True, True, False], [False, True, True, False]]
    assert trace.visible(3).tolist() == [[False, False, True, True], [False, True, True, True]]
    assert trace.held().tolist() == [[1, 2, 2, 2], [1, 1, 2, 3]]


def test_the_four_sparsities_by_hand() -> None:
    trace = small()
    assert trace.sparsity_at(1) == pytest.approx((0 + 1) / 2)
    assert trace.sparsity_at(2) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert trace.sparsity_at(3) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert trace.sparsity_at_end() == trace.sparsity_at(3)
    assert trace.sparsity_per_layer() == pytest.approx(
        [(0 + 1 / 2 + 2 / 3) / 3, (1 + 0.5 + 1 / 3) / 3]
    )
    assert trace.sparsity_mean_steps() == pytest.approx(0.5)
    assert trace.sparsity_pairs() == pytest.approx((0 + 1 + 2 + 1 + 1 + 1) / (2 * 6))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), layers=st.integers(1, 4), tokens=sizes)
def test_held_and_sparsities_agree_with_visibility(seed: int, layers: int, tokens: int) -> None:
    trace = random_trace(seed, layers=layers, tokens=tokens, prompt_tokens=max(1, tokens // 2))
    seen = np.stack([trace.visible(t) for t in range(trace.n_queries)] or [trace.visible(0)[:, :0]])
    if trace.n_queries == 0:
        assert trace.held().shape == (layers, 0)
    else:
        assert np.array_equal(trace.held(), seen.sum(axis=2).T)
    steps = range(1, trace.n_queries)
    shares = [1 - (seen[t].sum(axis=1) - 1) / t for t in steps]
    for t, share in zip(steps, shares, strict=True):
        assert trace.sparsity_at(t) == pytest.approx(share.mean())
    expected = np.mean(shares, axis=0) if shares else np.zeros(layers)
    assert trace.sparsity_per_layer() == pytest.approx(expected)
    assert trace.sparsity_mean_steps() == pytest.approx(expected.mean())
    assert 0 <= trace.sparsity_pairs() <= 1


@pytest.mark.parametrize("t", [-1, 0, 4, 10**9])
def test_sparsity_is_defined_only_at_steps_with_a_past(t: int) -> None:
    with pytest.raises(RequestError, match=f"at step {t} is not defined: .* from 1 to 3$"):
        small().sparsity_at(t)


def test_a_single_query_has_dropped_nothing() -> None:
    one = random_trace(tokens=1)
    assert one.sparsity_at_end() == one.sparsity_mean_steps() == 0.0
    two = make_trace(["a ", "b"], np.array([[1, -1], [-1, -1]]))
    assert two.sparsity_at_end() == two.sparsity_at(1) == 0.5


@pytest.mark.parametrize("t", [-1, 4, 5, 10**9])
def test_visibility_is_defined_only_within_the_trace(t: int) -> None:
    with pytest.raises(RequestError, match=f"step {t} is not in this trace: steps are 0 to 3$"):
        small().visible(t)


def test_properties_read_the_design_trace() -> None:
    trace = design_trace()
    assert (trace.layers, trace.tokens, trace.n_queries) == (6, 200, 199)
    assert trace.text.startswith("Mario Party 6 is")
    assert 0.5 < trace.sparsity_mean_steps() < trace.sparsity_at_end() < 0.9
    assert "tokens=200" in repr(trace)


# ---- the text of tokens


def emoji_trace() -> Trace:
    """Tokens: a special one, "a", three that share 🙂, one with its last byte and "é", a space."""
    trace = parts(make_trace(["x"] * 7, np.full((1, 7), -1)))
    trace["offsets"] = np.array([[0, 0], [0, 1], [1, 2], [1, 2], [1, 2], [1, 3], [3, 4]], np.int32)
    trace["token_ids"] = np.arange(7, dtype=np.int32)
    trace["meta"]["text"] = "a🙂é \n"
    return trace_of(trace)


def test_pieces_name_every_token_and_its_part_of_a_character() -> None:
    trace = emoji_trace()
    assert trace.pieces() == ["⟨0⟩", "a", "🙂⟨1/3⟩", "🙂⟨2/3⟩", "🙂⟨3/3⟩", "🙂é", " "]
    assert [trace.piece(j) for j in range(7)] == ["", "a", "🙂", "🙂", "🙂", "🙂é", " "]


def test_fragments_tile_the_text_even_where_no_token_does() -> None:
    assert emoji_trace().fragments() == ["", "a", "🙂", "", "", "é", " \n"]
    for seed in range(5):
        trace = random_trace(seed)
        assert "".join(trace.fragments()) == trace.text


# ---- the frame


def test_the_frame_is_tidy_and_says_what_the_arrays_say() -> None:
    trace = small()
    frame = trace.to_frame(())
    assert list(frame.columns) == [
        *("layer", "token", "word", "pos", "source"),
        *("born", "death", "censored", "trigger", "margin"),
    ]
    assert len(frame) == 8
    row = frame.query("layer == 0 and born == 1").iloc[0]
    assert (row.token, row.death, row.trigger, row.censored) == (" is", 3, ".", False)
    assert row.margin == trace.margin[0, 1]
    assert frame[frame.censored].death.isna().all()
    assert frame[frame.censored].trigger.isna().all()
    assert frame.word.isna().all()
    assert set(frame.source) == {"prompt"}


def test_a_rule_decides_when_the_token_before_a_death_was_read() -> None:
    # What no gate logit tells of was dropped by the rule; the learned gates under a budget do both.
    trace = small()
    margin = np.where(np.arange(4) == 1, np.nan, trace.margin).astype(np.float32)
    for policy, expected in ((None, [[2, 3], [1, ALIVE]]), ("gates", [[2, 2], [1, ALIVE]])):
        meta = dataclasses.replace(trace.meta, policy=policy)
        found = decided_at(dataclasses.replace(trace, margin=margin, meta=meta))
        assert found[:, :2].tolist() == expected
        assert (found[:, 2:] == ALIVE).all()
    ruled = dataclasses.replace(
        trace,
        margin=np.full_like(trace.margin, np.nan),
        meta=dataclasses.replace(trace.meta, policy="tova"),
    )
    row = ruled.to_frame(()).query("layer == 0 and born == 1").iloc[0]
    assert (row.death, row.trigger) == (3, " so")


def test_the_frame_tags_words_by_itself() -> None:
    frame = small().to_frame()
    assert frame.pos[:4].tolist() == ["PRON", "AUX", "ADV", "PUNCT"]
    assert frame.word[:4].tolist() == ["It", "is", "so", "."]

"""Packing for the page loses nothing, and what the page cannot do is refused by name."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcp.errors import ModelError
from dcp.resources import asset
from dcp.space import pack

TOKENIZER = asset("models/dcp-mini/tokenizer.json")

bits = st.integers(0, 2**32 - 1)
half = st.integers(0, 2**16 - 1).map(lambda upper: upper << 16)


@given(st.lists(st.lists(bits | half, min_size=1, max_size=40), min_size=1, max_size=5))
def test_every_bit_of_every_float_comes_back(tensors: list[list[int]]) -> None:
    """NaN, infinities, negative zero and subnormal numbers too; wide and narrow tensors mixed."""
    given_bits = {f"t{i}": np.array(row, np.uint32) for i, row in enumerate(tensors)}
    packed = pack.pack_weights({name: row.view(np.float32) for name, row in given_bits.items()})
    found = pack.join(packed)
    assert all((found[name].view(np.uint32) == row).all() for name, row in given_bits.items())
    assert packed.wide == tuple(n for n, row in given_bits.items() if (row & 0xFFFF).any())


def test_the_same_weights_give_the_same_bytes() -> None:
    tensors = {"w": np.linspace(-1, 1, 1000, dtype=np.float32)}
    assert pack.pack_weights(tensors).planes == pack.pack_weights(tensors).planes


def test_a_large_plane_is_cut_into_parts_that_join_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PART_BYTES", 1000)
    noise = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    packed = pack.pack_weights({"w": noise})
    parts = packed.parts("tails")
    assert len(parts) > 1
    assert max(map(len, parts)) <= 1000
    assert len(gzip.decompress(b"".join(parts))) == 10_000


def changed(**settings: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    for path, value in settings.items():
        at: Any = spec
        *parts, last = path.split("__")
        for part in parts:
            at = at[int(part)] if part.isdigit() else at[part]
        at[last] = value
    return spec


def test_the_tokenizer_keeps_its_tokens_and_merges() -> None:
    spec = changed()
    found = pack.pack_tokenizer(spec)
    tokens = found["tokens"]
    assert {token: i for i, token in enumerate(tokens)} == spec["model"]["vocab"]
    assert [[tokens[a], tokens[b]] for a, b in found["merges"]] == spec["model"]["merges"]
    assert found["special"] == {"<|endoftext|>": 0}
    assert found["digits"]
    plain = pack.pack_tokenizer(changed(pre_tokenizer={"type": "ByteLevel"}))
    assert not plain["digits"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer"),
        ({"model__dropout": 0.1}, "dropout"),
        ({"model__byte_fallback": True}, "byte_fallback"),
        ({"pre_tokenizer": None}, "byte-level BPE"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "byte-level BPE"),
        ({"pre_tokenizer__pretokenizers__0__individual_digits": False}, "byte-level BPE"),
        ({"pre_tokenizer__pretokenizers__1__add_prefix_space": True}, "byte-level BPE"),
        ({"added_tokens__0__lstrip": True}, "lstrip"),
    ],
)
def test_a_tokenizer_that_the_page_cannot_follow_is_refused(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        pack.pack_tokenizer(changed(**settings))

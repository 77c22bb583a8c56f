"""A model as the page downloads it: weights without loss in 12 bits a number, and a tokenizer.

A bfloat16 weight is a sign, 8 bits of exponent and 7 of fraction. The exponents of a trained model
are nearly alike and pack into 3 bits; sign and fraction do not pack at all. So the exponents of all
tensors lie together, then the signs and fractions, then the lower 16 bits of those few tensors that
need all of float32 (the gates); each plane is one gzip stream, which every browser can unpack, cut
into parts. `assets/space/weights.js` puts the floats together again, bit by bit the same.

Knows nothing of pages. The Llama family with rotary positions only: what else is refused by name.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcp.errors import ModelError

__all__ = ["PART_BYTES", "Packed", "as_json", "join", "pack_tokenizer", "pack_weights"]

PART_BYTES = 9 * 10**6
"""The largest file written (bytes): hosts treat larger ones as large-file storage."""

Bits = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Packed:
    """Weights ready to be written.

    tensors  (name, number of floats) in the order in which they lie, one after another
    wide     the names of those that need all 32 bits
    planes   "exponents", "fractions", "tails" -> a gzip stream; tails is empty without wide tensors
    """

    tensors: tuple[tuple[str, int], ...]
    wide: tuple[str, ...]
    planes: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(map(len, self.planes.values()))

    def parts(self, plane: str) -> list[bytes]:
        """The stream of one plane, cut at `PART_BYTES`."""
        stream = self.planes[plane]
        return [stream[at : at + PART_BYTES] for at in range(0, len(stream), PART_BYTES)]


def pack_weights(tensors: Mapping[str, npt.NDArray[np.float32]]) -> Packed:
    """``tensors`` (any shape, float32) as three planes.

    >>> packed = pack_weights({"w": np.arange(4, dtype=np.float32)})
    >>> packed.wide, join(packed)["w"].tolist()
    ((), [0.0, 1.0, 2.0, 3.0])
    """
    exponents, fractions, tails, wide = [], [], [], []
    for name, tensor in tensors.items():
        bits: Bits = np.ascontiguousarray(tensor, np.float32).reshape(-1).view(np.uint32)
        exponents.append((bits >> 23).astype(np.uint8))
        fractions.append(((bits >> 24) & 0x80 | (bits >> 16) & 0x7F).astype(np.uint8))
        if (bits & 0xFFFF).any():
            wide.append(name)
            tails.append((bits & 0xFFFF).astype("<u2"))
    return Packed(
        tuple((name, int(tensor.size)) for name, tensor in tensors.items()),
        tuple(wide),
        {
            "exponents": _gzip(exponents),
            "fractions": _gzip(fractions),
            "tails": _gzip(tails) if tails else b"",
        },
    )


def join(packed: Packed) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors [n] that were packed: what the page does, for tests."""
    exponents, fractions = (
        np.frombuffer(gzip.decompress(packed.planes[name]), np.uint8).astype(np.uint32)
        for name in ("exponents", "fractions")
    )
    tails = np.frombuffer(gzip.decompress(packed.planes["tails"] or _gzip([])), "<u2")
    bits = (fractions & 0x80) << 24 | exponents << 23 | (fractions & 0x7F) << 16
    found, at, tail = {}, 0, 0
    for name, size in packed.tensors:
        own = bits[at : at + size]
        if name in packed.wide:
            own = own | tails[tail : tail + size]
            tail += size
        found[name] = own.view(np.float32)
        at += size
    return found


def pack_tokenizer(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What `assets/space/tokenizer.js` needs of a ``tokenizer.json``.

    tokens   by id, in GPT-2's spelling of bytes
    merges   pairs of ids, best first
    digits   whether every digit is a word of its own
    special  name -> id, of added tokens, which are matched in the text as they stand

    Raises ModelError for anything but byte-level BPE in GPT-2's manner: the page does no other.
    """
    model = spec["model"]
    before = spec.get("pre_tokenizer") or {}
    shape = [(step.get("type"), _wanted(step)) for step in before.get("pretokenizers") or [before]]
    if model["type"] != "BPE" or shape not in _SHAPES:
        raise ModelError("the page reads byte-level BPE with GPT-2's words; this tokenizer differs")
    awkward = [key for key in _NO if model.get(key)] + [k for k in ("normalizer",) if spec.get(k)]
    if awkward:
        raise ModelError(f"this tokenizer asks for {awkward[0]!r}, which the page does not do")
    vocab: dict[str, int] = model["vocab"]
    added = spec.get("added_tokens") or ()
    awkward = [key for key in _LOOSE for token in added if token.get(key)]
    if awkward:
        raise ModelError(f"an added token asks for {awkward[0]!r}, which the page does not do")
    special = {token["content"]: int(token["id"]) for token in added}
    tokens: list[str | None] = [None] * (max([*vocab.values(), *special.values()]) + 1)
    for token, number in vocab.items():
        tokens[number] = token
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return {
        "tokens": tokens,
        "merges": [[vocab[a], vocab[b]] for a, b in pairs],
        "special": special,
        "digits": len(shape) > 1,
    }


_LOOSE = ("single_word", "lstrip", "rstrip", "normalized")
_SHAPES = ([("ByteLevel", True)], [("Digits", True), ("ByteLevel", True)])
_NO = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def _wanted(step: Mapping[str, Any]) -> bool:
    if step.get("type") == "Digits":
        return bool(step["individual_digits"])
    return bool(step.get("use_regex", True)) and not step.get("add_prefix_space")


def _gzip(arrays: list[Any]) -> bytes:
    # No time of day inside: the same model gives the same bytes, so their hash names them.
    return gzip.compress(b"".join(array.tobytes() for array in arrays), 9, mtime=0)


def as_json(value: Any) -> bytes:
    """``value`` in the fewest bytes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

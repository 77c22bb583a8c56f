"""Text to token ids and back, with the span of every token in the text.

A tokenizer's vocabulary is a list of byte strings. Joined, the bytes of the tokens are the text in
UTF-8, so a token's span follows from its bytes alone: it runs from the first to behind the last
character that any of its bytes belongs to. Several tokens may share the bytes of one character.

    "naïve 🙂"  ->  tokens "na" "ï" "ve" " " "\\xf0\\x9f" "\\x99\\x82"
                    spans   0:2  2:3  3:5  5:6    6:7        6:7

Knows no model and no torch. ``transformers`` is imported only for a folder without tokenizer.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from dcp.errors import ModelError, RequestError
from dcp.text.encoding import Encoding, Ints
from dcp.text.spans import BYTE_OF, REPLACEMENT, byte_spans, normal_spans, tiled
from dcp.text.stream import TextStream

__all__ = ["Tokenizer"]

_SLOW_FILES = ("tokenizer.model", "vocab.json", "merges.txt")


class Tokenizer:
    """One tokenizer, wrapped so that every token is a byte string.

    Text typed by the user is encoded as ``transformers`` does it: the name of a special token in
    the text becomes that token, and special tokens are put in front only if the tokenizer does so.
    """

    def __init__(self, backend: tokenizers.Tokenizer, rows: int | None = None) -> None:
        """``rows``: tokens that the model knows, where those are fewer."""
        self._rows = rows
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._style = _byte_style(backend.decoder)
        self._added = backend.get_added_tokens_decoder()
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer of a checkpoint folder. Raises ModelError."""
        path = Path(folder) / "tokenizer.json"
        if not path.exists():
            return cls(_convert_slow(Path(folder)))
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except ModelError:
            raise
        # `tokenizers` raises plain Exception for every kind of broken file.
        except Exception as wrong:
            raise ModelError(f"{path} is not a readable tokenizer: {_line(wrong)}") from None

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """What is wrapped."""
        return self._backend

    @property
    def vocab(self) -> int:
        """How many ids the tokenizer knows, added tokens included."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    @property
    def largest(self) -> int:
        """The largest id of the vocabulary, added tokens included; -1 for an empty one."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1)

    def added_beyond(self, rows: int) -> bool:
        """Whether every token with an id of ``rows`` or more was added to the vocabulary later."""
        vocabulary = self._backend.get_vocab(with_added_tokens=True).values()
        return all(token in self._added for token in vocabulary if token >= rows)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its name in the vocabulary, such as ``<|endoftext|>``."""
        found = self._backend.token_to_id(token)
        if found is None or (self._rows is not None and found >= self._rows):
            return None
        return int(found)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for; a special token is its name, an unknown id U+FFFD."""
        if token not in self._bytes:
            # Never empty, so that every token is seen in the text.
            self._bytes[token] = self._read_bytes(token) or REPLACEMENT.encode()
        return self._bytes[token]

    def _read_bytes(self, token: int) -> bytes:
        if token in self._added:
            return str(self._added[token].content).encode()
        piece = self._backend.id_to_token(token)
        if piece is None:
            return REPLACEMENT.encode()
        if self._style == "byte-level":
            return bytes(BYTE_OF[char] for char in piece if char in BYTE_OF)
        byte = re.fullmatch("<0x([0-9A-F]{2})>", piece)
        return bytes.fromhex(byte[1]) if byte else str(piece).replace("▁", " ").encode()

    def count(self, text: str) -> int:
        """How many tokens ``text`` is."""
        return len(self.encode(text))

    def encode(self, text: str) -> Encoding:
        """Tokens and spans of ``text``. Raises RequestError for text that is not Unicode.

        For text of ordinary tokens the spans tile it: joined without repeats they are the text.
        """
        try:
            raw = text.encode()
        except UnicodeEncodeError as wrong:
            raise RequestError(
                f"character {wrong.start} of the text is a lone surrogate "
                f"(U+{ord(text[wrong.start]):04X}), which is not Unicode; remove it"
            ) from None
        found = self._encoded(text)
        ids = np.array(found.ids, np.int32)
        if self._rows is not None and len(ids) and ids.max() >= self._rows:
            name = self._backend.id_to_token(int(ids.max()))
            raise RequestError(f"the text has {name}, a token that the model does not know")
        ordinary = np.flatnonzero(np.array(found.special_tokens_mask) == 0)
        # What a tokenizer puts in front and behind is not in the text.
        specials, last = (ordinary[0], ordinary[-1] + 1) if len(ordinary) else (len(ids), len(ids))
        pieces = [self.token_bytes(token) for token in found.ids[specials:last]]
        joined = b"".join(pieces)
        if joined == raw:
            spans = byte_spans(text, [len(piece) for piece in pieces])
        elif joined == b" " + raw:
            # A tokenizer that puts a space in front of every text: that byte is not in the text.
            pieces[0] = pieces[0][1:]
            spans = byte_spans(text, [len(piece) for piece in pieces])
        else:
            normal = self._normal_spans(text, joined, [len(piece) for piece in pieces])
            spans = tiled(found.offsets[specials:last], text) if normal is None else normal
        behind = np.full((len(ids) - last, 2), len(text), np.int32)
        offsets = np.concatenate([np.zeros((specials, 2), np.int32), spans, behind])
        return Encoding(text, ids, offsets, int(specials))

    def _normal_spans(self, text: str, joined: bytes, lengths: list[int]) -> Ints | None:
        """Spans where the tokens are a normal form of the text, such as Qwen's NFC; or None."""
        normalizer = self._backend.normalizer
        if normalizer is None or not lengths:
            return None
        normal = normalizer.normalize_str(text).encode()
        if joined == b" " + normal:
            lengths = [lengths[0] - 1, *lengths[1:]]
        elif joined != normal:
            return None
        return normal_spans(text, lengths, normalizer.normalize_str)

    def _encoded(self, text: str) -> Any:
        try:
            return self._backend.encode(text)
        # A regular expression that gives up is a panic of Rust, which is no Exception.
        except BaseException as wrong:
            if isinstance(wrong, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise ModelError(f"the tokenizer cannot read this text: {_line(wrong)}") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        joined = b"".join(self.token_bytes(int(token)) for token in ids)
        return joined.decode(errors="replace")

    def stream(self, prompt: Encoding) -> TextStream:
        """A growing text that starts with ``prompt``."""
        return TextStream(self, prompt)


def _byte_style(found: Any) -> str:
    """How the vocabulary spells bytes: "byte-level" (GPT-2) or "sentencepiece". Or ModelError."""
    decoder = {} if found is None else json.loads(found.__getstate__())
    kinds = {decoder.get("type"), *(d.get("type") for d in decoder.get("decoders", ()))}
    if "ByteLevel" in kinds:
        return "byte-level"
    if kinds & {"ByteFallback", "Metaspace"}:
        return "sentencepiece"
    raise ModelError(
        f"tokenizer with decoder {decoder.get('type')!r} is not supported; "
        "byte-level BPE and SentencePiece are"
    )


def _convert_slow(folder: Path) -> tokenizers.Tokenizer:
    # Without this, `transformers` makes up an empty tokenizer from config.json.
    if not any((folder / name).exists() for name in _SLOW_FILES):
        raise ModelError(f"{folder} has no tokenizer.json; save its tokenizer there")
    if (folder / "tokenizer.model").exists() and find_spec("sentencepiece") is None:
        raise ModelError(
            f"{folder} has tokenizer.model and no tokenizer.json; to read it: "
            "pip install sentencepiece protobuf"
        )
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    # Whatever `transformers` trips over, the person needs the same: a folder with a tokenizer.
    except Exception as wrong:
        raise ModelError(f"{folder} has no usable tokenizer: {_line(wrong)}") from None
    backend = getattr(found, "backend_tokenizer", None)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise ModelError(f"{folder} has no tokenizer.json, and its tokenizer cannot be converted")
    return backend


def _line(wrong: BaseException) -> str:
    return (str(wrong).strip() or type(wrong).__name__).splitlines()[0][:200]

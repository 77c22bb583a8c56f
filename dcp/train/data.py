"""Token shards and windows: text files -> uint16 arrays on disk -> batches of windows.

A shard is ``NAME.npy`` (uint16 [N], documents joined by the end-of-text id) beside
``NAME.starts.npy`` (int64, where each document starts). Windows never cross documents unless
``packed``: dropping an unrelated earlier document would be free sparsity.
Knows nothing of models or gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcp.errors import DataError
from dcp.train.tokenizer import END_OF_TEXT, read_documents

__all__ = ["Shards", "pack_file"]


def pack_file(source: Path, tokenizer_folder: Path, out: Path, seed: int = 0) -> int:
    """Tokenise ``source`` into a shard at ``out`` (.npy). Returns the number of tokens.

    So that pasted text is in distribution, a document's paragraph breaks are one newline or two,
    and in a third of the documents straight double quotes become curly ones (seeded).
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_TEXT)
    if tokenizer.get_vocab_size() > 2**16:
        raise DataError("shards are uint16: the vocabulary must be at most 65536 tokens")
    rng = np.random.default_rng(seed)
    parts: list[NDArray[np.uint16]] = []
    starts: list[int] = []
    total = 0
    for texts in _batches(read_documents(source), 512, rng):
        for encoded in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            starts.append(total)
            parts.append(np.asarray([*encoded.ids, end], dtype=np.uint16))
            total += len(parts[-1])
    if not parts:
        raise DataError(f"{source} holds no text")
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out.with_suffix(".starts.npy"), np.asarray(starts, dtype=np.int64))
    np.save(out, np.concatenate(parts))
    return total


def _batches(
    documents: Iterator[list[str]], size: int, rng: np.random.Generator
) -> Iterator[list[str]]:
    batch: list[str] = []
    for paragraphs in documents:
        text = ("\n" if rng.random() < 0.5 else "\n\n").join(paragraphs)
        batch.append(_curl(text) if rng.random() < 1 / 3 else text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _curl(text: str) -> str:
    """Straight double quotes -> curly by turns within a paragraph; apostrophes -> ’."""
    paragraphs = []
    for paragraph in text.split("\n"):
        pieces = paragraph.split('"')
        quoted = pieces[0]
        for i, piece in enumerate(pieces[1:]):
            quoted += ("“" if i % 2 == 0 else "”") + piece
        paragraphs.append(quoted.replace("'", "’"))
    return "\n".join(paragraphs)


@dataclass(frozen=True)
class Shards:
    """Memory-mapped shards that deal windows, the same for the same (seed, step)."""

    tokens: tuple[NDArray[np.uint16], ...]
    starts: tuple[NDArray[np.int64], ...]

    @classmethod
    def open(cls, files: Sequence[Path]) -> Shards:
        """Raises DataError for a missing or damaged shard."""
        tokens, starts = [], []
        for path in files:
            try:
                tokens.append(np.load(path, mmap_mode="r", allow_pickle=False))
                starts.append(np.load(path.with_suffix(".starts.npy"), allow_pickle=False))
            except (OSError, ValueError) as wrong:
                raise DataError(f"{path} is not a packed shard: {wrong}") from None
            if tokens[-1].dtype != np.uint16 or tokens[-1].ndim != 1 or not len(starts[-1]):
                raise DataError(f"{path} is not a packed shard; make it with train pack")
        if not tokens:
            raise DataError("no shards given")
        return cls(tuple(tokens), tuple(starts))

    @property
    def total(self) -> int:
        return sum(len(t) for t in self.tokens)

    def packed(self, batch: int, length: int, seed: int, step: int) -> NDArray[np.int64]:
        """[batch, length + 1] int64: windows at uniform places, documents joined."""
        rng = np.random.default_rng((seed, step))
        if min(len(t) for t in self.tokens) < length + 1:
            raise DataError(f"a shard is shorter than one window of {length + 1} tokens")
        sizes = np.asarray([len(t) for t in self.tokens])
        out = np.empty((batch, length + 1), dtype=np.int64)
        for row in range(batch):
            shard = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
            at = int(rng.integers(sizes[shard] - length))
            out[row] = self.tokens[shard][at : at + length + 1]
        return out

    def single(self, batch: int, length: int, seed: int, step: int) -> NDArray[np.int64]:
        """[batch, length + 1] int64, each row from one document; the rest of a row is -1.

        A document is drawn with the chance of its length; the window starts at a uniform place,
        or at the document's start half of the time, as a user's text does.
        """
        rng = np.random.default_rng((seed, step))
        out = np.full((batch, length + 1), -1, dtype=np.int64)
        for row in range(batch):
            window: NDArray[np.uint16] = np.empty(0, dtype=np.uint16)
            while len(window) < length // 4:  # short documents teach little about long contexts
                window = self._draw(rng, length)
            out[row, : len(window)] = window
        return out

    def _draw(self, rng: np.random.Generator, length: int) -> NDArray[np.uint16]:
        sizes = np.asarray([len(t) for t in self.tokens])
        shard = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
        tokens, starts = self.tokens[shard], self.starts[shard]
        at = int(rng.integers(len(tokens)))
        document = int(np.searchsorted(starts, at, side="right")) - 1
        first = int(starts[document])
        end = int(starts[document + 1]) if document + 1 < len(starts) else len(tokens)
        last = max(first, end - length - 1)
        begin = first if rng.random() < 0.5 else int(rng.integers(first, last + 1))
        return tokens[begin : min(end, begin + length + 1)]

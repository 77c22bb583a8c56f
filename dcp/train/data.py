"""Token shards and windows: text files -> token arrays on disk -> batches of windows.

A shard is ``NAME.npy`` (uint16 [N], uint32 for a vocabulary past 65,536; documents end with the
end-of-text id) beside ``NAME.starts.npy`` (int64, where each document starts). Both may be xz
files (``NAME.npy.xz``), which are read into memory; plain ones are mapped. Windows never cross
documents unless ``packed``: dropping an unrelated earlier document would be free sparsity.
Knows nothing of models or gates.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcp.errors import DataError
from dcp.text.documents import read_documents
from dcp.train.tokenizer import end_of_text, open_tokenizer

__all__ = ["Shards", "pack_file", "shard_files"]

# English takes less than half of this, so that no file passes 9 MB; smaller parts take more in all.
PART_BYTES = 12_000_000
# Two-byte numbers: context and position bits that know which byte is which.
_XZ = ({"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 3, "lp": 1, "pb": 1},)


def pack_file(
    source: Path, tokenizer_folder: Path, out: Path, seed: int = 0, *, xz: bool = False
) -> int:
    """Tokenise ``source`` into a shard at ``out`` (.npy). Returns the number of tokens.

    ``xz`` writes compressed shards instead, ``NAME-000.npy.xz`` and on, of about 5 MB each, cut
    between documents; about 12.7 MiB for 50 MB of English at 8,192 tokens. The same input gives
    the same bytes. So that pasted text is in distribution, a document's paragraph breaks are one
    newline or two, and in a third of the documents straight double quotes become curly ones
    (seeded). Raises DataError for unreadable text and ModelError for an unusable tokenizer.
    """
    tokenizer = open_tokenizer(tokenizer_folder)
    end = end_of_text(tokenizer_folder, tokenizer)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    rng = np.random.default_rng(seed)
    documents: list[NDArray[Any]] = []
    for texts in _batches(read_documents(source), 512, rng):
        # Special tokens lead a document only where the tokenizer itself puts them there.
        for encoded in tokenizer.encode_batch_fast(texts):
            joint = [] if encoded.ids[-1:] == [end] else [end]
            documents.append(np.asarray([*encoded.ids, *joint], dtype=dtype))
    if not documents:
        raise DataError(f"{source} holds no text")
    out.parent.mkdir(parents=True, exist_ok=True)
    if xz:
        for i, part in enumerate(_even_parts(documents)):
            _write(out.with_name(f"{out.stem}-{i:03d}.npy.xz"), part)
    else:
        _write(out, documents)
    return sum(map(len, documents))


def _even_parts(documents: Sequence[NDArray[Any]]) -> Iterator[Sequence[NDArray[Any]]]:
    # Even, so that the last is not a stub shorter than one window.
    ends = np.cumsum([len(d) for d in documents])
    parts = -(-int(ends[-1]) * documents[0].itemsize // PART_BYTES)
    cuts = np.searchsorted(ends, np.arange(1, parts) * (ends[-1] / parts)) + 1
    for first, last in pairwise(np.unique([0, *cuts, len(documents)])):
        yield documents[first:last]


def _write(path: Path, documents: Sequence[NDArray[Any]]) -> None:
    sizes = [len(document) for document in documents]
    starts = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    for file, array in ((_starts_of(path), starts), (path, np.concatenate(documents))):
        raw = io.BytesIO()
        np.save(raw, array)
        data = raw.getvalue()
        file.write_bytes(lzma.compress(data, filters=_XZ) if file.suffix == ".xz" else data)


def _starts_of(path: Path) -> Path:
    end = ".npy.xz" if path.name.endswith(".npy.xz") else ".npy"
    return path.with_name(path.name.removesuffix(end) + ".starts" + end)


def shard_files(paths: Sequence[Path]) -> list[Path]:
    """``paths`` with every folder replaced by the shards in it, in the order of their names."""
    files: list[Path] = []
    for path in paths:
        inside = [*path.glob("*.npy"), *path.glob("*.npy.xz")] if path.is_dir() else [path]
        files += sorted(file for file in inside if ".starts.npy" not in file.name)
    return files


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
    """Shards that deal windows, the same for the same (seed, step)."""

    tokens: tuple[NDArray[Any], ...]
    starts: tuple[NDArray[np.int64], ...]

    @classmethod
    def open(cls, files: Sequence[Path]) -> Shards:
        """``files`` are shards, plain or xz, or folders of them.

        Raises DataError for a missing or damaged shard.
        """
        tokens, starts = [], []
        for path in shard_files(files):
            tokens.append(_read(path))
            starts.append(_read(_starts_of(path)))
            sound = tokens[-1].dtype in (np.uint16, np.uint32) and tokens[-1].ndim == 1
            if not (sound and _start_documents(starts[-1], len(tokens[-1]))):
                raise DataError(
                    f"{path} is not a packed shard: pack the text first", remedy="shards"
                )
        if not tokens:
            raise DataError("no shards given")
        return cls(tuple(tokens), tuple(starts))

    @property
    def total(self) -> int:
        return sum(len(t) for t in self.tokens)

    def check_packed(self, length: int) -> None:
        """Raises DataError where `packed` could deal no window."""
        if min(len(t) for t in self.tokens) < length + 1:
            raise DataError(f"a shard is shorter than one window of {length + 1} tokens")

    def check_single(self, length: int) -> None:
        """Raises DataError where `single` would find no document that is long enough."""
        if self._longest < _least(length):
            raise DataError(
                f"windows of {length} tokens need documents of {_least(length)} or more, and the "
                f"longest here has {self._longest}: use a smaller length, or longer documents"
            )

    @cached_property
    def _longest(self) -> int:
        """Tokens of the longest document, its end-of-text included."""
        pairs = zip(self.starts, self.tokens, strict=True)
        return max(int(np.diff(np.append(starts, len(t))).max()) for starts, t in pairs)

    def packed(self, batch: int, length: int, seed: int, step: int) -> NDArray[np.int64]:
        """[batch, length + 1] int64: windows at uniform places, documents joined."""
        self.check_packed(length)
        rng = np.random.default_rng((seed, step))
        sizes = np.asarray([len(t) for t in self.tokens])
        out = np.empty((batch, length + 1), dtype=np.int64)
        for row in range(batch):
            shard = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
            at = int(rng.integers(sizes[shard] - length))
            out[row] = self.tokens[shard][at : at + length + 1]
        return out

    def single(self, batch: int, length: int, seed: int, step: int) -> NDArray[np.int64]:
        """[batch, length + 1] int64, each row from one document; the rest of a row is -1.

        A document is drawn with the chance of its length, times what is predicted in it over a
        quarter of a window where that is less than 1: short documents teach little about long
        contexts, but few long ones are not to be read over and over in their place. The window
        starts at a uniform place, or at the document's start half of the time, as a user's text
        does. Raises DataError where no document has a quarter of a window.
        """
        self.check_single(length)
        least = _least(length)
        rng = np.random.default_rng((seed, step))
        out = np.full((batch, length + 1), -1, dtype=np.int64)
        for row in range(batch):
            window = self._draw(rng, length)
            while len(window) < least and rng.random() >= (len(window) - 1) / least:
                window = self._draw(rng, length)
            out[row, : len(window)] = window
        return out

    def _draw(self, rng: np.random.Generator, length: int) -> NDArray[Any]:
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


def _least(length: int) -> int:
    """Tokens from which on a document is drawn by its length alone."""
    return max(2, length // 4)


def _read(path: Path) -> NDArray[Any]:
    try:
        if path.suffix == ".xz":
            with lzma.open(path) as file:
                return np.asarray(np.load(io.BytesIO(file.read()), allow_pickle=False))
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, lzma.LZMAError) as wrong:
        raise DataError(f"{path} is not a packed shard: {wrong}") from None


def _start_documents(starts: NDArray[Any], tokens: int) -> bool:
    """Whether ``starts`` are rising places in ``tokens``, the first at 0."""
    if starts.ndim != 1 or starts.dtype != np.int64 or not len(starts):
        return False
    return bool(starts[0] == 0 and starts[-1] < tokens and (np.diff(starts) > 0).all())

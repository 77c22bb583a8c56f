"""Word vectors from neighbours: words that stand between the same words get similar vectors.

For each common word, how often each very common word stands one or two places before and behind it;
positive pointwise mutual information, then a truncated singular value decomposition (Schütze 1995,
"Distributional part-of-speech tagging"). A minute on one core, deterministic. Knows no tagger.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dcp.errors import DataError

__all__ = ["neighbour_vectors", "read_lines"]

_PLACES = (1, 2)


def read_lines(paths: Sequence[str]) -> Iterator[str]:
    """The lines of .xz text files, one after the other. Raises DataError."""
    for path in paths:
        try:
            with lzma.open(path, "rt", encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)
        except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}") from error


def neighbour_vectors(
    lines: Iterable[str], *, words: int = 8_000, context: int = 500, width: int = 40
) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The most common ``words`` (lowercased) and their unit vectors [words, width] float32.

    ``context`` is how many of the most common words count as neighbours. Fewer words than asked for
    come back from a short text; raises DataError when those are fewer than ``width``.
    """
    import spacy
    from spacy.attrs import LOWER

    nlp = spacy.blank("en")
    # Empty places between lines keep neighbours within one paragraph; no word has the hash 0.
    gap = np.zeros(max(_PLACES), np.uint64)
    runs = [gap]
    for doc in nlp.tokenizer.pipe(lines):
        runs += [doc.to_array([LOWER]), gap]
    hashes, place, counts = np.unique(np.concatenate(runs), return_inverse=True, return_counts=True)
    counts[hashes == 0] = 0
    order = np.argsort(-counts, kind="stable")[: min(words, len(hashes) - 1)]
    if len(order) < width:
        raise DataError(f"too little text: {len(order)} different words for vectors of {width}")
    rank = np.full(len(hashes), len(hashes))
    rank[order] = np.arange(len(order))
    vectors = _reduce(_neighbours(rank[place], len(order), context), width)
    return [nlp.vocab.strings[int(hashes[i])] for i in order], vectors


def _neighbours(ranks: npt.NDArray[np.int64], words: int, context: int) -> npt.NDArray[np.float32]:
    """[words, 4 * context]: counts of each neighbour, one block of columns per place."""
    blocks = []
    for place in _PLACES:
        for word, other in ((ranks[place:], ranks[:-place]), (ranks[:-place], ranks[place:])):
            seen = (word < words) & (other < context)
            cell = word[seen] * context + other[seen]
            block = np.bincount(cell, minlength=words * context).astype(np.float32)
            blocks.append(block.reshape(words, context))
    return np.concatenate(blocks, axis=1)


def _reduce(counts: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    rows = counts.sum(axis=1, keepdims=True) + 1
    columns = counts.sum(axis=0, keepdims=True) + 1
    ratio = counts * (columns.sum() / rows / columns)
    information = np.log(np.maximum(ratio, 1))
    values, axes = np.linalg.eigh(information.T @ information)
    top = slice(-1, -1 - width, -1)
    # The square root of the singular values, so that the first axes do not drown the others.
    projected = information @ axes[:, top] / np.maximum(values[top], 1e-6) ** 0.25
    norm = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(projected / np.maximum(norm, 1e-6), np.float32)

"""Windows of held-out text: what every perplexity here is measured on.

Windows never cross documents unless ``packed``. Knows tokenizers and text files, no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcp.errors import DataError, RequestError
from dcp.text.tokens import Tokenizer

__all__ = ["Windows", "read_windows"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Windows:
    """Equally long pieces of documents.

    ids         [N, C] int64
    token_bytes [N, C] int64, UTF-8 bytes that each token stands for
    documents   [N]    int64, which document a window is from; intervals resample these
    """

    ids: Ints
    token_bytes: Ints
    documents: Ints

    @property
    def context(self) -> int:
        return int(self.ids.shape[1])

    @property
    def scored(self) -> int:
        """Scored tokens: all but the first of each window."""
        return int(self.ids.shape[0] * (self.ids.shape[1] - 1))

    @property
    def bytes(self) -> int:
        """The UTF-8 bytes that the scored tokens stand for."""
        return int(self.token_bytes[:, 1:].sum())

    def some(self, part: slice | Ints) -> Windows:
        """These windows of them."""
        return Windows(self.ids[part], self.token_bytes[part], self.documents[part])

    def parts(self, size: int) -> Iterator[tuple[int, Windows]]:
        """``size`` at a time, each with the number of its first."""
        for start in range(0, len(self.ids), size):
            yield start, self.some(slice(start, start + size))

    def cut(self, context: int) -> Windows:
        """The same text in windows of ``context`` tokens, so that contexts can be compared.

        Raises RequestError when these windows are shorter.
        """
        parts = self.context // context if context >= 2 else 0
        if parts < 1:
            raise RequestError(f"windows of {self.context} tokens cannot be cut to {context}")
        return Windows(
            self.ids[:, : parts * context].reshape(-1, context),
            self.token_bytes[:, : parts * context].reshape(-1, context),
            np.repeat(self.documents, parts),
        )

    @classmethod
    def join(cls, parts: Sequence[Windows]) -> Windows:
        """All windows of ``parts``, whose documents stay apart."""
        before = np.cumsum([0, *(int(p.documents.max()) + 1 for p in parts)])
        return cls(
            np.concatenate([p.ids for p in parts]),
            np.concatenate([p.token_bytes for p in parts]),
            np.concatenate([p.documents + n for p, n in zip(parts, before, strict=False)]),
        )


def read_windows(
    file: Path, tokenizer: Tokenizer, context: int, *, packed: bool = False, limit: int = 0
) -> Windows:
    """Cut a text file into windows of ``context`` tokens; a blank line ends a document.

    A document's tail shorter than a window is left out. ``limit`` > 0 takes that many windows,
    spread evenly. ``packed`` joins all documents, and each window then counts as one. Raises
    DataError when the file gives none.
    """
    if context < 2:
        raise RequestError(f"context must be at least 2 tokens, not {context}")
    from dcp.text.documents import END_OF_TEXT, read_documents

    end = tokenizer.id_of(END_OF_TEXT)
    documents = [list(tokenizer.encode("\n".join(d)).ids) for d in read_documents(file)]
    if packed:
        joint = [] if end is None else [end]
        documents = [[token for ids in documents for token in (*ids, *joint)]]
    found = [(w, i) for i, ids in enumerate(documents) for w in _cut(ids, context)]
    if not found:
        raise DataError(
            f"{file} has no document of {context} tokens; use a shorter context, or packed windows",
            remedy="packed",
        )
    if 0 < limit < len(found):
        found = [found[int(i)] for i in np.linspace(0, len(found) - 1, limit)]
    ids = np.asarray([window for window, _ in found], dtype=np.int64)
    unique, place = np.unique(ids, return_inverse=True)
    size = np.asarray([len(tokenizer.token_bytes(int(t))) for t in unique], dtype=np.int64)
    source = range(len(found)) if packed else [i for _, i in found]
    return Windows(ids, size[place.reshape(ids.shape)], np.asarray(source, dtype=np.int64))


def _cut(ids: Sequence[int], context: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(ids) - context + 1, context):
        yield ids[at : at + context]

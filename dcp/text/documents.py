"""A text file as documents and their paragraphs: the one reader of every command.

One paragraph a line; a line of white space alone ends a document. A line ends at a newline, a
carriage return or both, and nowhere else: U+2028, form feeds and NEL stay in the text. A byte order
mark is not text. Knows no tokens.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from dcp.errors import DataError

__all__ = ["END_OF_TEXT", "documents_of", "read_documents"]

END_OF_TEXT = "<|endoftext|>"
"""What our own tokenizers put between documents."""

_MARK = "\ufeff"


def read_documents(path: Path) -> Iterator[list[str]]:
    """Documents of a text file (plain or .xz), each a list of paragraphs.

    Raises DataError if unreadable.
    """
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as lines:
            yield from _paragraphs(map(str, lines))
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as wrong:
        raise DataError(f"cannot read text from {path}: {wrong}") from None


def documents_of(text: str) -> list[str]:
    """The documents of a text, paragraphs joined by newlines; white space around is cut off."""
    lines = io.StringIO(text, newline=None)
    return ["\n".join(paragraphs).strip() for paragraphs in _paragraphs(lines)]


def _paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    paragraphs: list[str] = []
    for number, raw in enumerate(lines):
        line = raw.removesuffix("\n")
        line = line.removeprefix(_MARK) if number == 0 else line
        if line.strip():
            paragraphs.append(line)
        elif paragraphs:
            yield paragraphs
            paragraphs = []
    if paragraphs:
        yield paragraphs

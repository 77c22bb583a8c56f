"""Universal Dependencies treebanks: CoNLL-U files as sentences of words, tags and spaces.

Knows no tagger.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcp.errors import DataError

__all__ = ["Sentence", "documents", "read_conllu"]


@dataclass(frozen=True)
class Sentence:
    """A UD sentence: its words, their UPOS, whether a space follows each, its surface text."""

    words: tuple[str, ...]
    pos: tuple[str, ...]
    spaces: tuple[bool, ...]
    text: str
    starts_document: bool


def read_conllu(path: str | Path) -> list[Sentence]:
    """The sentences of a CoNLL-U file (.xz or plain). Raises DataError.

    Multiword tokens ("don't") count as their words ("do", "n't"); empty nodes (8.1) are left out.
    """
    try:
        raw = Path(path).read_bytes()
        text = (lzma.decompress(raw) if Path(path).suffix == ".xz" else raw).decode("utf-8")
        found = [_sentence(block.splitlines()) for block in text.strip().split("\n\n")]
    except (OSError, lzma.LZMAError, ValueError, IndexError) as error:
        raise DataError(f"cannot read {path} as CoNLL-U: {error}") from error
    if not any(sentence.words for sentence in found):
        raise DataError(f"no sentence in {path}")
    return [sentence for sentence in found if sentence.words]


def _sentence(lines: Sequence[str]) -> Sentence:
    words, pos, spaces = [], [], []
    text, starts, until, glued = "", False, 0, False
    for line in lines:
        if line.startswith("#"):
            starts |= line.startswith("# newdoc")
            text = line.removeprefix("# text = ") if line.startswith("# text = ") else text
            continue
        cells = line.split("\t")
        no_space = "SpaceAfter=No" in cells[9]
        if "-" in cells[0]:
            until, glued = int(cells[0].split("-")[1]), no_space
        elif "." not in cells[0]:
            number = int(cells[0])
            words.append(cells[1])
            pos.append(cells[3])
            # Only the last word of a multiword token can be followed by a space.
            spaces.append(not (glued if number == until else number < until or no_space))
    return Sentence(tuple(words), tuple(pos), tuple(spaces), text, starts)


def documents(sentences: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    """Runs of sentences of one document each."""
    current: list[Sentence] = []
    for sentence in sentences:
        if sentence.starts_document and current:
            yield current
            current = []
        current.append(sentence)
    if current:
        yield current

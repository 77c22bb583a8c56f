"""What a study is of: a file of texts, cut into windows of single documents, and the settings.

Knows documents and tokenizers; runs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcp.errors import DataError, RequestError
from dcp.model.dial import shift_at
from dcp.model.registry import OpenModel
from dcp.stats.repeats import document_key
from dcp.text.documents import documents_of
from dcp.text.tokens import Tokenizer

__all__ = ["StudyPlan", "Window", "cut", "make_plan"]


@dataclass(frozen=True)
class Window:
    """A stretch of one document, which it names by `dcp.stats.repeats.document_key`."""

    number: int
    document: str
    text: str


@dataclass(frozen=True)
class StudyPlan:
    """What a study is of; a folder holds the windows of one plan only."""

    file: str
    text_sha256: str
    model: str
    weights_sha256: str
    gate_shift: float
    new_tokens: int
    seed: int
    context: int
    windows: int


def cut(documents: Sequence[str], tokenizer: Tokenizer, room: int, limit: int = 0) -> list[Window]:
    """Windows of at most ``room`` tokens, cut between words; ``limit`` > 0 takes that many, evenly.

    A word longer than the room is cut within. Raises DataError when there is no text.
    """
    windows = []
    for document in documents:
        name = document_key(document)
        offsets = tokenizer.encode(document).offsets
        # What the tokenizer puts around a text is put around each window anew.
        offsets = offsets[offsets[:, 0] < offsets[:, 1]]
        begin = 0
        while begin < len(offsets):
            end, excess = begin + room, 0
            while True:
                end = max(min(end - excess, len(offsets)), begin + 1)
                if end < len(offsets):
                    end = _between_words(document, offsets, begin, end)
                text = document[int(offsets[begin, 0]) : int(offsets[end - 1, 1])]
                excess = len(tokenizer.encode(text).offsets) - room
                if excess <= 0 or end == begin + 1:
                    break
            if text.strip():
                windows.append((name, text))
            begin = end
    if not windows:
        raise DataError("there is no text in the file: give at least one line of it")
    if 0 < limit < len(windows):
        windows = [windows[int(i)] for i in np.linspace(0, len(windows) - 1, limit)]
    return [Window(i, name, text) for i, (name, text) in enumerate(windows)]


def _between_words(text: str, offsets: Any, begin: int, end: int) -> int:
    """The last token in (begin, end] that a new word starts with; ``end`` where none does."""
    for at in range(end, begin, -1):
        start = int(offsets[at, 0])
        if text[start].isspace() or text[start - 1].isspace():
            return at
    return end


def make_plan(
    file: Path,
    text: str,
    model: OpenModel,
    *,
    limit: int = 0,
    new_tokens: int = 0,
    gate_shift: float = 0.0,
    sparsity: float | None = None,
    seed: int = 0,
    context: int = 0,
) -> tuple[StudyPlan, list[Window]]:
    """What is to be read, in windows of ``context`` tokens, new ones included (0: the model's).

    Raises DataError or RequestError.
    """
    longest = model.info.context
    if context > longest:
        raise RequestError(
            f"{model.info.name} reads {longest:,} tokens at most; give a context up to that"
        )
    context = context or longest
    room = context - new_tokens
    if room < 2:
        raise RequestError(f"{new_tokens} new tokens leave no room for text; ask for fewer")
    if sparsity is not None:
        gate_shift = shift_at(model.info, sparsity, context)
    windows = cut(documents_of(text), model.tokenizer, room, limit)
    plan = StudyPlan(
        file=file.name,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        model=model.info.name,
        weights_sha256=model.loaded.weights_sha256,
        gate_shift=gate_shift,
        new_tokens=new_tokens,
        seed=seed,
        context=context,
        windows=len(windows),
    )
    return plan, windows

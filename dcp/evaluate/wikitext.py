"""WikiText-2's word-level perplexity, as papers report it.

The file is tokenised (`` @-@ ``, ``<unk>``, spaces round punctuation); a language model reads the
text with that undone, and its nats are divided by the words of the file as it stands, so that
tokenizers can be compared. Each article is read in windows that do not overlap; the last token of
one begins the next, and the first article token is predicted from end-of-text. Conventions of
lm-evaluation-harness (task ``wikitext``). The copy with ``<unk>`` gives other numbers than the raw
one.
"""

from __future__ import annotations

import lzma
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dcp.errors import DataError
from dcp.evaluate.score import held_per_step
from dcp.evaluate.surprise import surprise
from dcp.model.masked import MaskedAttend
from dcp.model.weights import LoadedModel
from dcp.progress import Progress, in_parts, silent
from dcp.text.documents import END_OF_TEXT
from dcp.text.tokens import Tokenizer

__all__ = ["Article", "WikitextResult", "detokenize", "evaluate_wikitext", "read_wikitext"]

_TITLE = re.compile(r"^ = [^=].*[^=] = $")


@dataclass(frozen=True)
class Article:
    """An article's text with the tokenisation undone, and how many words it had in the file."""

    text: str
    words: int


@dataclass(frozen=True)
class WikitextResult:
    """One setting of the dial. perplexity is a word's; bits_per_byte of the detokenised text.

    sparsity: ``sparsity_mean_steps``, mean over layers and windows, weighted by their tokens.
    gate_shift is None without gates.
    """

    context: int
    gate_shift: float | None
    sparsity: float
    perplexity: float
    bits_per_byte: float
    words: int
    tokens: int
    articles: int


def detokenize(text: str) -> str:
    """WikiText's spacing undone."""
    for mark in "-,.":
        text = text.replace(f" @{mark}@ ", mark)
    text = re.sub(r" ([:;.!?,)\]}])", r"\1", text)
    text = re.sub(r"([(\[{]) ", r"\1", text)
    text = re.sub(r'" ([^"\n]*?) "', r'"\1"', text)
    text = re.sub(r"(?<=s) ' (?=\S)", "' ", text)
    text = re.sub(r" '(s|t|re|ve|ll|d|m)\b", r"'\1", text)
    text = re.sub(r" n't\b", "n't", text)
    text = re.sub(r"(?m)^ (=+) (.*?) (=+) ?$", r"\1 \2 \3", text)
    return re.sub(r"(?m)^ | $", "", text)


def read_wikitext(path: Path, limit: int = 0) -> list[Article]:
    """The articles of a WikiText file, plain or .xz; ``limit`` > 0 takes that many from the front.

    Raises DataError for an unreadable file or one without a title line.
    """
    try:
        raw = path.read_bytes()
        lines = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8").split("\n")
    except (OSError, ValueError, lzma.LZMAError) as wrong:
        raise DataError(f"cannot read {path}: {wrong}") from None
    begins = [i for i, line in enumerate(lines) if _TITLE.match(line)]
    if not begins:
        raise DataError(f"{path} has no article of WikiText: no line of the form ' = Title = '")
    parts = ["\n".join(lines[a:b]) for a, b in zip(begins, [*begins[1:], None], strict=True)]
    articles = [Article(detokenize(part).strip(), len(part.split())) for part in parts]
    return articles[:limit] if limit > 0 else articles


@torch.inference_mode()
def evaluate_wikitext(
    model: LoadedModel,
    tokenizer: Tokenizer,
    articles: Sequence[Article],
    context: int,
    gate_shifts: Sequence[float | None] = (0.0,),
    *,
    progress: Progress = silent,
) -> list[WikitextResult]:
    """One result for each gate shift; None runs without gates."""
    windows = [ids for article in articles for ids in _windows(tokenizer, article.text, context)]
    scored = sum(len(ids) - 1 for ids in windows)
    words = sum(article.words for article in articles)
    size = sum(len(article.text.encode()) for article in articles)
    begin = in_parts(progress, len(gate_shifts))
    results = []
    for shift in gate_shifts:
        begin(f"wikitext2: {'no gates' if shift is None else f'gate shift {shift:g}'}")
        nats, dropped = 0.0, 0.0
        for ids in windows:
            of_window, share = _score(model, ids, shift)
            nats += of_window
            dropped += share * (len(ids) - 1)
        results.append(
            WikitextResult(
                context=context,
                gate_shift=shift,
                sparsity=dropped / scored,
                perplexity=math.exp(nats / words),
                bits_per_byte=nats / size / math.log(2),
                words=words,
                tokens=scored,
                articles=len(articles),
            )
        )
    return results


def _windows(tokenizer: Tokenizer, text: str, context: int) -> list[list[int]]:
    """Windows of at most ``context`` read tokens; all but the first of each are scored."""
    ids = tokenizer.encode(text).ids.tolist()
    start = tokenizer.id_of(END_OF_TEXT)
    if start is not None and ids[0] != start:
        ids = [start, *ids]
    return [ids[at : at + context + 1] for at in range(0, len(ids) - 1, context)]


def _score(model: LoadedModel, window: Sequence[int], shift: float | None) -> tuple[float, float]:
    """Nats of a window's scored tokens, and the mean share of previous tokens dropped."""
    transformer = model.at(shift).transformer
    device = next(transformer.parameters()).device
    ids = torch.tensor(window, device=device)[None]
    way = MaskedAttend(prune=False) if shift is None else MaskedAttend(shift)
    steps = torch.arange(ids.shape[1] - 1, device=device)[None]
    hidden = transformer.hidden(ids[:, :-1], steps, way)[0]
    nats = float(surprise(transformer, hidden, ids[0, 1:])[0].sum())
    if len(steps[0]) < 2:
        return nats, 0.0
    held = held_per_step(way.deaths)[:, 0].double().mean(dim=0).cpu().numpy()
    past = np.arange(1, len(held))
    return nats, float((1 - (held[1:] - 1) / past).mean())

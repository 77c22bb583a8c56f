"""A trace as one tidy pandas frame, a row per layer and token.

Knows no tagger and no statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from dcp.deaths import ALIVE
from dcp.trace.deciders import decided_at

if TYPE_CHECKING:
    from dcp.trace import Trace

__all__ = ["WordLike", "tidy"]


class WordLike(Protocol):
    """What a row needs to know of a word; `dcp.speech.words.Word` is one."""

    @property
    def text(self) -> str: ...
    @property
    def pos(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


def tidy(trace: Trace, words: Iterable[WordLike]) -> pd.DataFrame:
    """See `Trace.to_frame`. A token of two words goes with the first of them."""
    pieces = trace.pieces()
    names: list[str | None] = [None] * trace.tokens
    tags: list[str | None] = [None] * trace.tokens
    for word in words:
        for j in range(word.first, word.last + 1):
            names[j] = names[j] or word.text
            tags[j] = tags[j] or word.pos or None
    death = trace.death.ravel()
    alive = death == ALIVE
    born = np.arange(trace.tokens)
    source = np.where(born < trace.prompt_tokens, "prompt", "generated")
    asked = decided_at(trace).ravel()
    triggers = [None if late else pieces[d] for late, d in zip(alive, asked, strict=True)]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(trace.layers), trace.tokens),
            "token": pd.array(pieces * trace.layers, dtype="string"),
            "word": pd.array(names * trace.layers, dtype="string"),
            "pos": pd.array(tags * trace.layers, dtype="string"),
            "source": np.tile(source, trace.layers),
            "born": np.tile(born, trace.layers),
            "death": pd.Series(death).astype("Int64").mask(alive),
            "censored": alive,
            "trigger": pd.array(triggers, dtype="string"),
            "margin": trace.margin.ravel(),
        }
    )

"""The words behind a drop rate: how often they occur, when they were dropped, what was being read.

Counts, no estimates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from dcp.speech.words import Word
from dcp.stats.groups import By
from dcp.stats.lives import Phase, Pieces, Sample, observe, usual_pieces, words_in
from dcp.trace import Trace
from dcp.trace.deciders import decided_at

__all__ = ["word_table"]

_TRIGGERS = 3


@dataclass
class _Form:
    """What is known of one spelling."""

    words: set[int] = field(default_factory=set)
    texts: set[int] = field(default_factory=set)
    watched: int = 0
    ages: list[int] = field(default_factory=list)
    readings: Counter[str] = field(default_factory=Counter)


def word_table(
    samples: Sequence[Sample],
    by: By = "pos",
    *,
    group: str | int | None = None,
    horizon: int = 32,
    source: Phase = "prompt",
    layer: int | None = None,
    pieces: Pieces | None = None,
) -> pd.DataFrame:
    """One row per spelling and group, the most frequent first; ``group`` None: all groups.

    group, word, times, texts
    watched       word-layers (each of its words in each layer)
    dropped       those dropped within ``horizon`` steps
    dropped_later those dropped after that
    median_age    steps from reading to drop, middle of all that were dropped; nan when none was
    dropped_when  the words that were being read when it was dropped, "“the” 3×, “of” 2×"

    Spellings are told apart by case. The other parameters are those of `dcp.stats.observe`.
    """
    lives = observe(samples, by=by, source=source, layer=layer, pieces=pieces)
    readers = [_reading(trace, words) for trace, words in samples]
    kept = pieces or usual_pieces(by)
    asked = [decided_at(trace) for trace, _ in samples]
    named = [word.text for _, words in samples for word in words_in(words, source, kept)]
    forms: defaultdict[tuple[int, str], _Form] = defaultdict(_Form)
    wanted = np.ones(len(lives.group), np.bool_)
    if group is not None:
        index = lives.names.index(group) if group in lives.names else -1
        wanted = lives.group == index
    chosen = lives.only(wanted)
    for sample, held_in, text, g, word, born, tokens, duration, event in zip(
        chosen.sample.tolist(),
        chosen.layer.tolist(),
        chosen.text.tolist(),
        chosen.group.tolist(),
        chosen.word.tolist(),
        chosen.born.tolist(),
        chosen.tokens.tolist(),
        chosen.duration.tolist(),
        chosen.event.tolist(),
        strict=True,
    ):
        form = forms[g, named[word]]
        form.words.add(word)
        form.texts.add(text)
        form.watched += 1
        if event:
            form.ages.append(duration)
            of_word = held_in, slice(born - tokens + 1, born + 1)
            last = samples[sample][0].death[of_word] == born + duration
            form.readings[readers[sample][asked[sample][of_word][last].max()]] += 1
    rows = [
        {
            "group": lives.names[g],
            "word": spelling,
            "times": len(form.words),
            "texts": len(form.texts),
            "watched": form.watched,
            "dropped": sum(age <= horizon for age in form.ages),
            "dropped_later": sum(age > horizon for age in form.ages),
            "median_age": float(np.median(form.ages)) if form.ages else np.nan,
            "dropped_when": ", ".join(
                f"“{word}” {times}×" for word, times in form.readings.most_common(_TRIGGERS)
            ),
        }
        for (g, spelling), form in forms.items()
    ]
    columns = ["group", "word", "times", "texts", "watched", "dropped", "dropped_later"]
    table = pd.DataFrame(rows, columns=[*columns, "median_age", "dropped_when"])
    return table.sort_values(
        ["times", "word"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _reading(trace: Trace, words: Sequence[Word]) -> list[str]:
    """[T] for each token, the word it belongs to; a token without one stands for itself."""
    names = [piece.strip() or "⏎" if "\n" in piece else piece.strip() for piece in trace.pieces()]
    for word in words:
        names[word.first : word.last + 1] = [word.text] * word.tokens
    return [name or "␣" for name in names]

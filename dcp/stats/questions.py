"""What each rule kept for a question, as tables. Knows no model, no plots.

All is told at the first step after the question, where all hold as many entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dcp.runs.policies import Asked
from dcp.speech.words import Word
from dcp.stats.agreement import overlap
from dcp.stats.policies import kept_of_words, title_of

__all__ = ["asked_words", "leaning", "question_table"]


def question_table(asked: Asked) -> pd.DataFrame:
    """One row per policy.

    policy, title
    held      entries a layer holds, mean over layers
    covered   of the question's attention to the text with nothing dropped, token 0 apart, the share
              that lies on entries held; mean over layers
    overlap   Jaccard index of what it and the run hold: `dcp.stats.agreement.overlap`
    """
    first, step, rows = asked.beside.first, asked.step, []
    attention = asked.attention[:, 1:]
    for name, trace in asked.beside.runs.items():
        held = trace.visible(step)
        share = (attention * held[:, 1:]).sum(axis=1) / np.maximum(attention.sum(axis=1), 1e-12)
        rows.append(
            {
                "policy": name,
                "title": title_of(name),
                "held": float(held.sum(axis=1).mean()),
                "covered": float(share.mean()),
                "overlap": overlap(first, trace, step),
            }
        )
    return pd.DataFrame(rows)


def leaning(asked: Asked, policy: str) -> npt.NDArray[np.float64]:
    """[T]: the share of layers that hold each token under ``policy``, less that of the run; nan for
    what was not read by then."""
    mine, theirs = (
        asked.beside.runs[name].visible(asked.step).mean(axis=0)
        for name in (next(iter(asked.beside.runs)), policy)
    )
    found: npt.NDArray[np.float64] = theirs - mine
    found[asked.step + 1 :] = np.nan
    return found


def asked_words(asked: Asked, words: Sequence[Word], most: int = 16) -> pd.DataFrame:
    """`dcp.stats.policies.word_table` of the words that the question attends to most."""
    return kept_of_words(asked.beside, words, asked.step, asked.attention.mean(axis=0), most)

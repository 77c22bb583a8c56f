"""What a figure is asked for and what comes back. Knows no kind and draws nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dcp.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dcp.figures.paper.presets import Page
    from dcp.figures.paper.results import Results
    from dcp.stats import Sample
    from dcp.stats.lives import Phase
    from dcp.trace import Trace

__all__ = ["Axis", "Drawing", "Options", "Subject", "first_sentence"]

Axis = Literal["entries", "sparsity"]


@dataclass(frozen=True)
class Options:
    """What a figure shows. A kind reads those that its entry in ``KINDS`` names.

    step     the state at this step; None: the last
    layer    one layer; None: all, or for lifelines the one of median sparsity
    span     (first, last) token, both inclusive; None: all
    horizon  steps after its last token within which a word is dropped or not
    source   where words were born: "prompt" | "generated" | "both"
    seed     of the bootstrap, the controls and the shuffled labels
    n_boot   resamples behind each interval
    axis     of perplexity: "entries" held | "sparsity"
    """

    step: int | None = None
    layer: int | None = None
    span: tuple[int, int] | None = None
    horizon: int = 32
    source: Phase = "prompt"
    seed: int = 0
    n_boot: int = 1000
    axis: Axis = "entries"


@dataclass(frozen=True)
class Subject:
    """What a figure is drawn from: texts, all read by one model at one gate shift, or results.

    samples   traces with their words; without words where the kind reads none
    results   files of `dcp eval` or `dcp bench`
    tagger    name of what tagged the words; None: no words
    accuracy  share of right tags that the tagger states, 0..1
    chosen    how the texts came to be shown, in the author's words; "" where nobody said
    """

    samples: Sequence[Sample]
    tagger: str | None = None
    accuracy: float | None = None
    chosen: str = ""
    results: Sequence[Results] = ()

    def __post_init__(self) -> None:
        if not all(trace.n_queries for trace in self.traces):
            raise RequestError("the run was stopped before it read a token: nothing can be drawn")
        models = {(t.meta.weights_sha256, t.layers) for t in self.traces}
        # Another policy than the gates has no shift.
        shifts = {t.meta.gate_shift for t in self.traces if t.meta.policy in (None, "gates")}
        if len(models) > 1 or len(shifts) > 1:
            raise RequestError(
                "these traces are of different weights or gate shifts: one figure shows one model"
            )

    @property
    def traces(self) -> list[Trace]:
        return [trace for trace, _ in self.samples]

    @property
    def trace(self) -> Trace:
        """The only trace, for kinds that show one."""
        return self.samples[0][0]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, the numbers in it, and the words under it.

    data     one row per mark or cell, tidy
    caption  what is shown, of what, how estimated: written to be checked by a reviewer
    """

    kind: str
    page: Page
    figure: Figure
    data: pd.DataFrame
    caption: str

    @property
    def short(self) -> str:
        """The caption's first sentence: what is shown, without how it was estimated and of what."""
        return first_sentence(self.caption)


def first_sentence(caption: str) -> str:
    """
    >>> first_sentence("Survival (95 % bands). Model dcp-mini, float32.")
    'Survival (95 % bands).'
    """
    return re.split(r"(?<=\.) (?=[A-Z0-9])", caption, maxsplit=1)[0]

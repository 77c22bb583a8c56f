"""The answer of "Put it back": one sentence, the coloured text, the change per token, the sums."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dcp.figures.screen.put_back import change_chart, sums_chart
from dcp.figures.screen.theme import quoted
from dcp.runs.effects import Effect, Rewritten, ordinary
from dcp.runs.plans import why_not_written
from dcp.stats.policies import in_words
from dcp.text.table import to_csv
from dcp.trace import Trace
from dcp.ui.put_back.continuations import continuations
from dcp.ui.put_back.token_text import coloured, token_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answer", "sentence", "table"]

_LONGEST = 30
"""Characters of a word that is said whole."""
_FEW = 10
"""Below so many controls nothing is said about rank."""


def answer(
    shown: str, trace: Trace, effect: Effect, seed: int, written: Rewritten | None = None
) -> None:
    """Draw all of it."""
    st.header("What changed", anchor=False)
    st.text(sentence(trace, effect))
    if written is not None:
        continuations(trace, effect.plan, written)
        st.header("The text as it was written, read again", anchor=False)
    elif reason := why_not_written(trace):
        st.caption(f"{reason[0].upper()}{reason[1:]}.")
    band = ordinary(effect, trace.tokens)
    token_text(
        coloured(f"{shown}-{effect.plan}", trace, effect.change, effect.plan.token, band),
        "put-change",
        lambda token: None,
    )
    st.caption(
        "▲ and a solid line: likelier than with what was recorded. ▼ and a dotted line: less "
        "likely. The stronger the colour, the larger the change; no colour: no more than the "
        "middle 90 % of ordinary drops do. Arrows mark the five largest of each kind. Faint: read "
        "before anything changed."
    )
    if not effect.controls.horizon:
        return
    settings = {"displayModeBar": False}
    st.plotly_chart(change_chart(trace, effect), key="put-chart", config=settings)
    st.plotly_chart(sums_chart(trace, effect), key="put-sums", config=settings)
    st.caption(_method(effect, seed, trace.meta.policy))
    st.download_button(
        "Table of all changes (CSV)",
        to_csv(table(trace, effect)).encode(),
        "put-it-back.csv",
        "text/csv",
        key="put-csv",
        on_click="ignore",
    )


def sentence(trace: Trace, effect: Effect) -> str:
    """The result in one or two sentences.

    "Kept alive in all 4 layers that dropped it, “in” makes the next 32 tokens 0.63 nats likelier in
    sum. 0 of 20 random drops …"
    """
    plan, n = effect.plan, len(effect.controls.plans)
    name = quoted(trace.pieces()[plan.token]) + _in_its_word(trace, plan.token)
    if not effect.controls.horizon:
        return f"No later token can notice: {name} was dropped where the text ends."
    layers = _layers(trace, effect)
    how = f"Kept alive in {layers}" if plan.kind == "put back" else f"Dropped from {layers}"
    size, kind = abs(effect.total), "likelier" if effect.total > 0 else "less likely"
    span = effect.controls.horizon
    following = f"the next {span} tokens" if span > 1 else "the next token"
    said = f"{how}, {name} makes {following} of this text {size:.2f} nats {kind} in sum"
    if size < 0.005:
        said = f"{how}, {name} leaves {following} of this text as likely as they were"
    if n < _FEW:
        few = "no" if n == 0 else f"only {n}"
        return f"{said}. There are {few} matched random drops to compare with, too few to say more."
    large = effect.as_large
    if (large + 1) / (n + 1) > 0.1:
        verdict = "so this is within what an ordinary drop does"
    elif plan.kind == "put back":
        verdict = "so keeping this token changes more than keeping most that were dropped like it"
    else:
        verdict = "so dropping this token changes more than dropping most others like it"
    return (
        f"{said}. Of {n} random drops matched on layer and age, {large or 'none'} changed as much "
        f"after them, {verdict}."
    )


def table(trace: Trace, effect: Effect) -> pd.DataFrame:
    """One row per later token: index, text, change, and the band where it is compared."""
    import pandas as pd

    start = (effect.plan.first or 0) + 1
    tokens = np.arange(start, trace.tokens)
    band = np.full((2, len(tokens)), np.nan)
    band[:, : effect.controls.horizon] = effect.band()
    pieces = trace.pieces()
    return pd.DataFrame(
        {
            "token": tokens,
            "text": [pieces[j] for j in tokens],
            "change_nats": effect.change[start:],
            "controls_5_percent": band[0],
            "controls_95_percent": band[1],
        }
    )


def _in_its_word(trace: Trace, token: int) -> str:
    """Of which word the token is a piece, ready to follow it: " of “barometer”" for "ometer"."""
    start, end = (int(at) for at in trace.offsets[token])
    piece = trace.text[start:end].strip()
    at = trace.text.find(piece, start)
    words = re.finditer(r"\w+", trace.text)
    word = next((found[0] for found in words if found.start() <= at < found.end()), "")
    if not re.fullmatch(r"\w+", piece) or word == piece or len(word) > _LONGEST:
        return ""
    return f" of {quoted(word)}"


def _layers(trace: Trace, effect: Effect) -> str:
    layers = effect.plan.layers
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if effect.plan.kind == "put back":
        return f"the {len(layers)} layers that dropped it"
    return f"{len(layers)} layers at step {effect.plan.steps[0]}"


def _method(effect: Effect, seed: int, policy: str | None) -> str:
    controls, layers = effect.controls, len(effect.plan.layers)
    least = int(np.ceil(controls.shared * layers))
    where = "the same layer" if layers == 1 else f"at least {least} of the same {layers} layers"
    where = where if least < layers or layers == 1 else f"the same {layers} layers"
    did = "dropped too" if effect.plan.kind == "put back" else "still held"
    return (
        "Same tokens, same weights; every other drop stays where it was recorded, also where the "
        f"{in_words(policy or 'gates')} would now have decided otherwise. Beside it: "
        f"{len(controls.plans)} random other tokens that {where} {did}, at an age within a factor "
        f"of {controls.ratio:g} (seed {seed}); token 0 never. Sums are over the first "
        f"{controls.horizon} tokens after each drop. "
        "Log-probs are natural: one nat likelier is a probability 2.7 times as large."
    )

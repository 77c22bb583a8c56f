"""Captions for review: model, weights, texts, counts, intervals, tagger, choice of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from dcp.figures.paper.request import Options, Subject
from dcp.figures.paper.results import Results
from dcp.speech.tagger import BUNDLED
from dcp.stats.intervals import MIN_CLUSTERS
from dcp.stats.policies import differences, policy_said
from dcp.trace import Trace
from dcp.trace.amounts import kept_in

__all__ = ["caption", "counted", "differ", "intervals", "of_source", "tagged"]


def caption(subject: Subject, *sentences: str) -> str:
    """``sentences`` on what is drawn, then on what it was drawn from."""
    return " ".join(sentence for sentence in (*sentences, *_origin(subject)) if sentence)


def _origin(subject: Subject) -> tuple[str, ...]:
    if not subject.samples:
        return tuple(_source_of(results) for results in subject.results)
    meta, traces = subject.trace.meta, subject.traces
    # Runs of one text under several policies are one text.
    if len({trace.meta.policy or "gates" for trace in traces}) > 1:
        traces = traces[:1]
    texts = len(traces)
    context = max(trace.tokens for trace in traces)
    limit = f" (the model's limit is {meta.context})" if meta.context else ""
    prompt = sum(trace.prompt_tokens for trace in traces)
    kept = f", {kept_in(meta.kv_dtype)}" if meta.kv_dtype else ""
    generated = sum(trace.tokens for trace in traces) - prompt
    return (
        f"Model {meta.model}, weights sha256 {meta.weights_sha256[:12]}, {_who(traces)}, "
        f"{meta.dtype}{kept}.",
        f"{counted(texts, 'text')}: {prompt:,} prompt and {generated:,} generated tokens, "
        f"context up to {context:,} tokens{limit}.",
        f"Choice of text: {subject.chosen.rstrip('.')}."
        if subject.chosen
        else "How the text was chosen is not recorded.",
    )


def _who(traces: Sequence[Trace]) -> str:
    """The gates' shift, or the policy with its settings; of several, the first one's."""
    meta = traces[0].meta
    said, shift = policy_said(meta), f"gate shift {meta.gate_shift:g}"
    if not said:
        return shift
    return f"{said}, {shift}" if meta.policy == "gates" else said


def differ(policies: Iterable[str]) -> str:
    """Where our form of ``policies`` is not the published one; "" where all are."""
    said = differences(policies)
    return f"Ours differ from the published forms: {said}." if said else ""


def _source_of(results: Results) -> str:
    """Which file the numbers came from, and of which weights, where it says so."""
    told = []
    for row in results.rows:
        model, weights = row.get("model"), row.get("weights_sha256")
        if isinstance(model, str):
            sha = f", weights sha256 {weights[:12]}" if isinstance(weights, str) else ""
            told.append(f"{model}{sha}")
    names = "; ".join(dict.fromkeys(told)) or "a model that the file does not name"
    return f"Source: {results.name}, {counted(len(results.rows), 'result')} of {names}."


def counted(n: int, noun: str) -> str:
    """
    >>> counted(1, "text"), counted(1200, "text")
    ('1 text', '1,200 texts')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def of_source(options: Options) -> str:
    """Whose words, to follow "words"."""
    return {
        "prompt": "of the prompt",
        "generated": "that the model wrote",
        "both": "of prompt and continuation pooled",
    }[options.source]


def intervals(table: pd.DataFrame, options: Options) -> str:
    """How the intervals of ``table`` were made, from its column ``interval``."""
    kinds = set(table["interval"]) - {""}
    if not kinds:
        return (
            f"No intervals: there are fewer than {MIN_CLUSTERS} texts, or blocks of 64 steps of "
            "one text, to resample."
        )
    over = "texts" if kinds == {"texts"} else "blocks of 64 steps, within this text only"
    return (
        f"95 % intervals, each by itself: cluster bootstrap over {over}, layers resampled "
        f"together, widened for few clusters ({options.n_boot:,} resamples, seed {options.seed})."
    )


def tagged(subject: Subject) -> str:
    """The tagger, its accuracy, and that it reads the whole text."""
    if subject.tagger is None:
        return ""
    of = "the UD English EWT development set" if subject.tagger == BUNDLED else "its own test set"
    right = f", {subject.accuracy:.1%} right on {of}" if subject.accuracy is not None else ""
    return (
        f"Universal parts of speech (English) by {subject.tagger}{right}; it reads the whole text, "
        "so words too that the model had not seen yet."
    )

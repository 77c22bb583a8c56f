"""Every kind of figure by name, and `draw`, which makes one. Reading it loads no matplotlib and no
pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from dcp.errors import RequestError
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.figures.paper.results import Results
from dcp.resources import needs

if TYPE_CHECKING:
    from dcp.stats import Sample

__all__ = ["KINDS", "Kind", "draw"]


@dataclass(frozen=True)
class Kind:
    """One kind of figure.

    about    what it shows, in a few words
    room     the module of this package that draws it, by a function of the kind's name
    words    whether it needs words with parts of speech, so a tagger
    many     whether it pools several traces
    options  the fields of `Options` that it reads
    reads    what it is drawn from: a "trace", "results" of `dcp eval`, "either", "nothing"
    sign     of results: what only the rows of the command that it shows have
    """

    about: str
    room: str
    words: bool = False
    many: bool = False
    options: tuple[str, ...] = ()
    reads: Literal["trace", "results", "either", "nothing"] = "trace"
    sign: str = ""


_RATES = ("horizon", "source", "seed", "n_boot")

KINDS = {
    "overview": Kind("layers by tokens at a step, above the memory", "states", options=("step",)),
    "heatmap": Kind("layers by tokens at a step", "states", options=("step", "span")),
    "figure-1": Kind("thirty tokens by name, layer by layer", "states", options=("step",)),
    "policy-maps": Kind(
        "one text under several policies, layers by tokens",
        "policy_maps",
        many=True,
        options=("step",),
    ),
    "lifelines": Kind("how long each token stays, in one layer", "lifelines", options=("layer",)),
    "mask": Kind("who can attend to whom, layer by layer", "lifelines", options=("layer",)),
    "masks": Kind(
        "the mask of a layer beside dense, local, strided ones", "masks", options=("layer",)
    ),
    "diagram": Kind(
        "how a gate drops tokens and rows are used again", "diagram", options=("layer", "span")
    ),
    "alpha-sigmoid": Kind(
        "the soft gates of training, and their schedule", "gates", reads="nothing"
    ),
    "held": Kind("entries held per step, by layer, beside dense", "memory"),
    "sparsity": Kind("dropped share by layer and context length", "memory"),
    "depth": Kind("share of tokens held, by depth", "memory", many=True),
    "ages": Kind(
        "age at which tokens are dropped, by layer", "ages", many=True, options=("source",)
    ),
    "text": Kind(
        "the text, struck through where it is dropped", "text", options=("step", "layer", "span")
    ),
    "survival": Kind(
        "survival by part of speech (Kaplan-Meier)",
        "survival",
        words=True,
        many=True,
        options=(*_RATES, "layer"),
    ),
    "pos": Kind(
        "drop rate by part of speech, beside chance",
        "speech",
        words=True,
        many=True,
        options=(*_RATES, "layer"),
    ),
    "pos-depth": Kind(
        "drop rate by part of speech and layer",
        "speech",
        words=True,
        many=True,
        options=("horizon", "source"),
    ),
    "triggers": Kind(
        "what is read when words are dropped, beside chance",
        "triggers",
        words=True,
        many=True,
        options=("source", "layer", "seed", "n_boot"),
    ),
    "cost": Kind("KL and lost attention per step, beside gates off", "cost"),
    "throughput": Kind(
        "speed and memory against context", "throughput", reads="either", sign="tokens_per_second"
    ),
    "batch": Kind(
        "speed against batch, in a memory budget",
        "benchmark",
        reads="results",
        sign="tokens_per_second",
    ),
    "training": Kind(
        "what a training step costs by length", "training", reads="results", sign="peak_bytes"
    ),
    "perplexity": Kind(
        "perplexity against entries held",
        "quality",
        options=("axis",),
        reads="results",
        sign="ppl_pruned",
    ),
    "tasks": Kind("zero-shot accuracy against sparsity", "tasks", reads="results", sign="accuracy"),
    "policies": Kind(
        "policies and gates at equal budgets", "policies", reads="results", sign="held_ratio"
    ),
    "agreement": Kind(
        "entries that policies hold alike", "agreement", reads="results", sign="jaccard"
    ),
}


_MADE = {
    "perplexity": "those of an evaluation on a text",
    "tasks": "those of an evaluation on tasks",
    "policies": "those of an evaluation at budgets",
    "agreement": "what policies agreed on",
    "batch": "those of a benchmark",
    "training": "those of `python -m benchmarks.training_cost`",
}


def draw(
    kind: str,
    samples: Sequence[Sample],
    page: Page,
    options: Options | None = None,
    *,
    tagger: str | None = None,
    accuracy: float | None = None,
    chosen: str = "",
    results: Sequence[Results] = (),
) -> Drawing:
    """The figure ``kind`` of ``samples``: traces with their words (empty where it needs none).

    tagger, accuracy, chosen go into the caption, as `Subject` says; ``results`` are the files of
    kinds that read results. Raises RequestError for an unknown kind, an option that the kind does
    not read, more traces than it shows, nothing or too little to draw it from.
    """
    if kind not in KINDS:
        raise RequestError(f"kind {kind!r} is unknown: choose one of {', '.join(KINDS)}")
    entry, options = KINDS[kind], options or Options()
    for field in fields(Options):
        changed = getattr(options, field.name) != field.default
        if changed and field.name not in entry.options:
            readers = ", ".join(name for name, each in KINDS.items() if field.name in each.options)
            raise RequestError(f"{kind} has no {field.name} to set; it is for {readers}")
    if kind != "policy-maps" and len({t.meta.policy or "gates" for t, _ in samples}) > 1:
        raise RequestError(f"{kind} shows one policy; policy-maps shows several of one text")
    if len(samples) > 1 and not entry.many:
        pooled = ", ".join(name for name, each in KINDS.items() if each.many)
        raise RequestError(f"{kind} shows one trace; {pooled} pool several")
    _check_source(kind, entry, len(samples), len(results))
    subject = Subject(samples, tagger if entry.words else None, accuracy, chosen, results)
    if options.layer is not None and not 0 <= options.layer < subject.trace.layers:
        last = subject.trace.layers - 1
        raise RequestError(f"no layer {options.layer}: this trace has layers 0 to {last}")
    needs("matplotlib", "PIL")
    room = import_module(f"dcp.figures.paper.{entry.room}")
    drawing: Drawing = getattr(room, kind.replace("-", "_"))(subject, options, page)
    return drawing


def _check_source(kind: str, entry: Kind, traces: int, results: int) -> None:
    """Raises RequestError unless there is what the kind is drawn from, and nothing else."""
    if traces and entry.reads in ("results", "nothing"):
        raise RequestError(f"{kind} reads no trace: leave it out")
    if results and entry.reads in ("trace", "nothing"):
        raise RequestError(f"{kind} reads no results: leave them out", remedy="results")
    if entry.reads == "results" and not results:
        raise RequestError(f"{kind} is drawn from results: give {_MADE[kind]}", remedy="results")
    if entry.reads == "trace" and not traces:
        raise RequestError("no trace given: this figure needs one")
    if entry.reads == "either" and bool(traces) == bool(results):
        raise RequestError(
            f"{kind} is drawn from a trace or from results: give one of the two", remedy="results"
        )

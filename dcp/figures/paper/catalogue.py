"""Every kind of figure by name, and `draw`, which makes one. Reading it loads no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module

from dcp.errors import RequestError
from dcp.figures.paper.presets import Page
from dcp.figures.paper.request import Drawing, Options, Subject
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
    """

    about: str
    room: str
    words: bool = False
    many: bool = False
    options: tuple[str, ...] = ()


_RATES = ("horizon", "source", "seed", "n_boot")

KINDS = {
    "overview": Kind("layers by tokens at a step, above the memory", "states", options=("step",)),
    "heatmap": Kind("layers by tokens at a step", "states", options=("step", "span")),
    "lifelines": Kind("how long each token stays, in one layer", "lifelines", options=("layer",)),
    "mask": Kind("who can attend to whom, layer by layer", "lifelines", options=("layer",)),
    "held": Kind("entries held per step, by layer, beside dense", "memory"),
    "sparsity": Kind("dropped share by layer and context length", "memory"),
    "depth": Kind("share of tokens kept, by depth", "memory", many=True),
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
) -> Drawing:
    """The figure ``kind`` of ``samples``: traces with their words (empty where it needs none).

    tagger, accuracy, chosen go into the caption, as `Subject` says. Raises RequestError for an
    unknown kind, an option that the kind does not read, more traces than it shows, or too little
    in them to draw.
    """
    if kind not in KINDS:
        raise RequestError(f"kind {kind!r} is unknown: choose one of {', '.join(KINDS)}")
    entry, options = KINDS[kind], options or Options()
    for field in fields(Options):
        changed = getattr(options, field.name) != field.default
        if changed and field.name not in entry.options:
            readers = ", ".join(name for name, each in KINDS.items() if field.name in each.options)
            raise RequestError(f"{kind} has no {field.name} to set; it is for {readers}")
    if len(samples) > 1 and not entry.many:
        pooled = ", ".join(name for name, each in KINDS.items() if each.many)
        raise RequestError(f"{kind} shows one trace; {pooled} pool several")
    subject = Subject(samples, tagger if entry.words else None, accuracy, chosen)
    layers = subject.trace.layers
    if options.layer is not None and not 0 <= options.layer < layers:
        raise RequestError(f"no layer {options.layer}: this trace has layers 0 to {layers - 1}")
    room = import_module(f"dcp.figures.paper.{entry.room}")
    drawing: Drawing = getattr(room, kind.replace("-", "_"))(subject, options, page)
    return drawing

"""Where a figure comes from: the command that makes it again, its metadata, its alternative text.
Draws nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from dcp.figures.paper.catalogue import KINDS
from dcp.figures.paper.presets import Width
from dcp.figures.paper.request import Drawing, Options, Subject
from dcp.policies.gates import by_shift
from dcp.stats.policies import policy_said
from dcp.trace import Meta, Trace

__all__ = ["FLAGS", "Order", "about", "alt", "command", "recording"]

FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in ("step", "layer", "span", "horizon", "source", "seed", "axis")
}
"""What the fields of `Options` are called on the command line."""


@dataclass(frozen=True)
class Order:
    """A figure as it is asked for, files by name.

    traces, results  files without folders: a paper is read by strangers
    style .. chosen  as the options of ``dcp figure``
    """

    kind: str
    traces: Sequence[str] = ()
    results: Sequence[str] = ()
    style: str = "neurips"
    width: Width | None = None
    palette: str = "okabe-ito"
    options: Options = field(default_factory=Options)
    tagger: str | None = None
    chosen: str = ""


def command(order: Order, out: str) -> str:
    """The shell command that makes the figure again, as the file ``out``."""
    reads = KINDS[order.kind].reads
    traces = order.traces if reads in ("trace", "either") and not order.results else ()
    words = ["python", "-m", "dcp", "figure", *map(_file, traces)]
    words += ["--kind", order.kind, "--style", order.style]
    if order.results:
        words += ["--results", *map(_file, order.results)]
    if order.width is not None:
        words += ["--width", order.width]
    if order.palette != "okabe-ito":
        words += ["--palette", order.palette]
    for known in fields(Options):
        value = getattr(order.options, known.name)
        if known.name not in FLAGS or known.name not in KINDS[order.kind].options:
            continue
        # The seed is always written out.
        if value != known.default or known.name == "seed":
            each = value if isinstance(value, tuple) else (value,)
            words += [FLAGS[known.name], *map(str, each)]
    if order.tagger:
        words += ["--tagger", order.tagger]
    if order.chosen:
        words += ["--chosen", order.chosen]
    return shlex.join([*words, "--out", _file(out)])


def recording(trace: Trace, prompt: str, out: str) -> str:
    """The command that records ``trace`` again from the file ``prompt``."""
    meta = trace.meta
    words = ["python", "-m", "dcp", "trace", "--file", _file(prompt), "--model", meta.model]
    words += ["--new-tokens", str(trace.tokens - trace.prompt_tokens), "--seed", str(meta.seed)]
    sampling = meta.sampling
    for name, value in (
        ("--temperature", sampling.temperature),
        ("--top-k", sampling.top_k),
        ("--top-p", sampling.top_p),
    ):
        if value is not None:
            words += [name, f"{value:g}"]
    words += [*_who(meta), "--dtype", meta.dtype]
    if meta.kv_dtype is not None:
        words += ["--kv-dtype", meta.kv_dtype]
    if meta.vocabulary is not None:
        words += ["--vocabulary", "seen"]
    return _plain(shlex.join([*words, "--impl", meta.impl, "--out", _file(out)]))


def _who(meta: Meta) -> list[str]:
    """The options that say who dropped."""
    settings = dict(meta.policy_settings or {})
    shift = ["--gate-shift", f"{meta.gate_shift:g}"]
    if meta.policy is None:
        return shift
    words = ["--policy", meta.policy]
    if meta.budget is not None:
        words += ["--budget", str(meta.budget)]
    if instruction := settings.pop("instruction", ""):
        words += ["--instruction", str(instruction)]
    if settings:
        words += ["--policy-setting", *(f"{key}={value}" for key, value in settings.items())]
    # A budget kept by shift is a shift of its own.
    gated = meta.policy == "gates" and not by_shift(meta.policy, settings)
    return [*words, *shift] if gated else words


def _file(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name


def alt(drawing: Drawing) -> str:
    """The alternative text: the caption without its origin."""
    shown = re.split(r" (?=Model |Source: )", drawing.caption)[0]
    return _plain(f"Figure, {KINDS[drawing.kind].about}. {shown}")


def about(drawing: Drawing, subject: Subject, made: str) -> dict[str, str]:
    """Metadata for the file: what it is, its caption, model and weights, the command ``made``."""
    words = [f"command={made}"]
    if subject.samples:
        meta = subject.trace.meta
        words[:0] = [
            f"model={meta.model}",
            f"weights_sha256={meta.weights_sha256}",
            f"gate_shift={meta.gate_shift:g}",
        ]
        if said := policy_said(meta):
            words[3:3] = [f"policy={said}"]
        if meta.kv_dtype is not None:
            words[3:3] = [f"kv_dtype={meta.kv_dtype}"]
    return {
        "Title": f"dcp figure: {drawing.kind}",
        "Subject": _plain(drawing.caption),
        "Keywords": _plain("; ".join(words)),
    }


def _plain(text: str) -> str:
    """``text`` on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

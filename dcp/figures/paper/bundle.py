"""All figures of a run as one zip: pictures, numbers, captions, commands, references, the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from dcp.cite import BIBTEX
from dcp.errors import DcpError
from dcp.figures.paper.catalogue import KINDS
from dcp.figures.paper.figure_set import FigureSet, Form, zipped
from dcp.figures.paper.provenance import alt, command, recording
from dcp.trace import Trace

__all__ = ["bundle"]


def bundle(
    figures: FigureSet,
    forms: Sequence[Form] = ("pdf", "svg", "png"),
    kinds: Sequence[str] = tuple(KINDS),
    say: Callable[[int, str], None] = lambda done, kind: None,
) -> bytes:
    """The zip. A figure that cannot be drawn is named in captions.md with the reason.

    say  is told how many kinds are done and which is next; what it raises ends the work
    """
    files: dict[str, bytes] = {}
    captions, commands = ["# Captions\n"], _opening(figures)
    for done, kind in enumerate(kinds):
        say(done, kind)
        captions.append(f"## {kind}\n")
        try:
            drawing = figures.draw(kind)
            made = figures.files(kind, (*forms, "csv"), drawing)
        except DcpError as error:
            captions.append(f"Not drawn: {error}.\n")
            continue
        for name, data in made.items():
            if name.endswith(".csv"):
                files[f"data/{name}"] = data
            elif name.endswith(".pgf"):
                files[f"figures/{name}.zip"] = data
            else:
                files[f"figures/{name}"] = data
        captions += [
            f"Short: {drawing.short}\n",
            f"{drawing.caption}\n",
            f"Alt text: {alt(drawing)}\n",
        ]
        commands.append(command(figures.order(kind), f"{kind}.{forms[0]}"))
    files["captions.md"] = "\n".join(captions).encode()
    files["commands.sh"] = ("\n".join(commands) + "\n").encode()
    files["refs.bib"] = BIBTEX.encode()
    if figures.trace is not None:
        files[figures.name] = figures.trace.to_bytes()
        for name, trace in figures.beside.items():
            files[f"{name}.safetensors"] = trace.to_bytes()
        files["prompt.txt"] = _prompt(figures.trace).encode()
    for results in figures.results:
        files[results.name] = json.dumps(list(results.rows), indent=1).encode()
    return zipped(files)


def _opening(figures: FigureSet) -> list[str]:
    lines = ["#!/bin/sh", "# Makes the figures again, in the folder of this file.", "set -e"]
    if figures.trace is not None:
        recorded = recording(figures.trace, "prompt.txt", figures.name)
        lines.append(f"# The run itself was made like this: {recorded}")
    return lines


def _prompt(trace: Trace) -> str:
    """The text that was given to the model."""
    end = int(trace.offsets[: trace.prompt_tokens, 1].max(initial=0))
    return trace.text[:end]

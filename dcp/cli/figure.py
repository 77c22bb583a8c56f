"""``dcp figure``: traces as a figure for a paper, with its caption and its numbers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.parser import add_json, count, output
from dcp.cli.terminal import note, one_line, print_json
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.figures.paper import Drawing, Options
    from dcp.stats import Sample
    from dcp.trace import Trace

__all__ = ["add_arguments", "run"]

# What the options of `dcp.figures.paper.Options` are called here.
_FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in ("step", "layer", "span", "horizon", "source", "seed")
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from dcp.figures.paper import KINDS, VENUES

    parser.add_argument("traces", type=Path, nargs="+", metavar="RUN", help="saved traces")
    parser.add_argument("--kind", choices=tuple(KINDS), default="overview", help="what to draw")
    parser.add_argument(
        "--style", choices=tuple(VENUES), default="neurips", help="widths and type of a venue"
    )
    parser.add_argument(
        "--width",
        choices=("column", "text"),
        help="of icml, acl and cvpr: one column (default) or the whole text",
    )
    parser.add_argument("--step", type=count, metavar="N", help="default: the last one")
    parser.add_argument("--layer", type=count, metavar="l", help="one layer (default: all)")
    parser.add_argument(
        "--span", type=count, nargs=2, metavar=("A", "B"), help="tokens A to B (default: all)"
    )
    parser.add_argument("--horizon", type=count, metavar="N", help="steps (default 32)")
    parser.add_argument(
        "--source",
        choices=("prompt", "generated", "both"),
        help="where words were born (default: prompt)",
    )
    parser.add_argument("--seed", type=count, metavar="N", help="of the bootstrap (default 0)")
    parser.add_argument("--tagger", metavar="NAME", help="an installed en_core_web_* pipeline")
    parser.add_argument(
        "--chosen", default="", metavar="HOW", help="how the text was chosen, for the caption"
    )
    parser.add_argument("--caption", type=output, metavar="TXT", help="write the caption there")
    parser.add_argument("--data", type=output, metavar="CSV", help="write the numbers there")
    parser.add_argument(
        "--out", type=output, required=True, metavar="FIG", help="a .pdf, .svg or .png file"
    )
    add_json(parser)
    listed = "\n".join(
        f"  {name:<10} {kind.about}{' (tags parts of speech)' if kind.words else ''}"
        for name, kind in KINDS.items()
    )
    parser.epilog = f"kinds:\n{listed}\n\n{parser.epilog or ''}"


def run(args: argparse.Namespace) -> int:
    from dcp.figures.paper import FORMATS, KINDS, draw, page, render

    form = next((form for form in FORMATS if args.out.suffix.lower() == f".{form}"), None)
    if form is None:
        raise RequestError(f"{args.out.name} must end in .pdf, .svg or .png")
    kind = KINDS[args.kind]
    if args.tagger is not None and not kind.words:
        raise RequestError(f"{args.kind} tags no words: leave --tagger out")
    sheet, options = page(args.style, args.width), _options(args)
    from dcp.trace import Trace
    from dcp.trace_file import write

    traces = [Trace.load(path) for path in args.traces]
    samples: list[Sample] = [(trace, ()) for trace in traces]
    tagger: dict[str, Any] = {}
    if kind.words:
        samples, tagger = _tag(traces, args.tagger)
    drawing = draw(args.kind, samples, sheet, options, chosen=one_line(args.chosen), **tagger)
    command = _command(args)
    data = render(drawing.figure, form, sheet, _about(drawing, traces[0], command))
    write(args.out, data)
    if args.data is not None:
        write(args.data, drawing.data.to_csv(index=False).encode())
    if args.caption is not None:
        write(args.caption, f"{drawing.caption}\n".encode())
    if args.json:
        print_json(_report(args, drawing, traces[0], command, len(data)))
    else:
        width, height = drawing.figure.get_size_inches()
        note(f"wrote {args.out} ({width:g} x {height:.2f} in, {len(data):,} bytes)")
        note(f"caption: {one_line(drawing.caption)}")
    return 0


def _options(args: argparse.Namespace) -> Options:
    """What was asked for by name; the rest is left to the kind. Raises RequestError."""
    from dcp.figures.paper import KINDS, Options

    given = {name: getattr(args, name) for name in _FLAGS if getattr(args, name) is not None}
    for name in given:
        if name not in KINDS[args.kind].options:
            readers = ", ".join(each for each, kind in KINDS.items() if name in kind.options)
            raise RequestError(f"{args.kind} takes no {_FLAGS[name]}; it is for {readers}")
    if "span" in given:
        given["span"] = tuple(given["span"])
    return Options(**given)


def _tag(traces: Sequence[Trace], name: str | None) -> tuple[list[Sample], dict[str, Any]]:
    from dcp.pos import load_tagger
    from dcp.words import words_of

    note("tagging parts of speech")
    tagger = load_tagger(name)
    samples: list[Sample] = [(trace, words_of(trace, tagger)) for trace in traces]
    return samples, {"tagger": tagger.name, "accuracy": tagger.accuracy}


def _command(args: argparse.Namespace) -> str:
    """What makes the figure again. File names without folders: a paper is read by strangers."""
    words = ["python", "-m", "dcp", "figure", *(path.name for path in args.traces)]
    words += ["--kind", args.kind, "--style", args.style]
    for name in ("width", *_FLAGS, "tagger", "chosen"):
        value = getattr(args, name)
        if value not in (None, ""):
            each = value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, each)]
    return shlex.join([*words, "--out", args.out.name])


def _about(drawing: Drawing, trace: Trace, command: str) -> dict[str, str]:
    meta = trace.meta
    return {
        "Title": f"dcp figure: {drawing.kind}",
        "Subject": one_line(drawing.caption),
        "Keywords": one_line(
            f"model={meta['model']}; weights_sha256={meta['weights_sha256']}; "
            f"gate_shift={meta['gate_shift']:g}; command={command}"
        ),
    }


def _report(
    args: argparse.Namespace, drawing: Drawing, trace: Trace, command: str, size: int
) -> dict[str, Any]:
    width, height = drawing.figure.get_size_inches()
    return {
        "out": str(args.out.resolve()),
        "kind": drawing.kind,
        "style": args.style,
        "width_in": float(width),
        "height_in": float(height),
        "bytes": size,
        "caption": drawing.caption,
        "data": None if args.data is None else str(args.data.resolve()),
        "rows": len(drawing.data),
        "model": trace.meta["model"],
        "weights_sha256": trace.meta["weights_sha256"],
        "command": command,
    }

"""``dcp figure``: traces as a figure for a paper, with its caption and its numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.parser import add_json, count, output
from dcp.cli.terminal import note, one_line, print_json
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.figures.paper import Drawing, Kind, Options
    from dcp.stats import Sample
    from dcp.trace import Trace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from dcp.figures.paper import KINDS, PALETTES, VENUES

    parser.add_argument("traces", type=Path, nargs="*", metavar="RUN", help="saved traces")
    parser.add_argument("--kind", choices=tuple(KINDS), default="overview", help="what to draw")
    parser.add_argument(
        "--style", choices=tuple(VENUES), default="neurips", help="widths and type of a venue"
    )
    parser.add_argument(
        "--width",
        choices=("column", "text"),
        help="of icml, acl and cvpr: one column (default) or the whole text",
    )
    parser.add_argument(
        "--palette", choices=tuple(PALETTES), default="okabe-ito", help="default: okabe-ito"
    )
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        default=[],
        metavar="JSON",
        help="output of eval, bench or a benchmark, for the kinds that read results",
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
    parser.add_argument(
        "--axis", choices=("entries", "sparsity"), help="x of perplexity (default: entries held)"
    )
    parser.add_argument("--tagger", metavar="NAME", help="an installed en_core_web_* pipeline")
    parser.add_argument(
        "--chosen", default="", metavar="HOW", help="how the text was chosen, for the caption"
    )
    parser.add_argument("--caption", type=output, metavar="TXT", help="write the caption there")
    parser.add_argument("--data", type=output, metavar="CSV", help="write the numbers there")
    parser.add_argument(
        "--out", type=output, required=True, metavar="FIG", help="a .pdf, .svg, .png or .pgf file"
    )
    add_json(parser)
    listed = "\n".join(f"  {name:<13} {kind.about}{_needs(kind)}" for name, kind in KINDS.items())
    parser.epilog = f"kinds:\n{listed}\n\n{parser.epilog or ''}"


def _needs(kind: Kind) -> str:
    if kind.words:
        return " (tags parts of speech)"
    return {
        "trace": "",
        "results": " (from --results)",
        "either": " (from RUN or --results)",
        "nothing": " (needs no RUN)",
    }[kind.reads]


def run(args: argparse.Namespace) -> int:
    from dcp.figures.paper import FORMATS, KINDS, draw, page, render
    from dcp.figures.paper.provenance import Order, about, command
    from dcp.text.table import to_csv

    form = args.out.suffix.lower().removeprefix(".")
    if form not in (*FORMATS, "pgf"):
        raise RequestError(f"{args.out.name} must end in .pdf, .svg, .png or .pgf")
    kind = KINDS[args.kind]
    if args.tagger is not None and not kind.words:
        raise RequestError(f"{args.kind} tags no words: leave --tagger out")
    sheet, options = page(args.style, args.width, args.palette), _options(args)
    chosen = one_line(args.chosen)
    from dcp.figures.paper.request import Subject
    from dcp.figures.paper.results import read_results
    from dcp.trace import Trace
    from dcp.trace.file import write

    paths = args.traces
    if paths and kind.reads in ("results", "nothing"):
        note(f"{args.kind} reads no trace: {len(paths)} left aside")
        paths = []
    traces = [Trace.load(path) for path in paths]
    results = [read_results(path) for path in args.results]
    samples: list[Sample] = [(trace, ()) for trace in traces]
    tagger: dict[str, Any] = {}
    if kind.words:
        samples, tagger = _tag(traces, args.tagger)
    drawing = draw(args.kind, samples, sheet, options, chosen=chosen, results=results, **tagger)
    order = Order(
        kind=args.kind,
        traces=[path.name for path in paths],
        results=[path.name for path in args.results],
        style=args.style,
        width=args.width,
        palette=args.palette,
        options=options,
        tagger=args.tagger,
        chosen=chosen,
    )
    made = command(order, args.out.name)
    if form == "pgf":
        from dcp.figures.paper.tex import render_pgf

        files = render_pgf(drawing.figure, sheet, args.out.name)
    else:
        facts = about(drawing, Subject(samples, results=results), made)
        files = {args.out.name: render(drawing.figure, form, sheet, facts)}
    for name, data in files.items():
        write(args.out.parent / name, data)
    if args.data is not None:
        write(args.data, to_csv(drawing.data).encode())
    if args.caption is not None:
        write(args.caption, f"{drawing.caption}\n".encode())
    size = sum(map(len, files.values()))
    if args.json:
        print_json(_report(args, drawing, traces, made, size))
    else:
        width, height = drawing.figure.get_size_inches()
        note(f"wrote {args.out} ({width:g} x {height:.2f} in, {size:,} bytes)")
        note(f"caption: {one_line(drawing.caption)}")
    return 0


def _options(args: argparse.Namespace) -> Options:
    """What was asked for by name; the rest is left to the kind. Raises RequestError."""
    from dcp.figures.paper import KINDS, Options
    from dcp.figures.paper.provenance import FLAGS

    given = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    for name in given:
        if name not in KINDS[args.kind].options:
            readers = ", ".join(each for each, kind in KINDS.items() if name in kind.options)
            raise RequestError(f"{args.kind} takes no {FLAGS[name]}; it is for {readers}")
    if "span" in given:
        given["span"] = tuple(given["span"])
    return Options(**given)


def _tag(traces: Sequence[Trace], name: str | None) -> tuple[list[Sample], dict[str, Any]]:
    from dcp.speech.tagger import load_tagger
    from dcp.speech.words import words_of

    note("tagging parts of speech")
    tagger = load_tagger(name)
    samples: list[Sample] = [(trace, words_of(trace, tagger)) for trace in traces]
    return samples, {"tagger": tagger.name, "accuracy": tagger.accuracy}


def _report(
    args: argparse.Namespace, drawing: Drawing, traces: Sequence[Trace], command: str, size: int
) -> dict[str, Any]:
    from dcp.cite import BIBTEX
    from dcp.figures.paper.provenance import alt

    meta = traces[0].meta if traces else None
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
        "alt": alt(drawing),
        "model": meta.model if meta else None,
        "weights_sha256": meta.weights_sha256 if meta else None,
        "command": command,
        "bibtex": BIBTEX,
    }

"""``dcp figure``: a trace as a figure for a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, count, output
from dcp.cli.terminal import note, print_json
from dcp.errors import RequestError

__all__ = ["add_arguments", "run"]

KINDS = ("overview",)
# Width of the text block in each venue's template, in inches.
STYLES = {
    "neurips": 5.5,
    "iclr": 5.5,
    "icml": 6.75,
    "acl": 6.3,
    "cvpr": 6.875,
    "screen": 9.0,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", type=Path, metavar="RUN", help="a saved trace")
    parser.add_argument("--kind", choices=KINDS, default="overview", help="what to draw")
    parser.add_argument(
        "--style", choices=tuple(STYLES), default="neurips", help="sets the figure's width"
    )
    parser.add_argument("--step", type=count, metavar="N", help="default: the last one")
    parser.add_argument(
        "--out", type=output, required=True, metavar="FIG", help="a .pdf, .svg or .png file"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    kind = args.out.suffix.lower().removeprefix(".")
    if kind not in ("pdf", "svg", "png"):
        raise RequestError(f"{args.out.name} must end in .pdf, .svg or .png")
    from dcp.figures.paper import overview, render
    from dcp.trace import Trace
    from dcp.trace_file import write

    trace = Trace.load(args.trace)
    data = render(overview(trace, args.step, STYLES[args.style]), kind)
    write(args.out, data)
    if args.json:
        print_json({"out": str(args.out.resolve()), "kind": args.kind, "bytes": len(data)})
    else:
        note(f"wrote {args.out} ({len(data):,} bytes)")
    return 0

"""``dcp view``: a trace as one HTML file that needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, output
from dcp.cli.terminal import note, print_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", type=Path, metavar="RUN", help="a saved trace")
    parser.add_argument("--out", type=output, required=True, metavar="HTML")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.trace import Trace
    from dcp.trace.file import write

    trace = Trace.load(args.trace)
    from dcp.speech.tagger import load_tagger
    from dcp.speech.words import words_of
    from dcp.viewer import static

    page = static.html(trace, words_of(trace, load_tagger())).encode()
    write(args.out, page)
    if args.json:
        print_json({"out": str(args.out.resolve()), "bytes": len(page)})
    else:
        note(f"wrote {args.out} ({len(page):,} bytes): open it in any browser")
    return 0

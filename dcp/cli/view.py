"""``dcp view``: a trace as one HTML file that needs no network."""

from __future__ import annotations

import argparse
from html import escape
from pathlib import Path
from urllib.parse import quote

from dcp.cli.parser import add_json, output
from dcp.cli.terminal import note, print_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", type=Path, metavar="RUN", help="a saved trace")
    parser.add_argument("--out", type=output, required=True, metavar="HTML")
    parser.add_argument(
        "--embed",
        action="store_true",
        help="one picture for a frame in another page: the text, the heatmap, their film",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.trace import Trace
    from dcp.trace.file import write

    trace = Trace.load(args.trace)
    from dcp.speech.tagger import load_tagger
    from dcp.speech.words import words_of
    from dcp.viewer import static

    make = static.embed if args.embed else static.html
    page = make(trace, words_of(trace, load_tagger())).encode()
    write(args.out, page)
    report: dict[str, object] = {"out": str(args.out.resolve()), "bytes": len(page)}
    use = "open it in any browser"
    if args.embed:
        frame = report["iframe"] = _frame(args.out.name, static.embed_height(trace.layers))
        use = f"put it beside your page and write\n{frame}"
    if args.json:
        print_json(report)
    else:
        note(f"wrote {args.out} ({len(page):,} bytes): {use}")
    return 0


def _frame(name: str, height: int) -> str:
    """The line of HTML that shows the file called ``name``; its scripts get no other right."""
    return (
        f'<iframe src="{escape(quote(name))}" title="What each layer can still attend to" '
        f'sandbox="allow-scripts" loading="lazy" width="100%" height="{height}" '
        'style="border: 0"></iframe>'
    )

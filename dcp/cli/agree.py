"""``dcp agree``: which entries several policies hold alike, by layer, step and token."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, count
from dcp.cli.terminal import note, print_json, print_table

__all__ = ["add_arguments", "run"]

_LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "traces", type=Path, nargs="+", metavar="RUN", help="traces of one text under policies"
    )
    parser.add_argument(
        "--every", type=count, default=0, metavar="N", help="means over N steps each (default: all)"
    )
    add_json(parser, "rows on stdout, for the figure kind agreement")


def run(args: argparse.Namespace) -> int:
    from dcp.stats import to_records
    from dcp.stats.agreement import ALL, agreement, named
    from dcp.trace import Trace

    found = agreement(named([Trace.load(path) for path in args.traces]))
    rows = to_records(found.table(args.every))
    if args.json:
        print_json([{**row, "policies": list(found.names), "steps": found.steps} for row in rows])
        return 0
    print_table(rows)
    tokens = found.tokens()
    for column, words in (
        ("held_by_all", "held by all the longest"),
        ("dropped_by_all", "dropped by all the longest"),
        ("split", "most at odds"),
    ):
        listed = tokens.sort_values(column, ascending=False, kind="stable").head(_LISTED)
        pieces = ", ".join(repr(piece) for piece in listed["piece"])
        note(f"{words}: {pieces}")
    note(f"{found.steps} steps; layer by layer, {ALL} is held by all over held by any")
    return 0

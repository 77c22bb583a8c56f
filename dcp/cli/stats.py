"""``dcp stats``: how soon words are dropped, by group, from saved traces."""

from __future__ import annotations

import argparse
from pathlib import Path

from dcp.cli.parser import add_json, count
from dcp.cli.terminal import print_json, print_table

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("traces", type=Path, nargs="+", metavar="RUN", help="saved traces")
    parser.add_argument("--by", default="pos", metavar="pos|layer|position|frequency")
    parser.add_argument("--horizon", type=count, default=32, metavar="N", help="steps (default 32)")
    parser.add_argument(
        "--source",
        default="prompt",
        metavar="prompt|generated|both",
        help="where the word was born (default: prompt)",
    )
    parser.add_argument(
        "--dropped-in",
        default="both",
        metavar="prompt|generated|both",
        help="the phase under observation (default: both)",
    )
    parser.add_argument("--layer", type=int, metavar="l", help="one layer (default: all)")
    parser.add_argument(
        "--pieces",
        metavar="single|multi|all",
        help="words of one token, of several, or all (default: single by pos, else all)",
    )
    parser.add_argument(
        "--rule",
        default="last",
        metavar="last|any",
        help="dropped with its last living token, or with its first (default: last)",
    )
    parser.add_argument(
        "--controls", action="store_true", help="add random and oldest-first eviction"
    )
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="of the bootstrap")
    parser.add_argument("--tagger", metavar="NAME", help="an installed en_core_web_* pipeline")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.trace import Trace

    traces = [Trace.load(path) for path in args.traces]
    from dcp.speech.tagger import load_tagger
    from dcp.speech.words import words_of
    from dcp.stats import drop_table, drop_table_with_controls, to_records

    tagger = load_tagger(args.tagger)
    samples = [(trace, words_of(trace, tagger)) for trace in traces]
    table = (drop_table_with_controls if args.controls else drop_table)(
        samples,
        args.by,
        horizon=args.horizon,
        source=args.source,
        dropped_in=args.dropped_in,
        layer=args.layer,
        pieces=args.pieces,
        rule=args.rule,
        seed=args.seed,
    )
    rows = to_records(table)
    if args.json:
        print_json(rows)
    else:
        print_table(rows)
    return 0

"""``dcp bench``: decode speed and memory, one row per arm."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from dcp.arguments import KV_DTYPES
from dcp.cli.parser import add_json, add_model, count, number
from dcp.cli.terminal import note, notes, print_json, print_table
from dcp.errors import RequestError

if TYPE_CHECKING:
    from dcp.bench.group import Row, Timing

__all__ = ["add_arguments", "run"]

_SHOWN = (
    *("arm", "model", "batch", "context", "ms_per_step", "tokens_per_second"),
    *("speedup", "speedup_p20", "speedup_p80", "byte_ceiling"),
    *("ms_step_p95", "ms_step_p99", "ms_longest_step"),
)
_TEXT = (
    "The river rose for three days before anyone in the village spoke of leaving. On the fourth "
    "morning the baker found water in his cellar, and by noon the school was closed. "
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part",
        nargs="+",
        choices=("shape", "model", "contexts"),
        default=["shape", "model"],
        help="random weights of a known shape; a real model with its own gates (default: both); a "
        "real model at every --context and --batch, dense and with shares --dropped",
    )
    parser.add_argument(
        "--shape", default="gpt2-124m", choices=("gpt2-124m", "tiny"), help="default: gpt2-124m"
    )
    add_model(parser)
    parser.add_argument(
        "--context",
        type=count,
        nargs="+",
        default=[256, 1024],
        metavar="C",
        help="tokens at the last step (default: 256 1024)",
    )
    parser.add_argument(
        "--batch",
        type=count,
        nargs="+",
        default=[1, 8],
        metavar="B",
        help="rows decoded together (default: 1 8; a shape's above 1 at the longest context alone)",
    )
    parser.add_argument(
        "--dropped",
        type=number,
        nargs="+",
        default=[0, 50, 80, 95],
        metavar="%",
        help="shares of the tokens that die, in percent (default: 0 50 80 95)",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        choices=("float32", "bfloat16", "int8", "int4"),
        default=["float32", "int8"],
        help="default: float32 int8",
    )
    parser.add_argument(
        "--kv-dtype",
        nargs="+",
        choices=("model", *KV_DTYPES),
        default=["model"],
        help="of part contexts, how keys and values are kept (default: model, as it makes them)",
    )
    parser.add_argument(
        "--budget",
        type=number,
        nargs="+",
        default=[],
        metavar="MIB",
        help="of part contexts, MiB of cache: each arm also at the batch that fits",
    )
    parser.add_argument("--impl", default="auto", metavar="I", help="default: auto")
    parser.add_argument(
        "--rounds", type=count, default=12, metavar="N", help="turns of each arm (default: 12)"
    )
    parser.add_argument("--no-rival", action="store_true", help="leave transformers out")
    add_json(parser, "machine output on stdout: a list, one object per arm")


def run(args: argparse.Namespace) -> int:
    if not args.rounds or not all(args.batch):
        raise RequestError("--rounds and --batch must be 1 or more")
    if not all(0 <= share <= 100 for share in args.dropped):
        raise RequestError("--dropped is in percent: 0 to 100")
    if args.budget and "contexts" not in args.part:
        raise RequestError("--budget is for --part contexts")
    if not all(budget > 0 for budget in args.budget):
        raise RequestError("--budget is in MiB: more than 0")
    from dcp.bench.group import Timing

    timing = Timing(rounds=args.rounds)
    rows = _shape(args, timing) if "shape" in args.part else []
    if "model" in args.part:
        rows += _model(args, timing)
    if "contexts" in args.part:
        rows += _contexts(args, timing)
    if args.json:
        print_json([asdict(row) for row in rows])
        return 0
    table = []
    for row in rows:
        found = asdict(row)
        shown = {name: found[name] for name in _SHOWN}
        held = row.kv_bytes_held
        shown["held/dense"] = held / row.kv_bytes_dense if held and row.kv_bytes_dense else None
        table.append(shown)
    print_table(table)
    return 0


def _shape(args: argparse.Namespace, timing: Timing) -> list[Row]:
    from dcp.bench.arms import decode_group
    from dcp.bench.shapes import random_checkpoint

    rows: list[Row] = []
    note(f"bench: making {args.shape} with random weights")
    with random_checkpoint(args.shape) as folder:
        for batch in args.batch:
            for context in args.context:
                if batch > 1 and context < max(args.context):
                    continue
                rows += decode_group(
                    folder,
                    batch=batch,
                    context=context,
                    dropped=[share / 100 for share in args.dropped],
                    weights=args.weights,
                    timing=timing,
                    impl=args.impl,
                    rival=batch == 1 and not args.no_rival,
                    progress=notes("bench"),
                )
    return rows


def _model(args: argparse.Namespace, timing: Timing) -> list[Row]:
    from dcp.bench.arms import model_group
    from dcp.model.registry import open_model

    rows: list[Row] = []
    for dtype in args.weights:
        rows += model_group(
            open_model(args.model, dtype, base=args.base),
            _TEXT * 200,
            timing,
            impl=args.impl,
            progress=notes("bench"),
        )
    return rows


def _contexts(args: argparse.Namespace, timing: Timing) -> list[Row]:
    from dcp.bench.contexts import context_groups
    from dcp.model.registry import open_model

    return context_groups(
        [open_model(args.model, dtype, base=args.base) for dtype in args.weights],
        _TEXT,
        contexts=args.context,
        batches=[1, *(b for b in args.batch if b > 1)] if args.budget else args.batch,
        dropped=[share / 100 for share in args.dropped],
        timing=timing,
        budgets=[int(mib * 2**20) for mib in args.budget],
        kv_dtypes=[None if name == "model" else name for name in args.kv_dtype],
        impl=args.impl,
        progress=notes("bench"),
    )

"""``dcp eval``: perplexity and bits per byte with hard gates, against a dense twin."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from dcp.cli.parser import add_json, count, number
from dcp.cli.terminal import note, print_json, print_table

__all__ = ["add_arguments", "run"]

_SHOWN = (
    *("gate_shift", "sparsity", "sparsity_at_end"),
    *("ppl_pruned", "ppl_gates_off", "ppl_dense_finetuned"),
    *("bits_per_byte_pruned", "bits_per_byte_dense_finetuned", "tokens", "context"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="name, folder or Hub id (default: bundled)")
    parser.add_argument(
        "--file", type=Path, required=True, metavar="F", help="text; a blank line ends a document"
    )
    parser.add_argument(
        "--context", type=count, metavar="C", help="tokens a window (default: the model's)"
    )
    dial = parser.add_mutually_exclusive_group()
    dial.add_argument(
        "--gate-shift", type=number, nargs="+", metavar="δ", help="added to every β (default: 0)"
    )
    dial.add_argument(
        "--sparsity", type=number, nargs="+", metavar="S", help="resolved to δ by the calibration"
    )
    parser.add_argument(
        "--baseline", metavar="DIR", help="a dense twin fine-tuned equally long, without gates"
    )
    parser.add_argument(
        "--packed", action="store_true", help="let windows cross documents: free sparsity"
    )
    parser.add_argument(
        "--windows", type=count, default=0, metavar="N", help="at most N, spread evenly (0: all)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dcp.evaluate import evaluate, read_windows
    from dcp.models import open_model, shift_for

    model = open_model(args.model)
    shifts = args.gate_shift or [0.0]
    if args.sparsity:
        shifts = [shift_for(model.info.calibration, sparsity) for sparsity in args.sparsity]
    baseline = open_model(args.baseline, gates=False) if args.baseline else None
    windows = read_windows(
        args.file,
        model.tokenizer,
        model.info.context if args.context is None else args.context,
        packed=args.packed,
        limit=args.windows,
    )
    results = evaluate(
        model.loaded,
        windows,
        shifts,
        baseline.loaded if baseline else None,
        progress=lambda what: note(f"eval: {what}"),
    )
    rows = [asdict(result) for result in results]
    if args.json:
        print_json(rows)
    else:
        print_table([{name: row[name] for name in _SHOWN} for row in rows])
    return 0
